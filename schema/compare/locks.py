"""Find the first difference between two entries of a lock, in causal order, as a sentence."""

from collections.abc import Iterator, Mapping
from typing import Any

from titrant.schema.compare.difference import is_timed, tolerance_of
from titrant.schema.lock import LockEntry


def first_difference(old: LockEntry, new: LockEntry) -> str:
    """Name the first thing that differs between a locked outcome and a new one; "" where nothing that counts does.

    Measurements, the run's id and titrant's version do not count: what follows from them is compared.
    """
    return next(_all(old, new), "")


def planned_difference(old: LockEntry, recipe: str, model: str, data: str, decisions: Mapping[str, str]) -> str:
    """Name the first thing that is planned otherwise than a lock's entry says: recipe, model, data, a decision."""
    now = {"recipe": recipe, "model": model, "data": data}
    for name, digest in now.items():
        if getattr(old, name) != digest:
            return f"the {name} changed: its digest was {getattr(old, name)[:12]} and is {digest[:12]}"
    return next(_named(old.decisions, decisions, "the decision {name}"), "")


def _all(old: LockEntry, new: LockEntry) -> Iterator[str]:
    planned = planned_difference(old, new.recipe, new.model, new.data, new.decisions)
    if planned:
        yield planned
    # The choice before the steps: which steps of the judging ran follows from it.
    for name, search in old.searches.items():
        now = new.searches.get(name)
        yield from _named(
            {"judged": _list(search.judged)}, {"judged": _list(now.judged if now else ())}, f"{name}: {{name}}"
        )
    yield from _steps(old, new)
    yield from _gates(old, new)
    for name, search in old.searches.items():
        now = new.searches.get(name)
        released = now.released if now else "nothing"
        if search.released != released:
            yield f"{name}: released was {search.released} and is {released}{_because(old, new)}"


def _steps(old: LockEntry, new: LockEntry) -> Iterator[str]:
    for name, step in old.steps.items():
        now = new.steps.get(name)
        if now is None:
            yield f"the step {name} has no result any more"
            continue
        for port, digest in step.outputs.items():
            if now.outputs.get(port) != digest:
                key = "under the same key" if now.key == step.key else "its key differs too"
                yield f"the output {name}.{port} differs ({key})"
        if now.key != step.key:
            yield f"the key of the step {name} differs"
    yield from (f"the step {name} is new" for name in new.steps if name not in old.steps)


def _gates(old: LockEntry, new: LockEntry) -> Iterator[str]:
    """Compare what gates answered; a timed one may answer otherwise as long as the release stays."""
    for candidate, gates in old.gates.items():
        for name, gate in gates.items():
            now = new.gates.get(candidate, {}).get(name)
            if is_timed(name) or now is None:
                continue
            if now.verdict != gate.verdict:
                yield f"{candidate}: the gate {name} was {gate.verdict} and is {now.verdict}"
            elif not tolerance_of(name).holds(gate.value, now.value):
                yield f"{candidate}: {name} was {gate.value} and is {now.value}"


def _because(old: LockEntry, new: LockEntry) -> str:
    """Name the timed gates that answer otherwise now."""
    flipped = [
        f"{candidate}: {name} was {gate.verdict} and is {now.verdict}"
        for candidate, gates in old.gates.items()
        for name, gate in gates.items()
        if is_timed(name)
        and (now := new.gates.get(candidate, {}).get(name)) is not None
        and now.verdict != gate.verdict
    ]
    return f" ({'; '.join(flipped)})" if flipped else ""


def _named(old: Mapping[str, Any], new: Mapping[str, Any], wording: str) -> Iterator[str]:
    for name in [*old, *(name for name in new if name not in old)]:
        if old.get(name) != new.get(name):
            was, now = old.get(name, "not there"), new.get(name, "not there")
            yield f"{wording.format(name=name)} was {was} and is {now}"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
