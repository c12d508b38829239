"""Rules of the `validation` and `target` sections."""

import itertools
from collections.abc import Iterator
from datetime import date

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.nearest import nearest
from titrant.schema.rules.draft import Draft

_PRESETS = ("retention", "safety", "bias", "calibration", "clinical_relevance", "batch_invariance")


def operating_point_is_one(draft: Draft) -> Iterator[Diagnostic]:
    """An operating point is a threshold or a sensitivity."""
    point, path = draft.validation.operating_point, ("validation", "operating_point")
    if point.threshold is None and point.sensitivity is None:
        advice = "add `threshold: 0.5` or `sensitivity: 0.95`"
        yield draft.key("R021", "`operating_point` says nothing", path, advice)
    if point.threshold is not None and point.sensitivity is not None:
        message = "`threshold` and `sensitivity` would each set the operating point"
        yield draft.key("R021", message, (*path, "sensitivity"), "keep one of the two")


def safeguards_stay(draft: Draft) -> Iterator[Diagnostic]:
    """`preserve: medical` lets no preset be switched off."""
    if draft.get("preserve") != "medical":
        return
    for preset in _PRESETS:
        if getattr(draft.validation, preset) == "none":
            message = f"`{preset}` cannot be switched off under `preserve: medical`"
            yield draft.value("R022", message, ("validation", preset), "take this line out, or `preserve` out")


def gates_agree(draft: Draft) -> Iterator[Diagnostic]:
    """Two gates on one metric and slice leave room between them."""
    bounds: dict[tuple[str, str, str], float] = {}
    for index, gate in enumerate(draft.validation.gates):
        bounds.setdefault((gate.metric, gate.slice, gate.comparison), gate.threshold)
        low = bounds.get((gate.metric, gate.slice, "at_least"))
        high = bounds.get((gate.metric, gate.slice, "at_most"))
        if gate.comparison in ("at_least", "at_most") and low is not None and high is not None and low > high:
            message = f"no model reaches `{gate.metric}` of at least {low:g} and at most {high:g}"
            path = ("validation", "gates", index, "threshold")
            yield draft.value("R022", message, path, "mend one of the two gates")


def slices_exist(draft: Draft) -> Iterator[Diagnostic]:
    """A gate on a subgroup names one of `data.subgroups`."""
    groups = draft.data.subgroups if draft.data else {}
    for index, gate in enumerate(draft.validation.gates):
        if not gate.slice.startswith("subgroup "):
            continue
        name, _, value = gate.slice.removeprefix("subgroup ").partition(".")
        path = ("validation", "gates", index, "slice")
        if name not in groups:
            known = ", ".join(f"`{group}`" for group in groups) or "none: add it under `data.subgroups`"
            close = nearest(name, groups)
            advice = f"did you mean `subgroup {close}.{value}`?" if close else f"the subgroups are {known}"
            yield draft.value("R027", f"there is no subgroup `{name}`", path, advice)
        elif (labels := groups[name].values) is not None and value not in labels:
            close = nearest(value, labels)
            known = ", ".join(f"`{label}`" for label in list(labels)[:12])
            advice = f"did you mean `{close}`?" if close else f"its values are {known}"
            yield draft.value("R027", f"the subgroup `{name}` has no value `{value}`", path, advice)


def waivers_end(draft: Draft) -> Iterator[Diagnostic]:
    """A waiver ends on a day that the calendar has."""
    for index, waiver in enumerate(draft.validation.accept):
        try:
            date.fromisoformat(waiver.until)
        except ValueError:
            path = ("validation", "accept", index, "until")
            yield draft.value("R018", f"the calendar has no day `{waiver.until}`", path, "such as `2027-01-31`")


def latency_limits_rise(draft: Draft) -> Iterator[Diagnostic]:
    """A latency target limits something, and a higher percentile is not limited lower."""
    latency = draft.get("target").latency
    if latency is None:
        return
    limits = [(name, getattr(latency, name)) for name in ("p50", "p95", "p99") if getattr(latency, name) is not None]
    if not limits:
        message = "`latency` limits nothing"
        yield draft.key("R021", message, ("target", "latency"), "add `p95: 5 ms` (or `p50`, `p99`)")
    for (low, lower), (high, higher) in itertools.pairwise(limits):
        if higher < lower:
            message = f"`{high}` is stricter than `{low}`, and can never be below it"
            yield draft.value("R022", message, ("target", "latency", high), f"`{high}` is `{low}` or more")


RULES = (
    operating_point_is_one,
    safeguards_stay,
    gates_agree,
    slices_exist,
    waivers_end,
    latency_limits_rise,
)
