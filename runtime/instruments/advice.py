"""Measure a model's layers and batches, and say what these speak for: quantization, an engine, a batch, fewer bytes."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends import backend
from titrant.runtime.instruments.layers.figures import LayerProfile
from titrant.runtime.instruments.measure.figures import BatchTimes, ModelTimes
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted, format_time

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.instruments.layers.layer import LayerFigures
    from titrant.runtime.instruments.layers.roofline import MachineLimits

# Layers that together take this share of a batch are those that matter; beyond so many none is named.
_MOST_OF, _MOST_NAMED = 0.8, 4
# A share of a batch below this is not worth a sentence, and a batch that pays less than this factor is none.
_WORTH, _PAYS = 0.1, 1.15
# The smallest batch counts that reaches this share of the best throughput.
_NEAR = 0.95
_FULL = ("fp32", "fp64")
_WIDTH = 100
BATCHES = (1, 4, 16, 32)
# Runs of each batch size: fewer leave an interval of the median open, and advice is no verdict.
ITERATIONS = 30
_SECONDS = 0.5


@dataclass(frozen=True)
class MeasuredFacts:
    """What was measured of a model, and what the planner says of each of its layers on this machine.

    `times` are those of several batch sizes, () where they were not timed. `methods` maps a layer to the methods that
    would quantize it here, `left` to why one is left alone. `limits` say how fast the machine computes and reads.
    `kept` says that every method was tried already, and this is the file that was kept. `fewest_bits` are those to
    which the level goes that was asked about.
    """

    profile: "LayerProfile"
    times: "ModelTimes | None" = None
    methods: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    limits: "MachineLimits | None" = None
    kept: bool = False
    fewest_bits: int = 8


@dataclass(frozen=True)
class MeasuredAdvice:
    """One piece of advice: the fact, the share (0..1) or factor that it rests on, and the line of a recipe to try.

    `about` is layers, left, memory, engine, batch or busy. `line` is "" where no key of a recipe acts on it; what it
    does is then judged by a run, never assumed.
    """

    about: str
    figure: float
    words: str
    line: str = ""


def advice_from(facts: MeasuredFacts) -> tuple[MeasuredAdvice, ...]:
    """Return what the facts speak for, what takes most time first; () where nothing would pay."""
    return tuple(piece for rule in _RULES for piece in rule(facts))


def advice_text(advice: Sequence[MeasuredAdvice]) -> str:
    """Write advice, a paragraph each of at most 100 columns, with the line to try below it."""
    lines = []
    for piece in advice:
        lines.append(textwrap.fill(piece.words, _WIDTH, subsequent_indent="  ", break_on_hyphens=False))
        lines += [f"    {piece.line}"] if piece.line else []
    return "\n".join(lines) or "nothing that was measured speaks for a change"


def _layers(facts: MeasuredFacts) -> Iterator[MeasuredAdvice]:
    """Name the layers that take most of a batch, and what would quantize most of that here."""
    leading = _leading(facts.profile)
    if not leading:
        return
    share = sum(layer.share for layer in leading)
    total = sum(bool(layer.name) for layer in facts.profile.layers)
    verb = "takes" if len(leading) == 1 else "take"
    words = f"{counted(len(leading), 'layer')} of {total} {verb} {_percent(share)} of a batch: {_named(leading)}"
    open_layers = [layer for layer in leading if layer.precision in _FULL]
    gained = {
        method: sum(layer.share for layer in open_layers if method in _of(facts.methods, layer))
        for layer in open_layers
        for method in _of(facts.methods, layer)
    }
    if facts.kept:
        yield MeasuredAdvice("layers", share, f"{words}.")
    elif not open_layers:
        yield MeasuredAdvice("layers", share, f"{words}; none of them computes in fp32 any more.")
    elif not gained or max(gained.values()) < _WORTH:
        yield MeasuredAdvice("layers", share, f"{words}; nothing that is installed here quantizes them.")
    else:
        best = max(gained, key=lambda method: gained[method])
        others = [method for method in gained if method != best and gained[method] == gained[best]]
        also = f" (so would {', '.join(others[:3])})" if others else ""
        words = f"{words}. {best} would quantize layers that take {_percent(gained[best])}{also}."
        yield MeasuredAdvice("layers", gained[best], words, "quantization: {method: auto}   # times them all")


def _left(facts: MeasuredFacts) -> Iterator[MeasuredAdvice]:
    """Name what takes long and is quantized by nothing, with the reason."""
    for layer in facts.profile.slowest(_MOST_NAMED):
        reason = next((facts.left[name] for name in (layer.name, *layer.joined) if facts.left.get(name)), "")
        if reason and layer.share >= _WORTH and not _of(facts.methods, layer):
            yield MeasuredAdvice(
                "left", layer.share, f"{layer.name} takes {_percent(layer.share)} of a batch: {reason}."
            )


def _memory(facts: MeasuredFacts) -> Iterator[MeasuredAdvice]:
    """Say how much of a batch waits for weights and answers to be moved rather than for arithmetic."""
    if facts.limits is None:
        return
    from titrant.runtime.instruments.layers.roofline import roofline_points

    points = roofline_points(facts.profile.layers, facts.limits)
    waiting = [point for point in points if point.bound == "memory"]
    share = sum(point.share for point in waiting)
    if share < 0.5:
        return
    words = (
        f"{_percent(share)} of a batch is in layers that wait for memory rather than for arithmetic (the slowest: "
        f"{waiting[0].name}): weights of fewer bits, or more rows a batch, move fewer bytes for each answer."
    )
    yield MeasuredAdvice(
        "memory", share, words, f"quantization: {{bits: {facts.fewest_bits}}}   # what is kept is judged"
    )


def _engine(facts: MeasuredFacts) -> Iterator[MeasuredAdvice]:
    """Say what a batch takes that no layer does."""
    rest = next((layer for layer in facts.profile.layers if not layer.name), None)
    if rest is None or rest.share < 2 * _WORTH:
        return
    seconds = format_time(rest.time)
    words = (
        f"{_percent(rest.share)} of a batch ({seconds}) is in no layer: activations, additions, and what "
        f"{facts.profile.engine} does between layers. An engine that joins operations saves some of it."
    )
    yield MeasuredAdvice("engine", rest.share, words, "export: [{format: auto}]   # times every engine")


def _batch(facts: MeasuredFacts) -> Iterator[MeasuredAdvice]:
    """Say which batch answers most cases a second, beyond what the intervals leave open."""
    times = () if facts.times is None else facts.times.times
    if len(times) < 2:
        return
    first, most = times[0], max(times, key=lambda each: each.cases_per_second.estimate)
    chosen = next(each for each in times if each.cases_per_second.estimate >= _NEAR * _rate(most))
    factor = _rate(chosen) / _rate(first)
    apart = _lower(chosen) > _upper(first)
    if chosen is not first and factor >= _PAYS and apart:
        words = (
            f"batches of {chosen.batch} answer {factor:.2g} times as many cases a second as batches of {first.batch}, "
            f"and one takes {format_time(chosen.p50.estimate)}."
        )
        line = f"profile: {{batches: [{first.batch}, {chosen.batch}]}}   # the first is compared and judged"
        yield MeasuredAdvice("batch", factor, words, line)
    elif _upper(most) < _PAYS * _lower(first) or chosen is first:
        words = (
            f"larger batches do not pay: a case takes about as long in batches of {first.batch} as in batches of "
            f"{times[-1].batch}."
        )
        yield MeasuredAdvice("batch", factor, words)


def _busy(facts: MeasuredFacts) -> Iterator[MeasuredAdvice]:
    """Say where the figures are of a machine that did other work."""
    profile = facts.profile
    if profile.device == "cpu" and profile.threads == 1 and profile.cpu_seconds > 0:
        waited = profile.seconds / profile.cpu_seconds
        if waited > 1.5:
            words = (
                f"a batch took {waited:.1f} times its CPU time: the machine was busy, or the model waits. "
                "Measure again on a quiet machine to know which."
            )
            yield MeasuredAdvice("busy", waited, words)


_RULES = (_layers, _left, _memory, _engine, _batch, _busy)


def _leading(profile: "LayerProfile") -> "list[LayerFigures]":
    """Return the fewest layers that take most of the time of all layers, at most as many as are named."""
    leading, layers = [], profile.slowest(len(profile.layers))
    left = _MOST_OF * sum(layer.share for layer in layers)
    for layer in layers[:_MOST_NAMED]:
        if left <= 0 or layer.share < _WORTH / 2:
            break
        leading.append(layer)
        left -= layer.share
    return leading


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _named(layers: "Sequence[LayerFigures]") -> str:
    return ", ".join(f"{layer.name} ({_percent(layer.share)})" for layer in layers)


def _of(methods: Mapping[str, Sequence[str]], layer: "LayerFigures") -> Sequence[str]:
    return next((methods[name] for name in (layer.name, *layer.joined) if methods.get(name)), ())


def _rate(times: "BatchTimes") -> float:
    return times.cases_per_second.estimate


def _lower(times: "BatchTimes") -> float:
    return times.cases_per_second.lower or times.cases_per_second.estimate


def _upper(times: "BatchTimes") -> float:
    return times.cases_per_second.upper or times.cases_per_second.estimate


@dataclass(frozen=True)
class MeasuredModel:
    """A model's layers on one batch, and what batches of several sizes take."""

    profile: LayerProfile
    times: ModelTimes


def measured(
    model: Any,
    inputs: "Mapping[str, np.ndarray]",
    *,
    batches: Sequence[int] = BATCHES,
    iterations: int = ITERATIONS,
    threads: int = 1,
) -> MeasuredModel:
    """Time the layers of a model, as operators hand it on, on rows, name → (rows, …), and then every batch size.

    Raises StepError X221 or X683 for inputs that it cannot answer, X680 where its engine tells nothing of its layers.
    """
    from titrant.runtime.instruments.layers.profile import profile_layers
    from titrant.runtime.instruments.measure.live import measure

    engine = backend.engines_of(model.kind)[0]
    file = getattr(model, "path", None)
    title = str(getattr(model, "factory", "")) or (Path(file).name if file else "model")
    profile = profile_layers(model, inputs, engine=engine, title=title, threads=threads, seconds=_SECONDS)
    timed = model if file is None else Path(file)
    times = measure(timed, dict(inputs), batches=tuple(batches), iterations=iterations, threads=threads)
    return MeasuredModel(profile, times)
