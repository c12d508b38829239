"""Compare a rerun with what it repeated: verdict, first cause, and how far the artifacts are apart."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.compare.runs import RecordedRun, compare_runs
from titrant.schema.diagnostics.diagnostics import DIFFERENT, OK
from titrant.schema.planned import Planned
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.rerun.verdict import RerunVerdict
    from titrant.runtime.worker.parent import Worker


@dataclass(frozen=True)
class Repeated:
    """What is repeated: as recorded, by which plan, and what would be decided otherwise now.

    `folder` is the run's; None where only a lock speaks for it.
    """

    old: RecordedRun
    planned: Planned
    folder: Path | None
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rerun:
    """How a rerun compares with the run, or the lock, that it repeats.

    `verdict` is identical, equivalent (bytes differ, the cause is known, metrics within tolerance), unexplained (same
    keys, other bytes, though the operator claims exact) or different; `cause` is the first difference in causal order.
    `same` counts the outputs of exact steps that came out again, and `tensors` says how far apart the others are, in
    the order in which steps run. `would_now` is what fresh facts and measurements would choose, `restore` the command
    that brings the recorded packages back. `exit` is the command line's exit code.
    """

    of: str
    run: str
    verdict: str
    cause: str
    exit: int
    same: int
    tensors: tuple[Mapping[str, Any], ...] = ()
    metrics: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    would_now: tuple[str, ...] = ()
    restore: str = ""


def compare_rerun(what: Repeated, run: Path, worker: "Worker", *, exact: bool, would_now: tuple[str, ...]) -> Rerun:
    """Compare the run in a folder with what it repeated; the worker measures how far artifacts are apart.

    With `exact` an equivalent result is exit 7 as well.
    """
    from titrant.api.diff import run_of
    from titrant.runtime.rerun.check import claims_of, restore
    from titrant.runtime.rerun.verdict import EQUIVALENT, IDENTICAL, said, verdict
    from titrant.runtime.store.declarations import Declarations
    from titrant.runtime.store.home import open_home

    new = run_of(str(run))
    old = what.old if what.folder is not None else _on_this_system(what.old, new)
    claims = claims_of(Declarations(open_home(), Path(what.planned.folder), worker.ask))
    differences = compare_runs(old, new, measures=lambda operator: claims(operator) == "measured")
    changed = [] if what.folder is None else _changed_since(what, what.folder, new, run)
    judged = verdict(old, new, differences, claims, tampered=changed)
    good = judged.verdict == IDENTICAL or (judged.verdict == EQUIVALENT and not exact)
    return Rerun(
        of=old.record.run or "the lock",
        run=new.record.run,
        verdict=judged.verdict,
        cause=judged.cause,
        exit=OK if good else DIFFERENT,
        same=judged.same,
        tensors=_tensors(judged, worker),
        metrics=judged.metrics,
        changes=tuple(said(change) for change in judged.changes if change.layer != "keys"),
        notes=judged.notes,
        would_now=would_now,
        restore=restore(old.environment, new.environment),
    )


def _changed_since(what: Repeated, folder: Path, new: RecordedRun, run: Path) -> list[str]:
    """Name the files of a recorded run that are not what it wrote: what it put out, its record, its recipe."""
    from titrant.runtime.rerun.check import tampered
    from titrant.runtime.store.placed import forged

    record = what.old.record
    place = "outputs" if record.released else "quarantine"
    changed = set() if record.missed else set(tampered(folder / place, run / place))
    if (wrong := forged(folder)) is not None:
        changed.add(wrong.path.name)
    # Another version may fill in other defaults.
    same_version = record.environment.get("titrant") == new.record.environment.get("titrant")
    if same_version and what.old.plan.recipe_digest != what.planned.plan.recipe_digest:
        changed.add("recipe.yaml")
    return sorted(changed)


def largest(rerun: Rerun) -> Mapping[str, Any] | None:
    """Return the largest tensor difference by its relative size; None where no numbers differ."""
    measured: Iterator[Mapping[str, Any]] = (tensor for tensor in rerun.tensors if tensor["relative"] is not None)
    return max(measured, key=lambda tensor: float(tensor["relative"]), default=None)


def _on_this_system(old: RecordedRun, new: RecordedRun) -> RecordedRun:
    """Complete what a lock says of the environment: it knows only the packages of its class."""
    packages = {**new.environment["packages"], **old.environment["packages"]}
    return replace(old, environment={**new.environment, "packages": packages})


def _tensors(judged: "RerunVerdict", worker: "Worker") -> tuple[Mapping[str, Any], ...]:
    from titrant.schema.values.canonical import plain

    if not judged.partings:
        return ()
    pairs = [[plain(parting.old), plain(parting.new)] for parting in judged.partings]
    answer = worker.ask({"do": "compare", "pairs": pairs})
    places = (f"{parting.step.id}.{parting.port}" for parting in judged.partings)
    return tuple({"output": place, **distance} for place, distance in zip(places, answer["differences"], strict=True))
