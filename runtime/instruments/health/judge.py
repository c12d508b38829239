"""Say what is unsound about tensors and answers by what was measured of them.

The limits lie beyond what healthy trained networks have: docs/decisions/health.md has the figures.
"""

from collections.abc import Iterable, Iterator, Sequence

from titrant.runtime.instruments.health.figures import TensorFigures
from titrant.runtime.instruments.health.finding import SEVERITIES, HealthFinding, LayerAnswers, Severity
from titrant.runtime.instruments.health.normalization import NormalizationGain

# Of trained networks the median channel keeps 31 dB and more under one scale, but where channels differ 25-fold.
LEAST_QUIET_DB, LEAST_GAIN_DB = 20.0, 10.0
# Trained networks keep 35 dB and more with a scale a channel.
LEAST_CHANNEL_DB = 30.0
LEAST_ANSWER_DB = 20.0
# Trained networks amplify 49-fold at most; a channel whose variance is zero, 316-fold at the usual epsilon of 1e-5.
MOST_GAIN = 150.0
_FP16_LARGEST = 65504.0
# Shares of values.
_MANY_DENORMAL, _MANY_SATURATED, _SOME_IDLE, _MANY_IDLE = 0.01, 0.95, 0.1, 0.5
_SKIP = "quantization.skip: [{layer}]"
_RETRAIN = "mend it where the model is trained: lower train.learning_rate, or set train.gradient_clip"


def judge_tensors(figures: Iterable[TensorFigures]) -> Iterator[HealthFinding]:
    """Yield what is unsound about tensors, in their order."""
    for tensor in figures:
        if tensor.nan or tensor.infinite:
            yield _broken(tensor)
        elif tensor.role == "variance" and (tensor.minimum or 0.0) < 0:
            yield HealthFinding(
                "negative_variance", "fault", tensor.layer, tensor.minimum or 0.0,
                f"{tensor.name} is negative, {tensor.minimum:.3g}: its root is NaN",
                "load the weights again: a variance is never negative",
            )  # fmt: skip
        else:
            yield from _of_range(tensor)
            if tensor.role == "weight":
                yield from _of_channels(tensor)
                yield from _of_quantization(tensor)


def _broken(tensor: TensorFigures) -> HealthFinding:
    kinds = [f"{tensor.nan:,} NaN"] * bool(tensor.nan) + [f"{tensor.infinite:,} infinite"] * bool(tensor.infinite)
    words = f"{tensor.name} holds {' and '.join(kinds)} of {tensor.count:,} values"
    advice = "take an earlier checkpoint: nothing brings these values back"
    kind = "nan" if tensor.nan else "infinite"
    return HealthFinding(kind, "fault", tensor.layer, float(tensor.nan + tensor.infinite), words, advice)


def _of_channels(tensor: TensorFigures) -> Iterator[HealthFinding]:
    layer, channels = tensor.layer, tensor.channels
    if not tensor.largest:
        words = f"all {tensor.count:,} weights are zero: the layer answers nothing but its bias"
        advice = "load the weights again if they should have been loaded; reduction.pruning can take the layer out"
        yield HealthFinding("zero_weight", "warning", layer, float(tensor.count), words, advice)
        return
    if tensor.count > 1 and tensor.minimum == tensor.maximum:
        words = f"all {tensor.count:,} weights are {tensor.minimum:.3g}: its channels all answer the same"
        yield HealthFinding(
            "constant_weight", "warning", layer, tensor.minimum or 0.0, words,
            "load the weights again, or start from other ones: equal channels are trained alike",
        )  # fmt: skip
        return
    if tensor.idle:
        words = f"{tensor.idle:,} of {channels:,} output channels have no weight but zero"
        advice = "reduction.pruning: {method: structured} takes them out with what reads them"
        yield HealthFinding("dead_channels", "warning", layer, tensor.idle / channels, words, advice)
    if tensor.alike:
        words = f"{tensor.alike:,} of {channels:,} output channels repeat another one to the bit"
        advice = "reduction.pruning: {method: structured} takes out what adds nothing; they began alike, or were copied"
        yield HealthFinding("equal_channels", "warning", layer, tensor.alike / channels, words, advice)


def _of_range(tensor: TensorFigures) -> Iterator[HealthFinding]:
    if tensor.largest > _FP16_LARGEST and tensor.role != "other":
        words = f"{tensor.name} reaches {tensor.largest:.3g}; float16 ends at {_FP16_LARGEST:,.0f}"
        advice = "cast it to bfloat16, not to float16"
        yield HealthFinding("beyond_float16", "warning", tensor.layer, tensor.largest, words, advice)
    share = tensor.denormal / tensor.count if tensor.count else 0.0
    if share > _MANY_DENORMAL and tensor.role in ("weight", "table", "bias"):
        words = f"{share:.0%} of {tensor.name} lie below 1.2e-38 and are not zero: processors take long over them"
        advice = "set them to zero: weight.masked_fill_(weight.abs() < 1e-30, 0)"
        yield HealthFinding("denormal", "warning", tensor.layer, share, words, advice)


def _of_quantization(tensor: TensorFigures) -> Iterator[HealthFinding]:
    if "float" not in tensor.stored or tensor.quiet_db is None or tensor.channel_db is None:
        return  # what is quantized already is quantized
    if tensor.channel_db < LEAST_CHANNEL_DB:
        words = (
            f"int8 with a scale a channel keeps {tensor.channel_db:.0f} dB: single weights lie far from the others of "
            "their channel"
        )
        advice = f"{_SKIP.format(layer=tensor.layer)} keeps its precision; quantization.bits: 16 all layers'"
        yield HealthFinding("outliers", "note", tensor.layer, tensor.channel_db, words, advice)
    elif tensor.quiet_db < LEAST_QUIET_DB and tensor.channel_db - tensor.quiet_db > LEAST_GAIN_DB:
        words = (
            f"int8 with one scale leaves the median channel {tensor.quiet_db:.0f} dB, a scale a channel "
            f"{tensor.channel_db:.0f} dB: the largest is {tensor.spread:.0f} times the median"
        )
        advice = "quantization.options: {per_channel: true} (the default), or quantization.repair: [equalize]"
        yield HealthFinding("uneven_channels", "note", tensor.layer, tensor.quiet_db, words, advice)


def judge_normalizations(gains: Iterable[NormalizationGain]) -> Iterator[HealthFinding]:
    """Yield normalizations with fixed statistics that amplify without measure, or were never shown a row."""
    for gain in gains:
        if gain.untouched:
            words = f"running mean 0 and variance 1 in all {gain.channels:,} channels: they never saw a row"
            advice = "train it, or load the statistics too: strict=True tells which keys are missing"
            yield HealthFinding("untouched_statistics", "warning", gain.layer, 1.0, words, advice)
        elif gain.largest > MOST_GAIN:
            words = (
                f"{gain.above:,} of {gain.channels:,} channels are amplified more than {MOST_GAIN:.0f}-fold, up to "
                f"{gain.largest:,.0f}: variance {gain.variance:.2g}, scale {gain.scale:.3g}"
            )
            advice = f"{_SKIP.format(layer=gain.layer)}, or show it more rows before it is frozen"
            yield HealthFinding("vanishing_variance", "warning", gain.layer, gain.largest, words, advice)


def judge_answers(answers: Sequence[LayerAnswers]) -> Iterator[HealthFinding]:
    """Yield what is unsound about answers; of NaN and infinity only the layer where they first appear."""
    broken = next((seen for seen in answers if seen.nan or seen.infinite), None)
    if broken is not None:
        kind = "NaN" if broken.nan else "infinity"
        later = sum(bool(seen.nan or seen.infinite) for seen in answers) - 1
        words = f"{kind} first appears in {_answer(broken)}, then in {later:,} more"
        figure = float(broken.nan + broken.infinite)
        yield HealthFinding("broken_answer", "fault", broken.layer, figure, words, _RETRAIN)
    for seen in answers:
        if seen.nan or seen.infinite:
            continue
        yield from _of_answer(seen)


def _of_answer(seen: LayerAnswers) -> Iterator[HealthFinding]:
    share = seen.off / seen.channels if seen.channels else 0.0
    if share > _SOME_IDLE:
        words = (
            f"{seen.off:,} of {seen.channels:,} channels of its {seen.operation} were never above zero on these rows"
        )
        advice = "show it more rows first; reduction.pruning: {method: structured} takes idle channels out"
        severity: Severity = "warning" if share > _MANY_IDLE else "note"
        yield HealthFinding("dead_relu", severity, seen.layer, share, words, advice)
    elif seen.idle and seen.operation != "relu" and not seen.off:
        every = seen.idle == seen.channels
        words = f"{seen.idle:,} of {seen.channels:,} channels of {_answer(seen)} were the same for every row"
        advice = "show it more rows first; reduction.pruning: {method: structured} takes idle channels out"
        if every or seen.idle / seen.channels > _MANY_IDLE:
            yield HealthFinding("idle_answer", "warning", seen.layer, seen.idle / seen.channels, words, advice)
    if seen.saturated > _MANY_SATURATED:
        words = f"{seen.saturated:.0%} of its {seen.operation} lie at the flat ends"
        advice = "no gradient passes there: a smaller train.learning_rate, or a normalization before it"
        yield HealthFinding("saturated", "warning", seen.layer, seen.saturated, words, advice)
    if seen.tensor_db is not None and seen.tensor_db < LEAST_ANSWER_DB:
        words = f"int8 with one scale keeps {seen.tensor_db:.0f} dB of {_answer(seen)}"
        advice = f"{_SKIP.format(layer=seen.layer)}, or quantization.method: ort.smoothquant"
        yield HealthFinding("uneven_answers", "note", seen.layer, seen.tensor_db, words, advice)


def _answer(seen: LayerAnswers) -> str:
    return f"its {seen.operation}" if seen.operation else "its answer"


def by_severity(findings: Iterable[HealthFinding]) -> tuple[HealthFinding, ...]:
    """Order findings, the most severe first, else as they came."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
