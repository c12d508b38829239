"""Look inside the original and what is released, once all is judged: nothing is chosen or judged by it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.runtime.run.outcome import Outcome
from titrant.runtime.run.walk import StoppedError, UnperformedError, Walk
from titrant.schema.plan import OBSERVING_STAGE, Step
from titrant.schema.record import ModelInside
from titrant.schema.values.canonical import plain

LAYERS = "profile.layers"
# The output of every operator that looks inside a model.
SEEN = "seen"


def observe(walk: Walk, outcome: Outcome) -> None:
    """Settle the steps that look at the original, and at each candidate that a search ended with.

    One that fails is recorded and told of, and changes nothing of what was judged. Raises UnperformedError where a step
    was only looked up.
    """
    shown = {*outcome.judged.released.values(), *outcome.judged.best.values()}
    for step in _steps(walk):
        if not step.candidate or step.candidate in shown:
            walk.settle(step)
            failed = walk.errors.get(step.id)
            if failed is not None and not isinstance(failed, StoppedError):
                text = f"{step.id} saw nothing: {walk.reason(step.id)}"
                walk.tell("note", text=text, step=step.id)
    if any(step.id in walk.unperformed for step in _steps(walk)):
        raise UnperformedError(OBSERVING_STAGE)


def observed(walk: Walk) -> list[dict[str, Any]]:
    """Return what was seen, and why what was to be seen was not, in the plan's order."""
    rows = []
    for step in _steps(walk):
        port = f"{step.id}.{SEEN}"
        if port in walk.artifacts:
            rows.append(ModelInside(step.operator, subject(step), walk.value(port)))
        elif step.id in walk.errors:
            rows.append(ModelInside(step.operator, subject(step), failed=walk.reason(step.id)))
    return [plain(row) for row in rows]


def write_traces(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the timeline of every model whose calls were kept, as `traces/<model>.json` in a run's folder."""
    for row in rows:
        if row["operator"] == LAYERS and row["value"] and row["value"]["spans"]:
            from titrant.runtime.instruments.layers.trace import save_trace
            from titrant.runtime.report.observed.layers import TRACES, layer_profile

            (folder / TRACES).mkdir(exist_ok=True)
            save_trace(layer_profile(row["subject"], row["value"]), folder / TRACES / f"{row['subject']}.json")


def subject(step: Step) -> str:
    """Name the model that a step looks at: its id is that and what is looked at, as `original.summary`."""
    return step.id.rpartition(".")[0]


def _steps(walk: Walk) -> list[Step]:
    return [step for step in walk.plan.steps if step.stage == OBSERVING_STAGE]
