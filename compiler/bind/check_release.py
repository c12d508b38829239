"""Check what a release is held against besides its own gates: waivers, published sets and scenarios."""

from collections.abc import Iterator

from titrant.compiler.bind.bound_recipe import CheckInput, Finding
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.validation import Agreement


def waivers_are_whole(given: CheckInput) -> Iterator[Finding]:
    """Refuse a waiver without a name or a reason, and a second one of a gate."""
    seen: dict[str, int] = {}
    for place, waiver in enumerate(given.recipe.validation.accept):
        path: KeyPath = ("validation", "accept", place)
        for name in ("reason", "by"):
            if not getattr(waiver, name).strip():
                message = f"the waiver of `{waiver.gate}` has an empty `{name}`"
                yield given.finding("R220", (*path, name), message, "say why it is accepted, and who accepts it")
        if waiver.gate in seen:
            message = f"waiver {seen[waiver.gate] + 1} is about `{waiver.gate}` too"
            yield given.finding("R221", (*path, "gate"), message, "keep the one that is meant")
        seen.setdefault(waiver.gate, place)


def presets_stand_alone(given: CheckInput) -> Iterator[Finding]:
    """Refuse a published set of thresholds beside a threshold of the recipe's own for the same.

    Neither could be said to come first: the set is named for what it asks, and the threshold was written by hand.
    """
    validation, path = given.recipe.validation, ("validation", "preset")
    if validation.preset is None:
        return
    agreement = validation.agreement
    own = "retention" if validation.retention is not None else ""
    if isinstance(agreement, Agreement) and agreement.at_least is not None:
        own = "agreement.at_least"
    if own:
        message = f"`{validation.preset}` and `{own}` both say how much is kept"
        yield given.finding("R224", path, message, "take one of the two out", part="key")


# Limits of the time of one answer. MLPerf Inference, "Scenarios": offline everything is sent at the start, in one
# query, there is no limit of latency, and what is reported is the throughput.
_PERCENTILES = ("p50", "p95", "p99")


def scenario_fits(given: CheckInput) -> Iterator[Finding]:
    """Refuse an offline scenario with limits of one answer's time, or that does not say how many cases are at once."""
    latency, path = given.recipe.target.latency, ("target", "latency")
    if latency is None or latency.scenario != "offline":
        return
    for name in _PERCENTILES:
        if getattr(latency, name) is not None:
            message = f"`{name}` limits the time of one answer, and `scenario: offline` waits for none"
            advice = "limit `target.throughput`, or take `scenario: single_stream`"
            yield given.finding("R225", (*path, name), message, advice, part="key")
            return
    if not given.written(*path, "batch"):
        message = "`scenario: offline` does not say how many cases are answered at once"
        yield given.finding("R226", (*path, "scenario"), message, "add `batch`, such as `batch: 32`")


def earlier_releases_are_compared(given: CheckInput) -> Iterator[Finding]:
    """Refuse a comparison with an earlier release that asks for nothing, or for times that nobody waits for."""
    validation, latency = given.recipe.validation, given.recipe.target.latency
    regression, path = validation.regression, ("validation", "regression")
    if regression is not None:
        limits = [name for name in _RATIOS if getattr(regression, name) is not None]
        if not limits:
            message = "`regression` limits nothing"
            yield given.finding("R227", path, message, f"add one of {', '.join(_RATIOS)}", part="key")
        if latency is not None and latency.scenario == "offline":
            for name in limits:
                if name.startswith("latency"):
                    message = f"`{name}` is the time of one answer, and `scenario: offline` waits for none"
                    yield given.finding("R225", (*path, name), message, "take it out", part="key")
    if validation.anchor is not None and validation.retention == "none":
        message = "`anchor` asks for the retention of an earlier release, and `retention` is switched off"
        yield given.finding("R228", ("validation", "anchor"), message, "say how much is kept: `retention: 0.95`")


_RATIOS = ("latency_p50", "latency_p95", "size", "peak_memory", "metric")
