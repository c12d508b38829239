"""Say what differs between two recipes, plans, runs or locks, and what caused it."""

from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.difference import Difference, places
from titrant.verbs.compared import Compared, kind_of, lock_text, made_plan, run_of


def diff(old: str, new: str, *, trust: bool = False) -> Compared:
    """Compare two things by name: recipes (.yaml), saved plans (.json), locks (.lock.yaml), runs (all else).

    A recipe, a plan and a run can be compared with each other too: by their plans, the recipe's as it would be made
    now on this machine. `trust` lets that run the recipe's code from outside its folder. Raises RecipeError where
    either cannot be read, and for a lock beside anything but a lock.
    """
    kinds = kind_of(old), kind_of(new)
    if "lock" in kinds and kinds != ("lock", "lock"):
        other = next(kind for kind in kinds if kind != "lock")
        help_text = "compare two locks: titrant diff A.lock.yaml B.lock.yaml"
        raise RecipeError(Diagnostic("P030", f"a lock and a {other} cannot be compared", help=help_text))
    if kinds == ("recipe", "recipe"):
        return _recipes(old, new)
    if kinds == ("run", "run"):
        return _runs(old, new)
    if kinds == ("lock", "lock"):
        return _locks(old, new)
    from titrant.schema.compare_plans import compare_plans

    found = compare_plans(made_plan(old, trust=trust), made_plan(new, trust=trust))
    return Compared("plan", old, new, found)


def _recipes(old: str, new: str) -> Compared:
    from pathlib import Path

    from titrant.schema.compare_recipes import compare_recipes
    from titrant.schema.source import read

    return Compared("recipe", old, new, compare_recipes(read(Path(old)), read(Path(new))))


def _runs(old: str, new: str) -> Compared:
    from pathlib import Path

    from titrant.runtime.execution.home import home_to_read
    from titrant.runtime.execution.rerun.exact_steps import recorded_claims
    from titrant.schema.compare_runs import compare_runs, first_cause

    before, after = run_of(old), run_of(new)
    claims = recorded_claims(home_to_read(), Path(str(after.environment.get("recipe_folder", ""))))
    found = compare_runs(before, after, measures=lambda operator: claims(operator) == "measured")
    return Compared("run", before.record.run, after.record.run, found, first_cause(found))


def _locks(old: str, new: str) -> Compared:
    from titrant.schema.compose import plain_value
    from titrant.schema.spans import dotted

    before, after = lock_text(old), lock_text(new)
    found = tuple(
        Difference(
            "lock",
            dotted(path),
            left,
            right,
            str(before.place(path)) if before.has(path) else "",
            str(after.place(path)) if after.has(path) else "",
        )
        for path, left, right in places(plain_value(before.root), plain_value(after.root))
    )
    return Compared("lock", old, new, found)
