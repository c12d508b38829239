"""The exit codes of the command line: what a script that calls titrant can rely on."""

OK = 0  # did what was asked
DEFECT = 1  # a defect of titrant itself
INVALID = 2  # the recipe or the arguments
INFEASIBLE = 3  # valid, but cannot be done on this target
STEP_FAILED = 4
CONTRACT_NOT_KEPT = 5  # ran, and released nothing
OUT_OF_DATE = 6  # a plan or lock is stale; with `--exit-code`: something would run, or differs
DIFFERENT = 7  # a rerun gave a different result
INTERRUPTED = 130
