"""Whether all that one recipe needs is here: its data, its code, engines, disk and memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from titrant.compiler.room import room_now
from titrant.compiler.totals import totals
from titrant.schema.diagnostics import Diagnostic, InfeasibleError, StepError
from titrant.schema.distributions import distribution
from titrant.schema.facts import Hardware
from titrant.schema.need import WORKER_BYTES, short_of
from titrant.schema.units import format_size, format_time
from titrant.verbs.engines import Engine
from titrant.verbs.examine_machine import extra, install, wandb_login
from titrant.verbs.finding import Finding

if TYPE_CHECKING:
    from titrant.planned import Planned
    from titrant.schema.source import ParsedRecipe


def examine_recipe(
    recipe: "ParsedRecipe", hardware: Hardware, engines: tuple[Engine, ...], *, trust: bool = False
) -> Iterator[Finding]:
    """Plan the recipe and yield what its plan needs and has; RecipeError when the recipe itself is wrong.

    Planning loads the data and the recipe's own code in a child process, so both are tried on the way.
    """
    from titrant.verbs.plan import plan

    yield Finding("recipe", "ok", f"{recipe.file} is valid")
    try:
        planned = plan(recipe, hardware=hardware, trust=trust)
    except (InfeasibleError, StepError) as error:
        yield from (_refused(diagnostic) for diagnostic in error.diagnostics)
        return
    yield Finding("data and model", "ok", "read in a child process, as a run does")
    yield from _engines(planned, hardware, engines)
    yield from _room(planned, hardware)
    tracking = recipe.recipe.tracking
    if tracking is not None and tracking.wandb is not None and tracking.wandb.mode == "online":
        yield from wandb_login(needed=True)
    yield from (Finding("plan", "note", warning) for warning in planned.plan.warnings)


def _refused(diagnostic: Diagnostic) -> Finding:
    where = f" ({diagnostic.where})" if diagnostic.where else ""
    return Finding(diagnostic.code, "lack", f"{diagnostic.message}{where}", diagnostic.help)


def _engines(planned: "Planned", hardware: Hardware, engines: tuple[Engine, ...]) -> Iterator[Finding]:
    """Yield each engine or library that a step needs, whether it is installed, and whether it loads."""
    from titrant.runtime import catalog

    steps = [step.operator for step in planned.plan.steps if step.operator in catalog.names()]
    needed = {library for name in steps for library in catalog.get(name).libraries}
    needed |= {candidate.engine for candidate in planned.plan.candidates}
    problems = {engine.name: engine.problem for engine in engines}
    working = []
    for name in sorted(needed):
        found = distribution(hardware.identity.packages, name)
        if found is None:
            yield Finding(name, "lack", "a step of the plan needs it, and it is not installed", install(extra(name)))
        elif problems.get(found):
            yield Finding(name, "lack", f"a step of the plan needs it, and it does not load: {problems[found]}")
        else:
            working.append(name)
    if working:
        yield Finding("libraries", "ok", ", ".join(working))


def _room(planned: "Planned", hardware: Hardware) -> Iterator[Finding]:
    """Hold what the plan takes against what is free now: what is certain not to fit stops work, as it stops a run."""
    steps = planned.plan.steps
    certain = [step.id for step in steps if step.stage != "judge"]
    yield from (_refused(lack) for lack in short_of(planned.needs, certain, room_now(hardware)))
    whole = totals(steps)
    yield _held("disk", whole.output_bytes or 0, hardware.volatile.disk_free_bytes, "free disk space first")
    peak = WORKER_BYTES + (whole.peak_bytes or 0)
    remedy = "end other programs, or use a machine with more memory"
    yield _held("memory", peak, hardware.volatile.memory_available_bytes, remedy)
    predicted = "unknown" if whole.seconds is None else f"predicted {format_time(whole.seconds)}"
    yield Finding("time", "ok", f"{predicted} for {whole.steps} steps, nothing reused")


def _held(subject: str, needed: int, free: int | None, remedy: str) -> Finding:
    text = f"the plan is predicted to take {format_size(needed)}"
    if free is None:
        return Finding(subject, "note", f"{text}; it is not known how much is free")
    text += f", {format_size(free)} are free"
    return Finding(subject, "ok", text) if needed <= free else Finding(subject, "note", text, remedy)
