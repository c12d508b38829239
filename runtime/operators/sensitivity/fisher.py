"""Estimate what each region of a model does to its answers in int8, by one pass of gradients."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, operator
from titrant.runtime.cost.forward import ASSUMED_ROWS, forward_seconds, layer_output_bytes, speed_of
from titrant.runtime.cost.sizes import missing
from titrant.runtime.operators.quantize import ort_static
from titrant.runtime.operators.sensitivity.regions import RegionsParams, compared, described, predict_value
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.backends.onnxruntime.titration.mixture import Mixtures
    from titrant.runtime.backends.onnxruntime.titration.regions import Region
    from titrant.runtime.values import Rows, TorchModel

# Rows whose tensors and gradients are held at once.
_BATCH = 16
# Rows by whose tensors those of the module are told: no size of a layer, so that it is seen where rows come first.
_COMPARED = 11
# A forward pass with everything rounded beside it, one of the module, and a backward pass for each direction.
_PASSES = 12


def requires(params: RegionsParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need what quantizing needs, and torch."""
    return (*ort_static.requires(params.options, hardware, model), *missing(hardware, "torch"))


def predict(
    params: RegionsParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Quantize once, then pass the rows forward and backward."""
    once = ort_static.predict(params.options, hardware, model, work)
    if model is None or once.seconds is None or once.peak_bytes is None:
        return Prediction()
    rows = min(params.rows, work.rows.get("tuning", ASSUMED_ROWS))
    speed = speed_of(hardware, work.threads)
    passed = _PASSES * rows * forward_seconds(model, speed, run_cost("torch", "torch"), 1)
    held = 4 * _BATCH * layer_output_bytes(model)
    size = predict_value(params)
    return replace(once, seconds=2 * once.seconds + passed, peak_bytes=once.peak_bytes + held, output_bytes=size)


@operator(
    "sensitivity.fisher",
    version=1,
    family="sensitivity",
    params=RegionsParams,
    inputs={"model": "onnx", "module": "torch", "calibration": "rows", "tuning": "rows"},
    outputs={"sensitivity": "value"},
    requires=requires,
    predict=predict,
    loads=(
        "onnx",
        "onnxruntime",
        "onnxruntime.quantization",
        "titrant.runtime.backends.onnxruntime.titration.roundings",
        "titrant.runtime.backends.torch.tensors",
    ),
    libraries=("onnx", "onnxruntime", "numpy", "torch"),
    user_code=True,
)
def sensitivity_fisher(
    params: RegionsParams, context: Context, *, model: Any, module: Any, calibration: Any, tuning: Any
) -> dict[str, Any]:
    """Estimate how far the answers move with each region alone in int8, for all regions in one pass.

    Helps when: a model has many layers, so that a run of the engine for each region takes long. The estimate is the
                Fisher information's second-order one of the same figure: what the engine rounds at every point, as
                the engine does it, times the module's gradient there, squared. It holds while damage is small; of
                large damage it keeps the order alone.
    Inputs:     model - an fp32 ONNX file; module - the torch module that it was exported from, whose tensors are
                found by their numbers, also where channels of the file were scaled since; calibration, tuning - as
                for sensitivity.regions
    Outputs:    sensitivity - as sensitivity.regions gives it. Regions of which no tensor of the module's was found are
                measured by the engine, and have "measured": true
    Fails:      as sensitivity.regions, and StepError X221 where the module cannot answer the rows
    Cost:       the ranges once, two forward passes over `rows` rows, and one to four backward passes; memory of the
                activations of 16 rows, three times
    """
    from titrant.runtime.backends.onnxruntime.titration.damages import Judge, measured
    from titrant.runtime.backends.onnxruntime.titration.mixture import Mixtures
    from titrant.runtime.backends.onnxruntime.titration.regions import regions
    from titrant.runtime.backends.torch.determinism import fixed_settings
    from titrant.runtime.mixture.damage import spread, spread_over

    mixtures = Mixtures(model, calibration, ort_static.int8(params.options), context)
    left = set(params.options.leave)
    parts = regions(mixtures.graph, [layer for layer in params.layers if layer not in left])
    sample = spread_over(tuning, params.rows, params.subgroups)
    everything = spread(len(tuning), len(tuning))
    judge = Judge(model, tuning, (sample, everything) if params.check else (sample,), params, context.threads)
    with fixed_settings(context.threads, deterministic=False):
        estimated = _estimated(params, context, mixtures, parts, (module, tuning.some(sample)))
    missed = [region for region in parts if region.name not in estimated]
    truth = measured(mixtures, parts if params.check else missed, judge, params.options.leave, context)
    by_engine = dict(zip((region.name for region in (parts if params.check else missed)), truth.regions, strict=True))
    figures = [estimated[region.name] if region.name in estimated else by_engine[region.name][0] for region in parts]
    sensitivity = described(parts, figures, truth.refused)
    for entry in sensitivity["regions"]:
        if entry["name"] not in estimated:
            entry["measured"] = True
    sensitivity |= {"whole": truth.whole[0], "rows": len(sample)}
    if params.check:
        sensitivity["check"] = compared(parts, figures, truth, len(tuning))
    context.measure("whole", truth.whole[0])
    if len(missed) < len(parts):
        context.measure("whole_estimated", estimated[""])
    context.measure("regions", len(parts))
    return {"sensitivity": sensitivity}


@dataclass(frozen=True)
class _Touched:
    """The region of the node that makes a tensor, and all regions that round it, that node's and its readers'."""

    made: str
    rounded: frozenset[str]


def _touched(mixtures: "Mixtures", parts: "Sequence[Region]", nodes: Collection[str]) -> dict[str, _Touched]:
    """Say it of every tensor; `nodes` are those in int8."""
    region_of = {node: region.name for region in parts for node in region.nodes}
    made, rounded = dict[str, str](), dict[str, set[str]]()
    for node in mixtures.graph.graph.node:
        region = region_of.get(node.name, "")
        made |= dict.fromkeys(node.output, region)
        for tensor in (*node.input, *node.output) if node.name in nodes else ():
            rounded.setdefault(tensor, set()).add(region)
    tensors = {*made, *rounded}
    return {tensor: _Touched(made.get(tensor, ""), frozenset(rounded.get(tensor, ()))) for tensor in tensors}


class _Estimate:
    """Sums, over rows and directions of the outputs, the squares of how far each region moves them."""

    def __init__(self, regions: "Collection[str]", touched: "Mapping[str, _Touched]") -> None:
        self._touched, self._rows = touched, 0
        self._squares = dict.fromkeys(("", *regions), 0.0)

    def add(
        self, changes: "Sequence[tuple[str, bool, np.ndarray]]", slopes: "Sequence[Mapping[str, np.ndarray]]", rows: int
    ) -> None:
        """Add a batch: the changes of tensors, and for each direction its gradient by them."""
        import numpy as np

        self._rows += rows
        for slope in slopes:
            moved: dict[str, Any] = dict.fromkeys(self._squares, 0.0)
            for tensor, own, change in changes:
                if tensor not in slope:
                    continue
                by_row = (slope[tensor] * change).reshape(rows, -1).sum(axis=1)
                touched = self._touched[tensor]
                for region in {"", *(touched.rounded if own else (touched.made,))} & moved.keys():
                    moved[region] = moved[region] + by_row
            for region, by_row in moved.items():
                self._squares[region] += float(np.square(by_row).sum()) / len(slopes)

    def damages(self) -> dict[str, float]:
        """Return the mean of each region, and that of all under ""."""
        return {region: total / max(self._rows, 1) for region, total in self._squares.items()}


def _estimated(
    params: RegionsParams,
    context: Context,
    mixtures: "Mixtures",
    parts: "Sequence[Region]",
    given: "tuple[TorchModel, Rows]",
) -> dict[str, float]:
    """Return {region: damage} of those of which the module has a tensor, and that of all together under ""."""
    import numpy as np

    from titrant.runtime.backends.onnxruntime.titration.roundings import Points, Roundings, values_of
    from titrant.runtime.backends.session import insisted_batch, taken
    from titrant.runtime.backends.torch.tensors import gradients, places
    from titrant.runtime.mixture.fisher import directions

    module, rows = given
    insisted = insisted_batch(module.inputs)
    size = insisted or _BATCH
    if module.recurrence is not None or len(rows) < (insisted or 1):
        return {"": 0.0}
    arrays = {name: taken(rows, name) for name, _, _ in module.inputs}
    nodes = mixtures.without(params.options.leave)
    points = Points.of(mixtures.graph, mixtures.quantized(nodes))
    first = {name: array[: insisted or _COMPARED] for name, array in arrays.items()}
    values = values_of(mixtures.graph, points, mixtures.fed(first), context.scratch)
    alike = places(module.module, first, values)
    roundings = Roundings(mixtures.graph, points, [*alike], context.scratch)
    touched = _touched(mixtures, parts, set(nodes))
    named = {**alike, **{name: (name, 1.0) for name in arrays}}
    estimate = _Estimate({touched[tensor].made for tensor in alike}, touched)
    for start in range(0, len(rows) - (size - 1 if insisted else 0), size):
        context.progress(start, len(rows), "gradients")
        batch = np.arange(start, min(start + size, len(rows)))
        piece = {name: array[batch] for name, array in arrays.items()}
        directed = partial(directions, params, rows.some(batch), context.generator)
        slopes = gradients(module.module, piece, module.outputs, [place for place, _ in alike.values()], directed)
        by_name = [
            {name: slope[place] * scale for name, (place, scale) in named.items() if place in slope} for slope in slopes
        ]
        estimate.add(list(roundings.changes(mixtures.fed(piece))), by_name, len(batch))
    return estimate.damages()
