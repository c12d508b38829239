"""Whether all that one recipe needs is here: its data, its code, engines, disk and memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from titrant.schema.diagnostics import Diagnostic, InfeasibleError, StepError
from titrant.schema.distributions import distribution
from titrant.schema.facts import Hardware
from titrant.schema.units import format_size, format_time
from titrant.verbs.doctor import Finding
from titrant.verbs.engines import Engine

if TYPE_CHECKING:
    from titrant.planned import Planned
    from titrant.schema.plan import Step
    from titrant.schema.source import ParsedRecipe


def examine_recipe(
    recipe: "ParsedRecipe", hardware: Hardware, engines: tuple[Engine, ...], *, trust: bool = False
) -> Iterator[Finding]:
    """Plan the recipe and yield what its plan needs and has; RecipeError when the recipe itself is wrong.

    Planning loads the data and the recipe's own code in a child process, so both are tried on the way.
    """
    from titrant.verbs.examine_machine import wandb_login
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
            yield Finding(name, "lack", "a step of the plan needs it, and it is not installed", f"pip install {name}")
        elif problems.get(found):
            yield Finding(name, "lack", f"a step of the plan needs it, and it does not load: {problems[found]}")
        else:
            working.append(name)
    if working:
        yield Finding("libraries", "ok", ", ".join(working))


def _room(planned: "Planned", hardware: Hardware) -> Iterator[Finding]:
    """Hold what the plan is expected to take against what is free now; only a counted figure stops work."""
    steps = planned.plan.steps
    outputs = [step for step in steps if step.prediction.output_bytes]
    written = sum(step.prediction.output_bytes or 0 for step in outputs)
    yield _held("disk", written, hardware.volatile.disk_free_bytes, _counted(outputs), "free disk space first")
    largest = max(steps, key=lambda step: step.prediction.peak_bytes or 0)
    peak = largest.prediction.peak_bytes or 0
    remedy = "end other programs, or use a machine with more memory"
    yield _held("memory", peak, hardware.volatile.memory_available_bytes, _counted([largest]), remedy)
    seconds = sum(step.prediction.seconds or 0.0 for step in steps)
    yield Finding("time", "ok", f"predicted {format_time(seconds)} for {len(steps)} steps, nothing reused")


def _counted(steps: "list[Step]") -> bool:
    return all(step.prediction.basis == "counted" for step in steps)


def _held(subject: str, needed: int, free: int | None, counted: bool, remedy: str) -> Finding:
    text = f"the plan needs {format_size(needed)} ({'counted' if counted else 'predicted'})"
    if free is None:
        return Finding(subject, "note", f"{text}; it is not known how much is free")
    text += f", {format_size(free)} are free"
    if needed <= free:
        return Finding(subject, "ok", text)
    return Finding(subject, "lack" if counted else "note", text, remedy)
