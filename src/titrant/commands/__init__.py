"""The verbs of the command line, one file each: `arguments(parser)` declares, `call(options)` gives the exit code.

A verb's file calls the function of the same name in `titrant.verbs` and prints its answer. Adding one is adding the
file and its line here.
"""

# In the order of `titrant --help`; a dash in a name is an underscore in its file's.
VERBS = {
    "check": "parse and bind recipes; looks at no machine and runs no code",
    "plan": "show what would be done, why, and what it must keep",
    "run": "plan, execute, judge, release, report",
    "status": "what would run now, and why",
    "explain": "why a value is what it is, what a step did, what a code means",
    "report": "show a run's report",
    "hardware": "describe this machine",
    "show": "list operators, recipes, runs, or print the recipe language's JSON Schema",
    "recipes": "copy a shipped recipe to own it: titrant recipes cp NAME FILE",
}
