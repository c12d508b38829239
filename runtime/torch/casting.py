"""Put a 16-bit module behind an fp32 border."""

from collections.abc import Mapping
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.torch.rewriting import rewritten
from titrant.runtime.values import TorchModel
from titrant.schema.diagnostics import Diagnostic, PreconditionError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Cast(torch.nn.Module):
    """A module in 16-bit floating point that takes and gives fp32; other dtypes pass as they are."""

    def __init__(self, module: torch.nn.Module, dtype: str) -> None:
        super().__init__()
        self.dtype = DTYPES[dtype]
        self.module = module.to(self.dtype)

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Answer a batch; floating-point inputs and outputs of any shape are converted."""
        return to_float32(self.module(*(_floating_to(value, self.dtype) for value in inputs)))


def cast_model(model: TorchModel, dtype: str) -> TorchModel:
    """Return a cast copy; PreconditionError X216 when a weight becomes infinite."""
    result = rewritten(model, "model.cast", {"dtype": dtype})
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


def to_float32(answer: Any) -> Any:
    """Convert the floating-point tensors of an answer, in the form that it has."""
    if isinstance(answer, torch.Tensor):
        return _floating_to(answer, torch.float32)
    if isinstance(answer, Mapping):
        return {name: to_float32(value) for name, value in answer.items()}
    if isinstance(answer, (tuple, list)):
        return tuple(to_float32(value) for value in answer)
    return answer


def _floating_to(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value
