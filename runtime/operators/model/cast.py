"""Cast a model's weights and computation to 16-bit floating point, behind a border that stays fp32."""

import re
from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, modelled
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError
from titrant.schema.facts import Gpu, Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import TorchModel

# Instruction sets that compute in the format, rather than convert to fp32 and back.
NATIVE = {"bf16": ("avx512_bf16", "amx_bf16", "bf16"), "fp16": ("avx512_fp16", "fp16")}
# CUDA's compute capability from which on every GPU does, at full speed (NVIDIA, CUDA C++ Programming Guide, arithmetic
# instructions): of fp16 6.1 does a 64th of it.
CAPABILITY = {"bf16": (8, 0), "fp16": (7, 0)}

# Copying, casting and keeping the weights.
_CAST_BYTES_PER_SECOND = 300e6
_EMULATE = "set quantization.options.emulated to true if only the size counts"


class CastParams(Params):
    """Which 16-bit format, and whether a processor without it may emulate it."""

    dtype: Literal["bf16", "fp16"] = Field("bf16", description="bf16 has fp32's range, fp16 more digits")
    emulated: bool = Field(
        False, description="allow a processor without such instructions: half the size, several times slower"
    )


def requires(params: CastParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, and a processor or accelerator that computes in the format unless emulation is allowed."""
    identity = hardware.identity
    native = not set(NATIVE[params.dtype]).isdisjoint(identity.instructions)
    native = native or any(computes(gpu, params.dtype) for gpu in identity.gpus)
    unmet = missing(hardware, "torch")
    if native or params.emulated:
        return unmet
    if identity.gpus:
        gpu = identity.gpus[0]
        least = ".".join(map(str, CAPABILITY[params.dtype]))
        cause = f"{params.dtype} is emulated on {gpu.name} (compute capability {gpu.capability}, it takes {least})"
        return (*unmet, Unmet(cause, _remedy(gpu, params.dtype)))
    names = ", ".join(NATIVE[params.dtype])
    cause = f"{params.dtype} is emulated on this processor and slower than fp32 (it has none of {names})"
    return (*unmet, Unmet(cause, _EMULATE))


def computes(gpu: Gpu, dtype: str) -> bool:
    """Whether an accelerator computes in a format: Metal does, and where CUDA's capability is not known it may."""
    capability = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", gpu.capability or "")
    return gpu.kind != "cuda" or capability is None or (int(capability[1]), int(capability[2])) >= CAPABILITY[dtype]


def _remedy(gpu: Gpu, dtype: str) -> str:
    if dtype == "bf16" and computes(gpu, "fp16"):
        return "set quantization.options.dtype to fp16"
    return _EMULATE


def predict(params: CastParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Count two bytes a parameter."""
    if model is None:
        return Prediction()
    seconds = 2 * BASE_SECONDS + model.weight_bytes / _CAST_BYTES_PER_SECOND
    size = torch_bytes(model) - model.weight_bytes // 2
    return modelled(hardware, seconds, 2 * model.weight_bytes, size)


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Cast a freshly built module and put the fp32 border around it."""
    from titrant.runtime.backends.torch.module import Cast, MixedCast

    return (MixedCast if record["mixed"] else Cast)(module, record["dtype"])


@operator(
    "model.cast",
    version=2,
    family="model",
    params=CastParams,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.module"),
    libraries=("torch",),
    user_code=True,
    method=Method(
        "cast",
        takes="torch",
        engine="torch",
        format="torchscript",
        bits=(16,),
        rank=1,
        # Measured with torch 2.13 in bf16, one thread, AVX-512: a perceptron, an encoder, an LSTM and ResNet-20.
        arithmetic=Arithmetic(
            half=True,
            speedups=(
                Speedup(("product", "recurrent"), {1: 0.9, 32: 1.5, 1024: 2.3}, on=("avx512_bf16", "amx_bf16")),
                Speedup(("gru",), {1: 0.45, 32: 1.0}, on=("avx512_bf16", "amx_bf16")),
                Speedup(("convolution",), {1: 1.0, 4096: 1.4}, on=("avx512_bf16", "amx_bf16")),
            ),
            layer_seconds=8e-6,
        ),
        precision=attrgetter("dtype"),
    ),
)
def model_cast(params: CastParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Cast every floating-point weight and buffer, and convert inputs and outputs at the model's border.

    Helps when: the device computes in 16 bits (GPUs, processors with AMX or AVX-512 bf16); elsewhere only the size
                falls and emulation makes it slower.
    Inputs:     model - any module; its floating-point inputs stay fp32 for the caller
    Outputs:    model - weights in 16 bits, answers in fp32. Where the forward makes tensors of its own in fp32, such as
                angles of places, and multiplies or attends by both, torch.autocast casts them there
    Fails:      PreconditionError when a weight is beyond the range of fp16 (65504), X239 when the forward fails in
                16 bits with and without autocast, although it answers in fp32
    Cost:       one pass over the weights, a copy of the model and a forward pass of two rows
    """
    return {"model": cast_model(model, params.dtype)}


def cast_model(model: "TorchModel", dtype: str) -> "TorchModel":
    """Return a cast copy; PreconditionError X216 when a weight becomes infinite, X239 when the forward fails in it."""
    from titrant.runtime.backends.torch.module import rewritten
    from titrant.runtime.operators.model.fold import with_plain_weights

    model = with_plain_weights(model)
    plain, mixed = (rewritten(model, "model.cast", {"dtype": dtype, "mixed": mixed}) for mixed in (False, True))
    result, failure = plain, _failure(plain)
    if failure is not None and _failure(mixed) is None:
        result = mixed
    elif failure is not None and _failure(model) is None:
        message = f"the forward fails in {dtype}, although it answers in fp32: {failure.message}"
        advice = "make the tensors that the forward creates in the dtype of its input, or use another method"
        raise PreconditionError(Diagnostic("X239", message, help=advice, said=failure.said))
    before = model.module.state_dict()
    for name, value in result.module.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            original = before[name.removeprefix("module.")]
            if original.isfinite().all():
                raise PreconditionError(
                    Diagnostic(
                        "X216",
                        f"{name.removeprefix('module.')} holds {original.abs().max():.3g}, beyond the range of {dtype}",
                        help="set quantization.options.dtype to bf16",
                    )
                )
    return result


def _failure(model: "TorchModel") -> Diagnostic | None:
    """Return why a module does not answer two rows of zeros; None where it does."""
    from titrant.runtime.backends.torch.executed import answer_zeros

    try:
        answer_zeros(model)
    except StepError as error:
        return error.diagnostics[0]
    return None
