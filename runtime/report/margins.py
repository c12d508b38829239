"""How far a gate's bound is from its threshold, and which gate of a contract comes closest to breaking."""

from dataclasses import dataclass

from titrant.runtime.report.words import SMALLER_IS_BETTER, gate_slice, gate_title, quantity
from titrant.schema.gate import Gate, GateResult
from titrant.schema.gate_words import threshold_words


@dataclass(frozen=True)
class Margin:
    """One gate's bound against its threshold.

    `left` is the share of the allowance that the bound leaves over: with retention ≥ 0.97 the contract allows a loss of
    0.03, and a lower bound of 0.985 leaves 0.5 of it. Below zero the bound is beyond the threshold; None: not
    assessable.
    """

    gate: str
    left: float | None
    sentence: str


def margin(gate: Gate, result: GateResult) -> Margin:
    """Measure a gate's margin from the bound that decides it (the lower one, or the upper where small is good)."""
    small = gate.comparison in SMALLER_IS_BETTER
    bound = result.upper if small else result.lower
    name = f"{gate_title(gate)} on {gate_slice(gate)}" if gate.slice != "all" else gate_title(gate)
    if bound is None:
        why = result.reason.removeprefix("not assessable").lstrip(": ")
        return Margin(gate.id, None, f"{name}: not assessable" + (f", {why}" if why else ""))
    room = (gate.threshold - bound) if small else (bound - gate.threshold)
    left = room / _allowance(gate)
    side = "upper bound" if small else "lower bound"
    if result.lower == result.upper:
        side = "value"
    shown = quantity(bound, gate.unit, gate.threshold)
    tail = (
        f"{left:.2f} of the allowance is left" if left >= 0 else f"beyond the threshold by {quantity(-room, gate.unit)}"
    )
    return Margin(gate.id, left, f"{name}: {side} {shown} against {threshold_words(gate)}; {tail}")


def _allowance(gate: Gate) -> float:
    """Return what a gate allows to be lost or used up, in its own unit; never zero."""
    if gate.comparison in SMALLER_IS_BETTER:
        return abs(gate.threshold) or 1.0
    if gate.unit == "" and 0 <= gate.threshold < 1:
        return 1 - gate.threshold
    return abs(gate.threshold) or 1.0


def weakest(margins: list[Margin]) -> Margin | None:
    """Return the gate nearest to breaking: one that could not be assessed comes before any that could."""
    return min(margins, key=lambda margin: (margin.left is not None, margin.left or 0.0), default=None)
