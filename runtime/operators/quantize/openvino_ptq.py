"""Quantize weights and activations to int8 for OpenVINO, with activation ranges measured on calibration rows."""

from typing import Any, Literal

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import fixed_batch, forward_seconds, layer_output_bytes, modelled, speed_of
from titrant.runtime.cost.sizes import CONVOLUTIONS, EMBEDDINGS, PRODUCTS_IN_FILE, layers_of, takes_none
from titrant.runtime.method import FakeQuantization, Method, Repair
from titrant.runtime.operators.export.openvino import IN_INT8, int8_bytes, not_installed, unfit
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

MULTIPLIED = (*CONVOLUTIONS, *PRODUCTS_IN_FILE)
QUANTIZED = (*MULTIPLIED, *EMBEDDINGS, *IN_INT8)
# Loading and rewriting the graph: at all, and for each layer; bytes of answers that are looked at in a second.
_SECONDS, _LAYER_SECONDS = 0.3, 0.03
_REDUCED_BYTES_PER_SECOND = 2e9


class OpenvinoPtqParams(Params):
    """Number formats, and how activation ranges are found."""

    preset: Literal["performance", "mixed"] = Field(
        "performance",
        description="performance: symmetric activations; mixed: with a zero point but for LSTMs, closer and slower",
    )
    range_estimator: Literal["minmax", "mean_minmax", "mean_no_outliers", "median"] = Field(
        "minmax",
        description="how a range is chosen from the batches seen; means of them clip columns that are rarely not zero",
    )
    fast_bias_correction: bool = Field(True, description="correct biases layer by layer at once; false is slower")
    overflow_fix: Literal["enable", "first_layer_only", "disable"] = Field(
        "first_layer_only", description="7-bit weights, for true sums where the processor multiplies without VNNI"
    )
    transformer: bool = Field(False, description="leave alone what loses most in a transformer, and smooth activations")
    rows: int = Field(512, ge=1, description="calibration rows that are used, at most")
    batch_size: int = Field(64, ge=1, description="calibration rows run at once")
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def requires(params: OpenvinoPtqParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need openvino, nncf, and a convolution, matrix product or LSTM with weights."""
    unmet = (*not_installed(hardware, "openvino", "nncf"), *unfit(model))
    if model is None or unfit(model) or not takes_none(model, *MULTIPLIED, *IN_INT8):
        return unmet
    cause = "the model has no convolution, matrix product or LSTM in fp32"
    return (*unmet, Unmet(cause, "use quantization.method none"))


def chooses(layer: Layer) -> bool:
    """Whether nothing is asked of the precision of a layer: where int8 does not pay, OpenVINO runs a depthwise one so.

    It multiplies few weights a channel; on some processors its kernel in f32 is the faster one. A table that is kept in
    int8 it may unpack once, as it opens the file, to look rows up in fp32. NNCF leaves the gates of a squeeze and
    excitation in float.
    """
    if layer.type in EMBEDDINGS or layer.excitation:
        return True
    return layer.type in CONVOLUTIONS and layer.groups > 1 and layer.weight_shape[1:2] == (1,)


def fake_quantization(params: OpenvinoPtqParams) -> FakeQuantization:
    """Return what a training imitates; weights of 7 bits where all layers have them."""
    return FakeQuantization(63 if params.overflow_fix == "enable" else 127, True, params.preset == "performance")


def predict(
    params: OpenvinoPtqParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte a weight, and add scales and the description of the ranges."""
    if model is None:
        return Prediction()
    speed = speed_of(hardware, work.threads)
    rows = min(params.rows, work.rows.get("calibration", params.rows))
    batch = fixed_batch(model) or min(params.batch_size, max(rows, 1))
    # Once for the ranges, once for the biases, once for the ranges of LSTMs.
    passes = 3 if layers_of(model, *IN_INT8) else 2
    forward = passes * rows / batch * forward_seconds(model, speed, run_cost("openvino", "ir"), batch)
    reduced = rows * layer_output_bytes(model) / _REDUCED_BYTES_PER_SECOND
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + forward + reduced
    activations = batch * max(layer_output_bytes(model), model.activation_bytes or 0)
    peak = 6 * model.weight_bytes + activations * 2
    return modelled(hardware, seconds, peak, int8_bytes(model, params.leave, ranges=True))


@operator(
    "quantize.openvino_ptq",
    version=4,
    family="quantize",
    params=OpenvinoPtqParams,
    inputs={"model": "onnx", "calibration": "rows"},
    outputs={"model": "ir"},
    requires=requires,
    predict=predict,
    loads=("titrant.runtime.backends.openvino.compression", "onnx", "onnxruntime"),
    libraries=("openvino", "nncf", "onnx", "onnxruntime", "numpy"),
    method=Method(
        "openvino.ptq",
        takes="onnx",
        engine="openvino",
        format="openvino",
        bits=(8,),
        rank=4,
        calibrated=True,
        devices=("cpu",),
        # Measured with AMX, and with VNNI alone, on ResNet-20, a depthwise net, an encoder and a multilayer perceptron.
        arithmetic=Arithmetic(
            speedups=(
                Speedup(("convolution",), {1: 2.5, 1024: 2.9, 32768: 4.3}, on=("amx_int8",)),
                Speedup(("product",), {1: 3.5, 1024: 3.0}, on=("amx_int8",)),
                Speedup(("depthwise",), {1: 1.0}, on=("amx_int8",)),
                Speedup(("convolution",), {1: 2.2, 32768: 2.5}, on=("avx512_vnni", "avx_vnni")),
                Speedup(("product",), {1: 2.5, 32: 3.0, 1024: 2.4}, on=("avx512_vnni", "avx_vnni")),
                Speedup(("recurrent",), {1: 1.5, 32: 1.9}, on=("amx_int8", "avx512_vnni", "avx_vnni")),
                Speedup(("depthwise",), {1: 1.8}, on=("avx512_vnni", "avx_vnni")),
                Speedup(("convolution", "product"), {1: 1.3}),
            ),
            held=0.5,
            layer_seconds=0.5e-6,
            weights=0.25,
            work=0.75,
        ),
        layers=QUANTIZED,
        named="convolutions, matrix products, embeddings and LSTMs",
        chooses=chooses,
        repairs=(Repair("equalize", "equalized", before="quantize.equalize", exact=True),),
        fake_quantization=fake_quantization,
    ),
)
def quantize_openvino_ptq(
    params: OpenvinoPtqParams, context: Context, *, model: Any, calibration: Any
) -> dict[str, Any]:
    """Quantize weights and activations to int8 by NNCF's post-training quantization, LSTMs as their kernel reads them.

    Helps when: batches are large or the model is convolutional: OpenVINO's int8 kernels gain most there.
    Inputs:     model - an fp32 ONNX file; calibration - rows like those to come, whose arrays the file takes by name
    Outputs:    model - an OpenVINO IR that was compiled once, with FakeQuantize operations around what has int8
                kernels. OpenVINO decides for itself where int8 pays: it runs depthwise convolutions in f32. An LSTM's
                inputs and hidden states have one range, its two matrices one scale a row; GRU and RNN stay in fp32.
                The measurement quantized_layers counts the operations with int8 weights
    Fails:      PreconditionError X210 when there is nothing to quantize, X217 when there are no rows; StepError X250
                when OpenVINO cannot take over the graph, X252 when NNCF fails on it
    Cost:       two forward passes over `rows` rows with the activations of one batch kept, three where there are LSTMs
    """
    from titrant.runtime.backends.onnxruntime.calibration import RangeRule, batches, stepwise
    from titrant.runtime.backends.onnxruntime.graph import is_recurrent
    from titrant.runtime.backends.openvino.compression import left_alone, packed, quantized
    from titrant.runtime.backends.openvino.convert import converted, write_ir
    from titrant.runtime.backends.openvino.session import open_session, specs

    graph, source = converted(model.path)
    taken = specs(graph)
    choice = RangeRule("minmax", 100.0, params.rows, params.batch_size)
    feeds = stepwise(model, calibration, taken, choice) if is_recurrent(source) else batches(calibration, taken, choice)
    left = left_alone(graph, source, params.leave)
    result = quantized(graph, list(feeds), params.model_dump(), left=left, threads=context.threads)
    context.measure("quantized_layers", sum(packed(result).values()))
    written = write_ir(result, source, context.scratch / "ir")
    open_session(written, threads=context.threads).close()  # proves that it can be loaded
    return {"model": written}
