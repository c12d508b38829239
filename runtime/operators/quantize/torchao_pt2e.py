"""Quantize a torch.export program to int8 by PT2E for x86, and compile it by AOTInductor."""

from typing import Any

from pydantic import Field

from titrant.runtime.backends.torch.program.torchao_cost import (
    COMPILED_PEAK_BYTES,
    compile_seconds,
    lacking_compiler,
    lacking_torchao,
    without,
)
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import compiled_bytes, layers_of
from titrant.runtime.method import FakeQuantization, Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

LAYERS = ("Linear", "Conv2d")
_X86 = ("x86_64", "amd64")


class TorchaoPt2eParams(Params):
    """How activations are calibrated, and which layers keep their precision."""

    rows: int = Field(256, ge=1, description="calibration rows that are looked at, at most")
    batch: int = Field(32, ge=1, description="rows at once")
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")


def requires(params: TorchaoPt2eParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torchao, a C++ compiler, an x86 processor, and a layer that the quantizer takes."""
    unmet = (*lacking_torchao(hardware), *lacking_compiler(hardware))
    if hardware.identity.machine not in _X86:
        cause = f"its quantizer has kernels for x86 only, and this is {hardware.identity.machine}"
        unmet = (*unmet, Unmet(cause, "use ort.static"))
    if model is None or layers_of(without(model, params.leave), *LAYERS):
        return unmet
    cause = "torchao.pt2e quantizes linear layers and two-dimensional convolutions only, and the model has none"
    return (*unmet, Unmet(cause, "use ort.static"))


def fake_quantization(_: TorchaoPt2eParams) -> FakeQuantization:
    """Return what a training imitates: the formats of the quantizer for x86."""
    return FakeQuantization()


def predict(
    params: TorchaoPt2eParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count one byte for each weight that is quantized, a scale for each channel, and what the code takes."""
    if model is None:
        return Prediction()
    size = compiled_bytes(model, layers_of(without(model, params.leave), *LAYERS))
    return modelled(hardware, 1.5 * compile_seconds(model), COMPILED_PEAK_BYTES + 4 * model.weight_bytes, size)


@operator(
    "quantize.torchao_pt2e",
    version=3,
    family="quantize",
    params=TorchaoPt2eParams,
    inputs={"model": "exported", "calibration": "rows"},
    outputs={"model": "aoti"},
    determinism="measured",
    requires=requires,
    predict=predict,
    loads=("torch", "torch.export", "torch._dynamo", "titrant.runtime.backends.torch.program.pt2e"),
    libraries=("torch", "torchao", "c++"),
    method=Method(
        "torchao.pt2e",
        takes="exported",
        engine="torch",
        format="aoti",
        bits=(8,),
        rank=4,
        calibrated=True,
        devices=("cpu",),
        arithmetic=Arithmetic(
            # Estimates, over compiled fp32: no network but two small ones was timed.
            speedups=(
                Speedup(("product",), {1: 1.2, 32: 1.8}, on=("avx512_vnni", "avx_vnni")),
                Speedup(("product",), {1: 0.8, 32: 0.9}),
                Speedup(("convolution",), {1: 1.0, 1024: 1.5}),
            ),
            weights=0.25,
        ),
        layers=LAYERS,
        named="linear layers and two-dimensional convolutions",
        fake_quantization=fake_quantization,
    ),
)
def quantize_torchao_pt2e(
    params: TorchaoPt2eParams, context: Context, *, model: Any, calibration: Any
) -> dict[str, Any]:
    """Quantize products to int8 with scales from calibration rows, and compile the program for this processor.

    Its plain conversion is the program compiled in fp32: what compiling gives is not called the precision's.

    Helps when: the model runs in torch on processors like this one, with int8 kernels (VNNI, AMX).
    Inputs:     model - a torch.export file; calibration - rows like those that it will answer
    Outputs:    model - a package (.pt2) with the same inputs and outputs, int8 weights by channel, activations by
                tensor; what the quantizer does not know stays in fp32. The measurement quantized_layers counts layers
    Fails:      PreconditionError where the quantizer finds nothing; StepError where the compiler fails, or where the
                package answers eight calibration rows otherwise than the program in int8, by four times what int8
                itself changed
    Cost:       the calibration rows once, then tens of seconds of the C++ compiler
    """
    from titrant.runtime.backends.torch.program.pt2e import CalibrationRows, quantized

    looked_at = CalibrationRows(params.rows, params.batch, params.leave)
    package = quantized(model, calibration, looked_at, context)
    context.measure("quantized_layers", package.layers)
    context.measure("parity_relative", package.parity)
    return {"model": package.model}
