"""Measure what each region of a model does to its answers when it alone is in int8, by the engine that will run it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import ASSUMED_ROWS, forward_seconds, speed_of
from titrant.runtime.operators.quantize import ort_static
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.backends.onnxruntime.titration.damages import Damages
    from titrant.runtime.backends.onnxruntime.titration.regions import Region

# Regions of a network at most, and the layers of one, as networks mostly have it.
_MOST_REGIONS, _LAYERS_A_REGION = 20, 2
# Writing one graph and opening it: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS, _WRITTEN_BYTES_PER_SECOND = 0.06, 0.006, 60e6
_REGION_BYTES, _LAYER_BYTES = 60, 24


class RegionsParams(Reading):
    """How the outputs are read, which layers there are, how they are quantized, and on how many rows."""

    options: ort_static.OrtStaticParams = Field(
        default_factory=ort_static.OrtStaticParams, description="how the model is quantized, as for quantize.ort_static"
    )
    layers: tuple[str, ...] = Field(description="the original's layers, by name")
    rows: int = Field(256, ge=1, description="tuning rows that are answered, at most")
    subgroups: tuple[str, ...] = Field(
        (), exclude_if=lambda value: not value, description="of whose values as many rows each are answered"
    )
    check: bool = Field(
        False, exclude_if=lambda value: not value, description="measure on all tuning rows too, and compare"
    )


def requires(params: RegionsParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need what quantizing needs."""
    return ort_static.requires(params.options, hardware, model)


def predict(
    params: RegionsParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Quantize once, then write a graph for each region and answer the rows by it."""
    once = ort_static.predict(params.options, hardware, model, work)
    if model is None or once.seconds is None:
        return Prediction()
    there = work.rows.get("tuning", ASSUMED_ROWS)
    rows = there if params.check else min(params.rows, there)
    count = regions_of(len(params.layers))
    written = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND
    answered = rows * forward_seconds(model, speed_of(hardware, work.threads), run_cost("onnxruntime", "onnx"), 1)
    seconds = once.seconds + (count + 2) * (written + answered)
    return replace(once, seconds=seconds, output_bytes=predict_value(params))


def predict_value(params: RegionsParams) -> int:
    """Return about how many bytes the value takes."""
    return _REGION_BYTES * regions_of(len(params.layers)) + _LAYER_BYTES * len(params.layers) + 80


def regions_of(layers: int) -> int:
    """Return into about how many regions so many layers are parted."""
    return max(1, min(_MOST_REGIONS, round(layers / _LAYERS_A_REGION)))


@operator(
    "sensitivity.regions",
    version=1,
    family="sensitivity",
    params=RegionsParams,
    inputs={"model": "onnx", "calibration": "rows", "tuning": "rows"},
    outputs={"sensitivity": "value"},
    requires=requires,
    predict=predict,
    loads=("onnx", "onnxruntime", "onnxruntime.quantization", "titrant.runtime.backends.onnxruntime.titration.damages"),
    libraries=("onnx", "onnxruntime", "numpy"),
)
def sensitivity_regions(
    params: RegionsParams, context: Context, *, model: Any, calibration: Any, tuning: Any
) -> dict[str, Any]:
    """Quantize each region of a model alone, and measure how far the answers move from those in float.

    Helps when: some of a model has to stay in float, and it is to be decided which. Regions are parts whose layers
                change together, such as residual blocks, and nothing is modelled: the engine rounds what it will round
                in the released file, sums of residual blocks included.
    Inputs:     model - an fp32 ONNX file; calibration - rows for the ranges of activations, as for
                quantize.ort_static; tuning - rows that are answered, `rows` of them at even distances,
                as many of each value of `subgroups`
    Outputs:    sensitivity - {"regions": [{"name", "layers", "kl"}], "whole", "rows"}; `kl` is the mean
                Kullback-Leibler divergence KL(float || int8) of class probabilities in nats with that region alone in
                int8, `whole` with all of them. Outputs of an unlabeled task that are no logits or probabilities have
                the relative squared error there. `inseparable`: true stands at a region in which no border between
                blocks was to be had; `refused` at one that the engine does not compute in int8, with what it said,
                and `kl` is that of no answer at all. With `check`, also {"check": {"rows", "regions": {name: kl},
                "whole", "spearman", "ratio"}}: the same on all tuning rows, the rank correlation with it, and the
                median of how many times it the figures are
    Fails:      PreconditionError X210 without anything to quantize, X217 without calibration rows; StepError X404
                without tuning rows, X420 where the outputs do not fit the task, and as quantize.ort_static does
    Cost:       the ranges once, then for each region a graph and a forward pass over those rows; memory of one graph
    """
    from titrant.runtime.backends.onnxruntime.titration.damages import Judge, measured
    from titrant.runtime.backends.onnxruntime.titration.mixture import Mixtures
    from titrant.runtime.backends.onnxruntime.titration.regions import regions
    from titrant.runtime.mixture.damage import spread, spread_over

    mixtures = Mixtures(model, calibration, ort_static.int8(params.options), context)
    left = set(params.options.leave)
    parts = regions(mixtures.graph, [layer for layer in params.layers if layer not in left])
    sample = spread_over(tuning, params.rows, params.subgroups)
    samples = (sample, spread(len(tuning), len(tuning))) if params.check else (sample,)
    judge = Judge(model, tuning, samples, params, context.threads)
    damages = measured(mixtures, parts, judge, params.options.leave, context)
    estimated = [values[0] for values in damages.regions]
    sensitivity = described(parts, estimated, damages.refused) | {"whole": damages.whole[0], "rows": len(sample)}
    if params.check:
        sensitivity["check"] = compared(parts, estimated, damages, len(tuning))
    context.measure("whole", damages.whole[0])
    context.measure("regions", len(parts))
    return {"sensitivity": sensitivity}


def described(parts: "Sequence[Region]", damages: Sequence[float], refused: Mapping[str, str]) -> dict[str, Any]:
    """Return {"regions": [{"name", "layers", "kl"}]}, with what is said of a region where something is."""
    entries = []
    for region, kl in zip(parts, damages, strict=True):
        entry: dict[str, Any] = {"name": region.name, "layers": list(region.layers), "kl": kl}
        entry |= {"inseparable": True} if region.inseparable else {}
        entry |= {"refused": refused[region.name]} if region.name in refused else {}
        entries.append(entry)
    return {"regions": entries}


def compared(parts: "Sequence[Region]", estimated: Sequence[float], truth: "Damages", rows: int) -> dict[str, Any]:
    """Hold estimates against what was measured last on all rows."""
    from statistics import median

    from titrant.runtime.mixture.damage import rank_correlation

    held = [values[-1] for values in truth.regions]
    ratios = [kl / true for kl, true in zip(estimated, held, strict=True) if true > 0]
    return {
        "rows": rows,
        "regions": {region.name: true for region, true in zip(parts, held, strict=True)},
        "whole": truth.whole[-1],
        "spearman": rank_correlation(estimated, held),
        "ratio": median(ratios) if ratios else None,
    }
