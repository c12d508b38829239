"""Equalize the channels of a network before it is quantized, exactly and without rows."""

from typing import TYPE_CHECKING, Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import CONVOLUTIONS, PRODUCTS_IN_FILE, layers_of, missing, onnx_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.values import OnnxModel

MULTIPLIED = (*CONVOLUTIONS, *PRODUCTS_IN_FILE)
# A pair is needed: one layer that makes a channel and one that reads it.
_PAIR = 2
# Reading, folding, writing and opening the graph: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.25, 0.005
_READ_BYTES_PER_SECOND = 15e6
# Cases of random numbers on which the file is held against the one that was given, and sizes that it leaves free.
_CASES, _FREE = 2, 8
# Folding a normalization rounds; scales do not. Relative to the largest answer.
_TOLERANCE = 1e-4


class EqualizeParams(Params):
    """Nothing to choose: the scales follow from the weights."""


def requires(params: EqualizeParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need onnx and onnxruntime, which folds the graph."""
    return missing(hardware, "onnx", "onnxruntime")


def predict(
    params: EqualizeParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the file as it was: scaling adds nothing and takes nothing."""
    if model is None:
        return Prediction()
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _READ_BYTES_PER_SECOND
    return modelled(hardware, seconds, 6 * model.weight_bytes, onnx_bytes(model))


def idle(params: EqualizeParams, model: ModelFacts) -> bool:
    """Have nothing to do with fewer than two layers that multiply by weights: none reads what another makes."""
    return len(layers_of(model, *MULTIPLIED)) < _PAIR and not any(layer.custom for layer in model.layers)


@operator(
    "quantize.equalize",
    version=2,
    family="quantize",
    params=EqualizeParams,
    inputs={"model": "onnx"},
    outputs={"model": "onnx"},
    requires=requires,
    predict=predict,
    loads=("onnx", "onnxruntime", "scipy.sparse.csgraph", "titrant.runtime.backends.onnxruntime.titration.equalize"),
    libraries=("onnx", "onnxruntime", "numpy", "scipy"),
    idle=idle,
)
def quantize_equalize(params: EqualizeParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Scale channels between layers by powers of two so that their ranges are alike; every answer stays as it was.

    Helps when: int8 collapses because some channels of a layer are many times larger than others, as in depthwise
                networks: one scale for all of them rounds the small ones away
    Inputs:     model - an fp32 ONNX file
    Outputs:    model - a file of the same answers, to the bit where no normalization had to be folded. Scaled are
                channels that a convolution, Gemm, MatMul or normalization makes and another reads, with nothing
                between that a positive factor does not pass through (ReLU, PReLU, pooling, mean, reshape, concat,
                slice, gates), and all makers and readers of a residual stream together. What has nothing to equalize
                is given back as it was. The measurements equalized_groups and equalized_channels count, largest_scale
                is the largest ratio of two scales in a group, left_groups and left.REASON count groups that stay
                because an operator reads them that is not homogeneous (left.Sigmoid), the file gives them out
                (left.graph_output) or a weight is shared (left.shared_weight); largest_difference is that of the
                answers to random numbers
    Fails:      StepError X209 or X212 for a file that is no ONNX or that onnxruntime cannot load, X245 where the file
                answers otherwise; PreconditionError X260 for weights that are not finite, X261 for few bits
    Cost:       a few passes over the weights; no rows and no forward pass but that of two cases
    """
    from titrant.runtime.backends.onnxruntime.graph import write
    from titrant.runtime.backends.onnxruntime.normalize import hold_constants
    from titrant.runtime.backends.onnxruntime.titration.equalize import equalize
    from titrant.runtime.backends.onnxruntime.tools import typed

    graph = typed(model.path, context.scratch)
    hold_constants(graph)
    done = equalize(graph)
    context.measure("equalized_groups", done.groups)
    context.measure("equalized_channels", done.channels)
    context.measure("left_groups", sum(done.left.values()))
    for reason, count in done.left.items():
        context.measure(f"left.{reason}", count)
    if not done.groups:
        return {"model": model}
    context.measure("largest_scale", done.spread)
    written = write(graph, context.scratch / "model.onnx")
    difference = _difference(model, written, context)
    if difference is not None:
        context.measure("largest_difference", difference)
    return {"model": written}


def _difference(model: "OnnxModel", equalized: "OnnxModel", context: Context) -> float | None:
    """Return the largest difference of answers to random numbers; None where the file does not take such.

    Raises StepError X245 where it is more than rounding.
    """
    import numpy as np

    from titrant.runtime.backends.onnxruntime.session import open_session

    with open_session(model, threads=1) as before, open_session(equalized, threads=1) as after:
        feed = {name: _drawn(shape, dtype, context.generator) for name, shape, dtype in before.specs}
        try:
            expected = before.run(feed)
        except StepError:  # sizes that have to fit together, numbers that stand for places
            return None
        answers = after.run(feed)
    if not all(np.isfinite(array).all() for array in expected.values()):
        return None
    apart = [float(np.abs(answers[name] - array).max(initial=0)) for name, array in expected.items()]
    largest = max((float(np.abs(array).max(initial=0)) for array in expected.values()), default=0.0)
    if not max(apart, default=0.0) <= _TOLERANCE * max(largest, 1e-30):
        message = f"the equalized file answers otherwise by {max(apart):.3g}, of answers up to {largest:.3g}"
        raise StepError(Diagnostic("X245", message, help="set quantization.repair to none"))
    return max(apart, default=0.0)


def _drawn(shape: tuple[int | str, ...], dtype: str, generator: Any) -> "np.ndarray":
    """Draw an input: the first dimension is the batch, whole numbers are zeros."""
    import numpy as np

    sizes = [size if isinstance(size, int) else _CASES if place == 0 else _FREE for place, size in enumerate(shape)]
    if dtype not in ("float32", "float64"):
        return np.zeros(sizes, dtype)
    return generator.standard_normal(sizes).astype(dtype)
