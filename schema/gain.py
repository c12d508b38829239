"""What a candidate gains over the original and over the plain conversion in the same engine, and its words."""

from collections.abc import Sequence
from dataclasses import replace

from titrant.schema.values.frozen import dataclass

_TIMED = ("latency", "throughput")
# Two timings of one file differ by this share, however narrow their interval: its rounds are not quite independent.
SAME_FILE = 0.03


@dataclass(frozen=True)
class Gain:
    """How a candidate compares with one other model in one objective, `first` where it is the first of its search.

    `against` is the other's name in the timings, `title` what a sentence calls it, and `plain` whether it is the model
    as it is in the candidate's own engine and format. A `factor` above 1 is better; `lower` and `upper` are its 95 %
    interval where runs were paired, in rounds enough to have one. `verdict` is better, worse, alike or unknown, `clock`
    wall, cpu or "" for what is not timed, `busy` says that the machine was, and `anew` that the runs are those that
    judged, not those that chose.
    """

    objective: str
    first: bool
    against: str
    title: str
    plain: bool
    factor: float
    verdict: str
    lower: float | None = None
    upper: float | None = None
    clock: str = ""
    busy: bool = False
    anew: bool = False


def leading_gain(gains: Sequence[Gain]) -> Gain | None:
    """Return what a candidate is called better by: in the first objective, over the plain conversion.

    The original takes its place for a candidate that is one itself, or where it was not timed.
    """
    first = [gain for gain in gains if gain.first]
    return next((gain for gain in first if gain.plain), first[0] if first else None)


def gains_words(gains: Sequence[Gain]) -> str:
    """Say what a released candidate gains in the first objective, over the plain conversion first; "" without figures.

    Where that is nothing it says so, and what else is gained comes after it.
    """
    lead = leading_gain(gains)
    if lead is None:
        return ""
    others = [gain for gain in gains if gain.first and gain is not lead and gain.verdict != "unknown"]
    if lead.verdict == "better":
        said = f"it is {_and([gain_words(gain) for gain in (lead, *others)])}"
    else:
        later = [gain for gain in gains if not gain.first and gain.against == lead.against]
        rest = [gain_words(gain) for gain in (*others, *(gain for gain in later if gain.verdict == "better"))]
        first = gain_words(lead) if lead.verdict == "unknown" else f"it is {gain_words(lead)}"
        said = f"{first}; it is {_and(rest)}" if rest else first
    by_cpu = any(gain.busy and gain.clock == "cpu" and gain.verdict != "unknown" for gain in (lead, *others))
    return said + (" (by CPU time, since the machine was busy)" if by_cpu else "")


def gain_words(gain: Gain) -> str:
    """Say one gain, with its interval: "2.1× faster than the original (1.9–2.3)", "0.26 of the size of plain ONNX"."""
    if gain.objective not in _TIMED:
        return _share(gain)
    if gain.verdict == "unknown":
        return _untold(gain, f"to tell whether it is faster than {gain.title}")
    return " than ".join([_speed(gain), gain.title]) + f" ({_inside(gain)})" * bool(_inside(gain))


def speed_words(gain: Gain) -> str:
    """Say how fast a candidate is without naming the other model: "2.1× faster (1.9–2.3)"."""
    if gain.verdict == "unknown":
        return _untold(gain, "to tell")
    return _speed(gain) + f" ({_inside(gain)})" * bool(_inside(gain))


def _untold(gain: Gain, purpose: str) -> str:
    span = span_words(gain)
    if not span:
        return f"there are too few runs {purpose}"
    cause = "the machine was too busy" if gain.busy else "the runs vary too much"
    return f"{cause} {purpose} ({span}×)"


def throughput_words(gain: Gain) -> str:
    """Say how many cases a candidate answers in the time of another: "5.1× as many (5.0–5.2)"."""
    if gain.verdict == "unknown":
        return speed_words(gain)
    span = span_words(replace(gain, verdict="alike"))
    return f"{factor_words(gain.factor)} as many" + f" ({span})" * bool(span)


def _speed(gain: Gain) -> str:
    if gain.verdict == "alike":
        return "hardly faster" if gain.lower is not None and gain.lower > 1 + SAME_FILE else "no faster"
    return f"{factor_words(gain.factor)} faster" if gain.factor > 1 else f"{factor_words(1 / gain.factor)} slower"


def _inside(gain: Gain) -> str:
    """Write what stands in brackets: the interval, and the factor where it is not said before."""
    parts = [factor_words(gain.factor)] * (gain.verdict == "alike")
    return ", ".join([*parts, *filter(None, [span_words(gain)])])


def factor_words(factor: float) -> str:
    """Write a factor with as many digits as tell something: "1.02×", "12.3×", "214×"."""
    return f"{_digits(factor, factor)}×"


def span_words(gain: Gain) -> str:
    """Write a gain's interval, turned over where it is worse, in the digits of the factor that it stands beside."""
    if gain.lower is None or gain.upper is None:
        return ""
    if gain.verdict == "worse":
        return interval_words(1 / gain.upper, 1 / gain.lower, 1 / gain.factor)
    return interval_words(gain.lower, gain.upper, gain.factor)


def interval_words(lower: float, upper: float, factor: float) -> str:
    """Write the interval of a factor in its digits: "1.9–2.3"."""
    return f"{_digits(lower, factor)}–{_digits(upper, factor)}"


def _digits(value: float, factor: float) -> str:
    return f"{value:.2f}" if factor < 2 else f"{value:.1f}" if factor < 100 else f"{value:.0f}"


def _share(gain: Gain) -> str:
    share, what = 1 / gain.factor, gain.objective.replace("_", " ")
    if gain.verdict == "better":
        return f"{share:.2f} of the {what} of {gain.title}"
    word = "no smaller" if gain.verdict == "alike" else "larger"
    return f"{word} in {what} than {gain.title} ({share:.2f} of it)"


def _and(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
