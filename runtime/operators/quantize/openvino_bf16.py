"""Let OpenVINO compute in bf16, where the processor does."""

from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.matrices import quantized_already
from titrant.runtime.cost.sizes import EMBEDDINGS
from titrant.runtime.method import Method
from titrant.runtime.operators.export.openvino import ir_bytes, not_installed
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

# Instruction sets that multiply in bf16, rather than convert to fp32 and back.
NATIVE = ("avx512_bf16", "amx_bf16")
# Reading, simplifying, writing and opening the graph: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.08, 0.002
_WRITTEN_BYTES_PER_SECOND = 60e6


class OpenvinoBf16Params(Params):
    """None: bf16 is one format."""


def requires(params: OpenvinoBf16Params, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need openvino, a processor that computes in bf16, and a layer with weights."""
    unmet = (*not_installed(hardware, "openvino"), *(quantized_already(model) if model is not None else ()))
    if model is not None and not any(layer.has_weights for layer in model.layers):
        unmet = (*unmet, Unmet("the model has no weights to multiply by in bf16", "use quantization.method none"))
    if not set(NATIVE).isdisjoint(hardware.identity.instructions):
        return unmet
    cause = f"this processor does not compute in bf16 (it has none of {', '.join(NATIVE)})"
    remedy = "an Intel Xeon from the third generation for four sockets, or the fourth, and an AMD Zen 4 on do"
    return (*unmet, Unmet(cause, remedy))


def precision(params: OpenvinoBf16Params) -> str:
    """Return the number format of every layer."""
    return "bf16"


def chooses(layer: Layer) -> bool:
    """Whether nothing is asked of the precision of a layer: rows are looked up as they are stored."""
    return layer.type in (*EMBEDDINGS, "EmbeddingBag")


def predict(
    params: OpenvinoBf16Params, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights, which stay in fp32 in the file, and the description of the graph."""
    if model is None:
        return Prediction()
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND
    size = ir_bytes(model)
    return modelled(hardware, seconds, 5 * size, size)


@operator(
    "quantize.openvino_bf16",
    version=2,
    family="quantize",
    params=OpenvinoBf16Params,
    inputs={"model": "onnx"},
    outputs={"model": "ir"},
    requires=requires,
    predict=predict,
    loads=("titrant.runtime.backends.openvino.convert", "onnx"),
    libraries=("openvino", "onnx"),
    method=Method(
        "openvino.bf16",
        takes="onnx",
        engine="openvino",
        format="openvino",
        bits=(16,),
        rank=1,
        devices=("cpu",),
        # Measured with AMX, and with AVX-512 alone, on ResNet-20, a depthwise net, an encoder and a perceptron.
        arithmetic=Arithmetic(
            speedups=(
                Speedup(("convolution",), {1: 3.0, 1024: 3.2, 32768: 4.4}, on=("amx_bf16",)),
                Speedup(("product", "recurrent", "gru"), {1: 2.2, 32: 3.0, 1024: 3.5}, on=("amx_bf16",)),
                Speedup(("depthwise",), {1: 1.6}, on=("amx_bf16",)),
                Speedup(("product",), {1: 1.8, 1024: 1.7}, on=("avx512_bf16",)),
                Speedup(("recurrent", "gru"), {1: 1.2, 32: 1.5}, on=("avx512_bf16",)),
                Speedup(("convolution", "depthwise"), {1: 1.8}, on=("avx512_bf16",)),
            ),
            work=0.85,
        ),
        precision=precision,
        chooses=chooses,
    ),
)
def quantize_openvino_bf16(params: OpenvinoBf16Params, context: Context, *, model: Any) -> dict[str, Any]:
    """Write an IR that says it is to run in bf16: kernels round weights and activations as they multiply.

    Helps when: the processor has AMX or AVX-512 bf16: up to five times as fast as fp32, with seldom any loss.
    Inputs:     model - an fp32 ONNX file
    Outputs:    model - an OpenVINO IR whose weights stay in fp32, so that the file is as large as before; a session
                asks for bf16 as the graph says, which `titrant.load` and the shown code do
    Fails:      StepError X250 when OpenVINO cannot take over the graph
    Cost:       one read and write of the file
    """
    from titrant.runtime.backends.openvino.convert import converted, write_ir
    from titrant.runtime.backends.openvino.session import open_session

    graph, source = converted(model.path)
    written = write_ir(graph, source, context.scratch / "ir", precision="bf16")
    open_session(written, threads=context.threads).close()  # proves that it can be loaded
    return {"model": written}
