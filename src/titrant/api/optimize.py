"""Write a starter recipe, plan it and run it, in one go."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.draft import draft
from titrant.api.init import parsed_draft, refuse_other
from titrant.api.planned import reading, write_file
from titrant.api.starter.lines import refuse
from titrant.api.starter.request import StarterRequest, subject_of
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.planned import Planned
from titrant.schema.record import RunRecord
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.run.preview import PlanPreview
    from titrant.runtime.worker.parent import Worker


@dataclass(frozen=True)
class Optimized:
    """The recipe that was written, the plan that was made of it, and what running it gave."""

    recipe: Path
    planned: Planned
    record: RunRecord


def nothing_shown(recipe: Path, planned: Planned, preview: "PlanPreview") -> None:
    """Show nothing of a plan before it runs."""


def optimize(
    model: str,
    out: Path | str | None = None,
    *,
    data: str | None = None,
    label: str | None = None,
    weights: str | None = None,
    args: Mapping[str, Any] | None = None,
    input_specs: Sequence[Mapping[str, Any]] | None = None,
    level: str = "balanced",
    objective: str = "",
    overrides: Sequence[str] = (),
    force: bool = False,
    trust: bool = False,
    shown: "Callable[[Path, Planned, PlanPreview], None]" = nothing_shown,
    listen: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Optimized:
    """Write the recipe of a trained model beside it, plan it, run it, and return what was released.

    The arguments are those of `titrant.init`. It asks nothing, and refuses where it would have to guess what changes
    the answers. `shown` is called with the recipe's file, the plan and what it would do, before it runs; `listen` with
    each event of the run. Where the recipe is there already with the same content, what was done is reused; with other
    content it is overwritten with `force` only. Raises what `init`, `plan` and `run` raise.
    """
    from titrant.api.plan import plan_and_preview
    from titrant.api.run import answer_again, run

    file = None if out is None else Path(out)
    request = StarterRequest(model, file, data, label, weights, args, input_specs, level, objective, tuple(overrides))
    subject = subject_of(request)
    if subject.alone:
        help = f"`titrant init {model}` writes a recipe that trains a small network on it"
        refuse(f"{model} is data, and there is no model to optimize", help)
    worker: list[Worker] = []
    try:
        text = draft(request, subject, needs_weights=True, keep_worker=worker)
        refuse_other(subject.file, text, force=force)
        parsed = parsed_draft(subject, text)
        try:
            with reading():
                planned, preview = plan_and_preview(parsed, trust=trust, keep_worker=worker)
        except InfeasibleError:
            write_file(subject.file, text)  # the recipe is right, and another machine can run it
            raise
        write_file(subject.file, text)
        shown(subject.file, planned, preview)
        record = preview.answer
        if record is not None:
            answer_again(record)
        else:
            record = run(planned, listen=listen, worker=worker[0] if worker else None, preview=preview)
    finally:
        for kept in worker:
            kept.close()
    return Optimized(subject.file, planned, record)
