"""Numbers and gates in words: fractions stay fractions, quantities carry their unit."""

from titrant.schema.gate import Gate
from titrant.schema.units import format_size, format_time

NONE = "–"
SMALLER_IS_BETTER = ("at_most", "drop_at_most", "rise_at_most")
# Metrics that count cases, so that value × cases is a whole number.
COUNTED = ("accuracy", "sensitivity", "specificity", "agreement")
# preset → how a gate of it is named; {} is the metric
TITLES = {
    "retention": "retention of {}",
    "bias": "bias in {}",
    "clinical_relevance": "clinical relevance ({})",
    "target": "{}",
    "gates": "{}",
}


def fraction(value: float | None, against: float | None = None) -> str:
    """Write a fraction with four decimals, or with as many as it takes to tell it from `against`.

    What is not whole never looks whole: 0.99998 is 0.99998 and not 1.0000.
    """
    if value is None:
        return NONE
    rivals = [1.0, 0.0] + ([] if against is None else [against])
    digits = 4
    others = [rival for rival in rivals if abs(value - rival) > 1e-9]
    while digits < 9 and any(round(value, digits) == round(rival, digits) for rival in others):
        digits += 1
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def quantity(value: float | None, unit: str, against: float | None = None) -> str:
    """Write a number in its unit: "" fractions and ratios, "s", "B", "cases/s"."""
    if value is None:
        return NONE
    if unit == "":
        return fraction(value, against)
    text = _rounded(value, unit)
    if against is not None and value != against and text == _rounded(against, unit):
        return f"just {'above' if value > against else 'below'} {text}"
    return text


def _rounded(value: float, unit: str) -> str:
    if unit == "s":
        return format_time(value)
    if unit == "B":
        return format_size(round(value))
    return f"{value:,.0f} {unit}"


def gate_title(gate: Gate) -> str:
    """Name a gate by what it asks, as "retention of accuracy"."""
    pattern = TITLES.get(gate.preset, gate.preset.replace("_", " ") + " ({})")
    # A custom gate's name or a `module:Name` metric may hold braces of its own.
    return pattern.replace("{}", gate.metric.replace("_", " "))


def gate_slice(gate: Gate) -> str:
    """Name the rows that a gate looks at."""
    return "every case" if gate.slice == "all" else gate.slice


def cases(count: int | None) -> str:
    """Write a number of cases."""
    if count is None:
        return NONE
    return f"{count:,} case" + ("" if count == 1 else "s")


def metric_with_cases(metric: str, value: float | None, count: int) -> str:
    """Write a metric with what it was computed on: "0.9708 (166/171)" where it counts cases."""
    if value is None:
        return NONE
    hits = value * count
    if metric in COUNTED and count and abs(hits - round(hits)) < 1e-6:
        return f"{fraction(value)} ({round(hits):,}/{count:,})"
    return f"{fraction(value)} (n = {count:,})" if count else fraction(value)


def place(where: str) -> str:
    """Shorten "folder/recipe.yaml:12:3" to "recipe.yaml:12:3": a reader has the recipe, not the machine it lay on."""
    return where.rpartition("/")[2]


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Join names as a sentence does: "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def short(digest: str) -> str:
    """Shorten a digest to what a person compares."""
    return digest[:12]
