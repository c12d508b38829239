"""Execute a plan."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StaleError
from titrant.schema.facts import HardwareIdentity
from titrant.schema.plan import StepPreview, identity
from titrant.schema.planned import Planned
from titrant.schema.record import RunRecord
from titrant.schema.values.canonical import plain

if TYPE_CHECKING:
    from titrant.runtime.run.preview import PlanPreview
    from titrant.runtime.run.replay import Replay
    from titrant.runtime.worker.parent import Worker


def run(
    planned: Planned,
    *,
    listen: Callable[[Mapping[str, Any]], None] = lambda _: None,
    worker: "Worker | None" = None,
    replay: "Replay | None" = None,
    max_minutes: float | None = None,
    preview: "PlanPreview | None" = None,
) -> RunRecord:
    """Execute a plan, reusing every finished step, and release a model only if it keeps its contract.

    The record's `exit` is what the command line would exit with: 0, or 5 where the contract was not kept. Raises
    StepError when a step that everything depends on fails; nothing is released then. `replay` says how the run differs
    from a plain one: `titrant.rerun` and locked runs give it. After `max_minutes` no further step is started, and what
    was judged until then decides; the next run goes on. `preview` is what was seen of the plan just now, where it was
    looked through. Raises StaleError for a plan that was made for another machine: its results would pass for this
    one's; InfeasibleError where what has to run is certain not to fit into the memory and onto the disk that are free
    now; RecipeError P084 for what is no plan. A `worker` that is handed in is used, and closed by who did.
    """
    if not isinstance(planned, Planned):
        message = f"a {type(planned).__name__} is no plan"
        raise RecipeError(Diagnostic("P084", message, help="plan the recipe first: titrant.run(titrant.plan(recipe))"))
    from titrant.api.plan import refuse_beyond_capacity
    from titrant.compiler.machine.detect import detect
    from titrant.compiler.predict.memory import capacity_now
    from titrant.runtime.run.execute import execute
    from titrant.runtime.store.home import open_home

    home = open_home()
    here = detect(home.path)
    _refuse_elsewhere(planned, here.identity)
    refuse_beyond_capacity(planned, capacity_now(here, worker is not None and worker.started), preview)
    try:
        return execute(
            planned,
            home,
            listen=listen,
            worker=worker,
            replay=replay,
            seconds=None if max_minutes is None else max_minutes * 60,
        )
    except RecipeError as error:
        raise _in_recipe(planned, error) from None


def _in_recipe(planned: Planned, error: RecipeError) -> RecipeError:
    """Point at the keys of the recipe that a step's error names, as far as the recipe can still be read."""
    from titrant.compiler.bind.bound_recipe import placed
    from titrant.schema.language.parse import parse

    written = planned.written
    text, overrides = written.get("text", planned.recipe_text), tuple(written.get("overrides", ()))
    try:
        recipe = parse(text, planned.recipe_file, folder=Path(planned.folder), overrides=overrides)
    except RecipeError:
        return error  # such as a base that was changed since
    return RecipeError(*(placed(recipe, diagnostic) for diagnostic in error.diagnostics))


def _refuse_elsewhere(planned: Planned, here: HardwareIdentity) -> None:
    if planned.plan.hardware == here:
        return
    from titrant.schema.compare.difference import first_difference

    difference = first_difference(plain(planned.plan.hardware), plain(here), "hardware")
    raise StaleError(
        Diagnostic("P013", f"the plan is for another machine: {difference}", help="plan again on this machine")
    )


def answer_again(record: RunRecord) -> None:
    """Note that an earlier run answers, so that it is the latest."""
    from titrant.runtime.store.home import home_to_read, note_answer

    note_answer(home_to_read(), record.run)


def answers_lock(record: RunRecord, replay: "Replay", planned: Planned) -> bool:
    """Say whether an earlier run of this plan chose and gave what a lock says, so that nothing need run again."""
    from titrant.runtime.run.replay import recorded_choices

    chosen = {name: sorted(judged) for name, judged in recorded_choices(planned.plan, record).items()}
    if chosen != {name: sorted(judged) for name, judged in replay.choices.items()}:
        return False
    try:
        if replay.accept is not None:
            replay.accept(record)
    except StaleError:
        return False
    return True


def is_up_to_date(previews: Mapping[str, StepPreview]) -> bool:
    """Say whether nothing of a plan would run; judge steps that the search did not ask for do not count."""
    return not any(step.symbol in "+~!" for step in previews.values())


def refuse_if_moved(saved: Planned, *, trust: bool = False) -> "tuple[Planned, PlanPreview]":
    """Plan a saved plan's recipe again and refuse it, naming what differs, when it would be another plan now.

    Returns the plan with what executing it would do.
    `trust` is the caller's to give: what stands in the file trusts nothing.
    """
    from titrant.api.plan import plan_and_preview
    from titrant.schema.compare.difference import first_difference
    from titrant.schema.language.parse import parse

    folder = Path(saved.folder)
    now, seen = plan_and_preview(parse(saved.recipe_text, saved.recipe_file, folder=folder), trust=trust)
    if now.digest == saved.digest:
        return replace(now, written=saved.written), seen
    moved = first_difference(identity(saved.plan), identity(now.plan))
    raise StaleError(
        Diagnostic(
            "P006",
            f"the saved plan no longer holds: {moved}",
            help="plan again and review: titrant plan RECIPE --out FILE",
        )
    )
