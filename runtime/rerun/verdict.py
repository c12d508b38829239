"""Say whether a rerun reproduced a run: identical, equivalent, unexplained or different, and what parted them first."""

import re
from collections.abc import Iterator, Mapping, Sequence

from titrant.runtime.rerun.check import Claims, Parting, one_sided, outputs
from titrant.schema.compare.difference import Difference, is_timed, short, tolerance_of
from titrant.schema.compare.runs import RecordedRun
from titrant.schema.record import RunRecord
from titrant.schema.values.frozen import dataclass

IDENTICAL, EQUIVALENT, UNEXPLAINED, DIFFERENT = "identical", "equivalent", "unexplained", "different"
# What comes before the outputs, one thing following from those before it.
_BEFORE = ("recipe", "inputs", "environment", "decisions", "keys")
# What the recorded environment says and no exact operator can see.
_IDLE = ("system", "hardware.cores", "hardware.memory_bytes", "hardware.cpu")


@dataclass(frozen=True)
class RerunVerdict:
    """How a rerun compares with the run that it repeats.

    `cause` is the first difference, in causal order, that explains it ("" for identical). `same` counts the outputs of
    exact steps that came out the same, `partings` are those that did not, `changes` everything that differs before the
    outputs, `metrics` the figures beyond their tolerance, and `notes` what fresh measurements alone have changed.
    """

    verdict: str
    cause: str
    same: int
    partings: tuple[Parting, ...] = ()
    changes: tuple[Difference, ...] = ()
    metrics: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def verdict(
    old: RecordedRun,
    new: RecordedRun,
    differences: Sequence[Difference],
    claims: Claims,
    *,
    tampered: Sequence[str] = (),
) -> RerunVerdict:
    """Judge a rerun by the differences that `compare_runs` found; `tampered` are files changed after the run.

    Identical: every step that neither measures nor reads measurements gave the same bytes. Otherwise different where
    recipe, inputs or decisions differ, unexplained where an operator that claims `exact` gave other bytes under the
    same key, equivalent where the environment or a declared tolerance explains it and every metric is within its
    tolerance. Measured values never decide.
    """
    parted, same = outputs(old, new, claims)
    missing = list(_missing(old, new, claims))
    metrics = tuple(_beyond(old.record, new.record, timed=False))
    changes = _changes(differences)
    notes = (*_beyond(old.record, new.record, timed=True), *_flips(old.record, new.record))

    def give(name: str, cause: str) -> RerunVerdict:
        return RerunVerdict(name, cause, same, tuple(parted), changes, metrics, notes)

    if tampered:
        return give(DIFFERENT, f"outputs: {', '.join(tampered)} of the recorded run changed after it had ended")
    upstream = next((change for change in changes if change.layer in ("recipe", "inputs", "decisions")), None)
    if not parted and not missing:
        return give(DIFFERENT, f"metrics: {metrics[0]}") if metrics else give(IDENTICAL, "")
    if upstream is not None:
        return give(DIFFERENT, said(upstream))
    if not parted:
        return give(DIFFERENT, missing[0])
    first = parted[0]
    claim = claims(first.step.operator)
    if first.same_key and claim == "exact":
        cause = f"outputs: {first.step.id}.{first.port} differs under the same key, and {first.step.operator} "
        return give(UNEXPLAINED, f"{cause}claims exact")
    within = not metrics and not missing
    beyond = "" if within else f"; {[*metrics, *missing][0]}"
    if first.same_key:
        return give(EQUIVALENT if within else DIFFERENT, f"{first.step.operator} is exact within a tolerance{beyond}")
    return give(EQUIVALENT if within else DIFFERENT, f"{_environment(changes, first)}{beyond}")


def said(difference: Difference) -> str:
    """Write one difference in a line."""
    because = f" ({difference.cause})" if difference.cause else ""
    if _digest(difference.old) and _digest(difference.new):
        return f"{difference.layer}: {difference.path} changed{because}"
    left, right = ("nothing" if value is None else _short(value) for value in (difference.old, difference.new))
    return f"{difference.layer}: {difference.path} was {left} and is {right}{because}"


def _digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _changes(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """List what differs before the outputs, in causal order; keys follow from the rest and come last."""
    kept = [change for change in differences if change.layer in _BEFORE and not change.measured]
    # A user's file is named before the digest of the model or the data that covers it too.
    return tuple(sorted(kept, key=lambda change: (_BEFORE.index(change.layer), change.path in ("model", "data"))))


def _environment(changes: Sequence[Difference], first: Parting) -> str:
    """Name what of the environment, or of titrant itself, changed the key of the first step that parted."""
    own = next((change for change in changes if change.layer == "keys" and change.path == first.step.id), None)
    if own is not None and own.cause and own.cause_kind != "environment":
        return f"keys: {first.step.id}: {own.cause} changed"
    acting = (change for change in changes if change.layer == "environment" and not change.path.startswith(_IDLE))
    unknown = f"keys: {first.step.id} has another key, and the records do not say why"
    return next((said(change) for change in acting), unknown)


def _missing(old: RecordedRun, new: RecordedRun, claims: Claims) -> Iterator[str]:
    """Say which exact steps have a result in one run only, but for those that a flipped timing left unjudged."""
    flipped = any(_flips(old.record, new.record))
    errors = {step.step: step.error for step in (*old.record.steps, *new.record.steps) if step.error}
    # Runs of earlier versions judged the original too, but not as a step of their plan.
    judges_original = new.plan.original_judgement.rpartition(".")[0]
    as_before = {judges_original} - {step.id for step in old.plan.steps}
    for step, which in one_sided(old, new, claims):
        if step.id not in as_before and not (flipped and step.stage == "judge"):
            why = f": {errors[step.id]}" if step.id in errors else ""
            yield f"outputs: only the {which} run has a result of {step.id}{why}"


def _beyond(old: RunRecord, new: RunRecord, *, timed: bool) -> Iterator[str]:
    """Say which figures of candidates and gates are further apart than their tolerance."""
    before, after = _figures(old, timed=timed), _figures(new, timed=timed)
    for (candidate, name), value in before.items():
        other = after.get((candidate, name), value)
        if not tolerance_of(name).holds(value, other):
            yield f"{candidate}: {name} was {_short(value)} and is {_short(other)}"
    if not timed:
        gates, now = _verdicts(old, timed=False), _verdicts(new, timed=False)
        yield from (
            f"{name} was {gates[name]} and is {now[name]}"
            for name in gates
            if now.get(name, gates[name]) != gates[name]
        )


def _figures(record: RunRecord, *, timed: bool) -> dict[tuple[str, str], float | None]:
    """Gather the figures by candidate and name."""
    figures: dict[tuple[str, str], float | None] = {
        (candidate.candidate, name): value
        for candidate in record.candidates
        for name, value in {"size": candidate.size, **candidate.figures}.items()
        if is_timed(name) == timed
    }
    for candidate in record.candidates:
        for result in candidate.judgement.results if candidate.judgement is not None else ():
            if is_timed(result.gate) == timed:
                figures[candidate.candidate, f"gate {result.gate}"] = result.estimate
    return figures


def _flips(old: RunRecord, new: RunRecord) -> Iterator[str]:
    """Say which timed gates answer otherwise on fresh measurements, and what that changed."""
    before, after = _verdicts(old, timed=True), _verdicts(new, timed=True)
    flipped = [name for name in before if after.get(name, before[name]) != before[name]]
    yield from (f"{name} was {before[name]} and is {after[name]} on fresh timings" for name in flipped)
    if flipped and old.released != new.released:
        yield f"released was {', '.join(old.released) or 'nothing'} and would be {', '.join(new.released) or 'nothing'}"


def _verdicts(record: RunRecord, *, timed: bool) -> Mapping[str, str]:
    return {
        f"{candidate.candidate}: gate {result.gate}": result.verdict
        for candidate in record.candidates
        if candidate.judgement is not None
        for result in candidate.judgement.results
        if is_timed(result.gate) == timed
    }


def _short(value: object) -> str:
    return short(f"{value:.6g}" if isinstance(value, float) else str(value), 60)
