"""Say in a sentence why a gate answered as it did."""

from titrant.runtime.contract.finding import Finding
from titrant.runtime.contract.verdict import UPPER_LIMITS, meets
from titrant.schema.gate import Gate, Verdict
from titrant.schema.units import format_size, format_time


def reason(gate: Gate, finding: Finding, verdict: Verdict, needed: int | None, confidence: float) -> str:
    """Return what was seen, the bound that decides against the threshold, and what would settle an open gate."""
    limit = gate.comparison in UPPER_LIMITS
    threshold = _number(gate.threshold, gate.unit)
    wanted = f"at most {threshold} is allowed" if limit else f"at least {threshold} is needed"
    if finding.missing:
        return f"{finding.observed}; {finding.missing}"
    if finding.lower == finding.upper:
        return f"{finding.observed}; {wanted}"
    deciding = finding.upper if limit else finding.lower
    if verdict == "FAIL":
        best = finding.lower if limit else finding.upper
        compared = "" if gate.metric != "kept" else " of the share kept"
        return (
            f"{finding.observed}; even the favourable bound{compared} at {confidence:.4g} confidence is "
            f"{_number(best, gate.unit, gate.threshold)}, and {wanted}"
        )
    said = (
        f"{finding.observed}; the bound at {confidence:.4g} confidence is "
        f"{_number(deciding, gate.unit, gate.threshold)}, and {wanted}"
    )
    return said if verdict == "PASS" else f"{said}: {_settle(gate, finding, needed)}"


def _settle(gate: Gate, finding: Finding, needed: int | None) -> str:
    if not meets(gate, finding.estimate):
        return "the estimate itself does not reach it"
    if needed is None:
        return "the estimate reaches it, but the evidence is too thin to prove it"
    if finding.clean:
        return f"{needed:,} {finding.counted} with {finding.clean} would prove it"
    return f"about {needed:,} {finding.counted} with the same shares would prove it (power 0.8)"


def _number(value: float | None, unit: str, against: float | None = None) -> str:
    if value is None:
        return "unknown"
    if unit == "s":
        return format_time(value)
    if unit == "B":
        return format_size(value)
    if unit:
        return f"{value:,.0f} {unit}"
    if against is None:
        return f"{value:.6g}"
    digits = 4
    # A bound that misses the threshold must not look as if it met it.
    while digits < 9 and value != against and round(value, digits) == round(against, digits):
        digits += 1
    return f"{value:.{digits}f}"
