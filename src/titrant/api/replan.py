"""Plan a recorded run again, with the decisions that it took."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.compare_rerun import Repeated
from titrant.schema.plan import Plan, is_file

if TYPE_CHECKING:
    from titrant.runtime.worker.parent import Worker


def replan(folder: Path, *, redecide: bool, trust: bool, keep_worker: "list[Worker] | None" = None) -> Repeated:
    """Read the run in a folder and plan it again.

    The recipe is the one in the run's folder; the user's modules and files are looked for where they were. Where this
    machine would decide otherwise the recorded plan stands, with the facts of today, unless `redecide` says so.
    `keep_worker` is as of `titrant.plan`.
    """
    from titrant.api.diff import run_of
    from titrant.api.plan import plan
    from titrant.api.planned import AsRecorded
    from titrant.api.runs import read_text
    from titrant.compiler.given.file import as_optimized
    from titrant.schema.language.parse import parse

    old = run_of(str(folder))
    text = read_text(folder / "recipe.yaml")
    place = Path(old.environment.get("recipe_folder") or folder)
    file = str(old.environment.get("recipe_file") or folder / "recipe.yaml")
    recorded: Mapping[str, Any] = old.environment.get("recipe") or {}
    optimized = as_optimized(recorded)
    as_then = AsRecorded(optimized, {} if redecide else dict(recorded.get("earlier") or {}))
    fresh = plan(parse(text, file, folder=place), trust=trust, keep_worker=keep_worker, recorded=as_then)
    written = recorded or fresh.written
    fresh = replace(fresh, written=written)
    changed = otherwise(old.plan, fresh.plan)
    if redecide or not changed:
        return Repeated(old, fresh, folder)
    return Repeated(old, replace(fresh, plan=with_facts(old.plan, fresh.plan)), folder, changed)


def otherwise(old: Plan, new: Plan) -> tuple[str, ...]:
    """Say what a plan decides otherwise than an older one."""
    before, after = decided(old), decided(new)
    return tuple(
        f"{subject}: {after.get(subject, 'nothing')} instead of {before.get(subject, 'nothing')}"
        for subject in [*before, *(subject for subject in after if subject not in before)]
        if before.get(subject) != after.get(subject)
    )


def decided(plan: Plan) -> dict[str, str]:
    """Return what a plan decides, by subject; several decisions about one subject stand in a row."""
    chosen: dict[str, str] = {}
    for decision in plan.decisions:
        chosen[decision.subject] = (
            f"{chosen[decision.subject]}; {decision.chosen}" if decision.subject in chosen else decision.chosen
        )
    return chosen


def with_facts(old: Plan, fresh: Plan) -> Plan:
    """Return an old plan on today's machine, model and data: its decisions and steps, the files as they are now."""
    params = {step.id: step.params for step in fresh.steps}
    steps = tuple(replace(step, params=_files(step.params, params.get(step.id))) for step in old.steps)
    return replace(
        old,
        steps=steps,
        hardware=fresh.hardware,
        model_digest=fresh.model_digest,
        data_digest=fresh.data_digest,
        recipe_digest=fresh.recipe_digest,
    )


def _files(old: Any, new: Any) -> Any:
    """Take the digests of files from the newer parameters, where both name one at the same place."""
    if is_file(old) and is_file(new):
        return new
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {key: _files(value, new.get(key)) for key, value in old.items()}
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        return [_files(left, right) for left, right in zip(old, new, strict=True)]
    return old
