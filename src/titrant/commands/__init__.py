"""The verbs of the command line, one file each: `arguments(parser)` declares, `call(options)` gives the exit code.

A verb's file calls the function of the same name in `titrant.verbs` and prints its answer. Adding one is adding the
file and its line here.
"""

# In the order of `titrant --help`; a dash in a name is an underscore in its file's.
VERBS = {
    "init": "write a starter recipe for a model, with what was found out about it",
    "check": "parse and bind recipes; looks at no machine and runs no code",
    "plan": "show what would be done, why, and what it must keep",
    "run": "plan, execute, judge, release, report",
    "status": "what would run now, and why",
    "lock": "write a recipe's lock from a run, or check that it still holds",
    "rerun": "run a recorded run again from its stored recipe, and say whether it came out the same",
    "diff": "what differs between two recipes, plans, runs or locks, and what caused it",
    "explain": "why a value is what it is, what a step did, what a code means",
    "report": "show a run's report",
    "inspect": "what a model is made of, and whether a level suits it",
    "hardware": "describe this machine or another, measure it, follow it",
    "doctor": "is this environment able to do the work, and what to install",
    "store": "verify what is stored, or let go of what is no longer used: titrant store verify|gc",
    "show": "list operators, recipes, runs, or print the recipe language's JSON Schema",
    "recipes": "copy a shipped recipe to own it: titrant recipes cp NAME FILE",
    "migrate": "rewrite recipes of older versions of the language, comments kept",
}
