"""A gate's comparison and threshold in words, for both the plan and the report."""

from collections.abc import Mapping

from titrant.schema.gate import Gate
from titrant.schema.units import format_size, format_time

# comparison → the words around its threshold
COMPARISONS: Mapping[str, str] = {
    "at_least": "≥ {}",
    "at_most": "≤ {}",
    "retention": "≥ {} of the original’s",
    "drop_at_most": "≤ {} lower than the original’s",
    "rise_at_most": "≤ {} higher than the original’s",
    "ratio_at_least": "≥ {} as a ratio",
}


def threshold_words(gate: Gate) -> str:
    """Write a gate's comparison and threshold with its unit, as "≥ 0.97 of the original’s"."""
    return COMPARISONS[gate.comparison].format(_threshold(gate))


def _threshold(gate: Gate) -> str:
    if gate.unit == "s":
        return format_time(gate.threshold)
    if gate.unit == "B":
        return format_size(round(gate.threshold))
    # A threshold is never shown looser or stricter than it is: 0.9999999 is not 1.
    short = f"{gate.threshold:,.0f}" if gate.threshold >= 1000 else f"{gate.threshold:g}"
    text = short if float(short.replace(",", "")) == gate.threshold else repr(gate.threshold)
    return f"{text} {gate.unit}".rstrip()
