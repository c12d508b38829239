"""Compile a recipe into a plan for a machine."""

from pathlib import Path
from typing import TYPE_CHECKING

from titrant.planned import Planned
from titrant.schema.facts import Hardware
from titrant.schema.source import ParsedRecipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from titrant.compiler.passes import Change
    from titrant.runtime.execution.worker import Worker
    from titrant.schema.record import RunRecord


def plan(
    recipe: ParsedRecipe,
    *,
    hardware: Hardware | None = None,
    trust: bool = False,
    keep_worker: "list[Worker] | None" = None,
    trace: "Callable[[Change], None] | None" = None,
) -> Planned:
    """Compile a recipe, as `titrant.read` gives it, into a plan for `hardware` (default: this machine).

    What is not known yet of the model and the data is found out in a child process, which is the only place where the
    user's code runs, and kept where the home can be written. `keep_worker` receives that process instead of closing it,
    so that a run that follows need not start another. `trace` is told what each pass over the plan changed. Raises
    RecipeError, InfeasibleError, or StepError when the user's own code fails.
    """
    from titrant.compiler.bind import bind
    from titrant.compiler.compile import compile_plan
    from titrant.compiler.coverage import coverage
    from titrant.compiler.hardware import detect
    from titrant.compiler.inspect import facts
    from titrant.compiler.room import Case, needs, room_of
    from titrant.runtime.execution.home import home_to_read, open_home
    from titrant.verbs.as_written import as_written
    from titrant.verbs.facts import history, inspector
    from titrant.verbs.room import refuse_without_room

    bound = bind(recipe, trust=trust)
    # A run writes there: it is refused at once where that cannot be.
    home = home_to_read() if keep_worker is None else open_home()
    machine = hardware or detect(home.path)
    with inspector(bound, home) as (ask, started):
        known = facts(bound, ask, home.path / "facts")
        compiled = compile_plan(
            bound, machine, known.model, known.data, files=known.files, trace=trace, history=history(home, machine)
        )
        planned = Planned(
            plan=compiled,
            hardware=machine,
            recipe_text=resolved_text(recipe),
            recipe_file=recipe.file,
            folder=str(recipe.folder.absolute()),
            written=as_written(recipe),
            coverage=coverage(compiled, bound, machine, known.model),
            needs=needs(Case(compiled, known.model, known.data)),
        )
        refuse_without_room(planned, room_of(machine))
        if keep_worker is not None:
            keep_worker += started
            started.clear()
    return planned


def resolved_text(recipe: ParsedRecipe) -> str:
    """Return the recipe's text as written, or printed anew, whole, where it extends another or was overridden.

    Printed anew it stands alone: `extends` is gone, and the base's paths start in the recipe's own folder.
    """
    if recipe.overrides or recipe.recipe.extends:
        from titrant.compiler.inherited_paths import own_paths
        from titrant.schema.recipe import written
        from titrant.schema.write import dump

        value = own_paths(written(recipe.recipe), recipe)
        return dump({key: inner for key, inner in value.items() if key != "extends"})
    return recipe.text


def symbols(planned: Planned) -> dict[str, tuple[str, str]]:
    """Say for every step whether it would run (+, ~), be reused (=) or wait for the search (?), and why."""
    return foresee(planned)[0]


def foresee(planned: Planned) -> "tuple[dict[str, tuple[str, str]], RunRecord | None]":
    """Return the symbols, and what `run` would return without executing anything; None where something would run."""
    from titrant.runtime.execution.forecast import outlook
    from titrant.runtime.execution.home import home_to_read

    found = outlook(
        planned.plan,
        home_to_read(),
        recipe_text=planned.recipe_text,
        recipe_file=planned.recipe_file,
        folder=Path(planned.folder),
    )
    return {step: (entry.symbol, entry.because) for step, entry in found.steps.items()}, found.answer
