"""Let a judged candidate through whose blocking gates are all waived, and say which they are.

A waiver changes no gate's answer: what it let through is told beside it. A gate that would also let a control through
is never waived, since nobody knows what it would have said.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from titrant.runtime.contract.verdict import blockers
from titrant.schema.contract.waivers import GateWaiver, WaivedGate, of_gates
from titrant.schema.gate import EXECUTED, NOT_JUDGED, Contract, GateResult, Judgement


def today() -> str:
    """Return the day by the clock, in UTC, as 2027-01-31."""
    return datetime.now(UTC).date().isoformat()


def with_waivers(contract: Contract, judgement: Judgement, day: str) -> Judgement:
    """Return a judgement as released where, on a day, waivers cover every gate that keeps it back; else as it is."""
    blocking = _blocking(contract, judgement)
    if judgement.released or not blocking or any(not _covered(contract, result, day) for result in blocking):
        return judgement
    return replace(judgement, released=True, proven=False)


def waived_gates(contract: Contract, judgement: Judgement, day: str) -> tuple[WaivedGate, ...]:
    """Return the gates of a released candidate that are let through by waivers alone; () of any other."""
    if not judgement.released or not contract.waivers:
        return ()
    waivers = of_gates(contract.waivers)
    return tuple(
        WaivedGate(result.gate, result.verdict, waiver.reason, waiver.by, waiver.until)
        for result in _blocking(contract, judgement)
        if (waiver := waivers.get(result.gate)) is not None and waiver.holds_on(day)
    )


def ended_waivers(contract: Contract, judgement: Judgement, day: str) -> tuple[GateWaiver, ...]:
    """Return the waivers of gates that keep a candidate back, and that hold no more on a day."""
    if judgement.released:
        return ()
    waivers = of_gates(contract.waivers)
    about = (waivers.get(result.gate) for result in _blocking(contract, judgement))
    return tuple(waiver for waiver in about if waiver is not None and not waiver.holds_on(day))


def needless_waivers(contract: Contract, judgement: Judgement) -> Iterator[GateWaiver]:
    """Yield the waivers whose gates a candidate passes, so that nothing has to be waived."""
    passed = {result.gate for result in judgement.results if result.verdict == "PASS"}
    return (waiver for waiver in contract.waivers if waiver.gate in passed)


def _blocking(contract: Contract, judgement: Judgement) -> tuple[GateResult, ...]:
    names = blockers(contract, judgement)
    return tuple(result for result in judgement.results if result.gate in names)


def _covered(contract: Contract, result: GateResult, day: str) -> bool:
    """Whether a waiver lets a gate through; none does where a control shows that the gate can tell nothing apart."""
    waiver = of_gates(contract.waivers).get(result.gate)
    gate = next((gate for gate in contract.gates if gate.id == result.gate), None)
    if waiver is None or gate is None or gate.of_original or gate.preset == EXECUTED:
        return False
    if result.let_through or result.method == NOT_JUDGED:
        return False
    return waiver.holds_on(day)
