"""Train in 16 bits: what a device computes in, autocast, and a scaler that counts the steps it skips."""

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch  # noqa: TID253 - its very subject
from torch.amp.grad_scaler import GradScaler  # noqa: TID253

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

TrainingPrecision = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DeviceLike = torch.device | str | None
# CUDA's compute capability from which on bf16 is computed and not emulated.
_BF16_CAPABILITY = (8, 0)


def autocast(precision: TrainingPrecision = "auto", device: DeviceLike = None) -> torch.autocast:
    """Return a context manager, or decorator, in which torch computes what it can in 16 bits.

    "auto" is bf16 where the device computes in it, fp16 on other GPUs, and fp32 else. Weights, gradients and optimizer
    states stay fp32. `device` is where the model is; without it the first of cuda, mps and cpu that works. Put forward
    pass and loss inside, the backward pass and the optimizer outside. Raises ValueError for a precision of another
    name, StepError X522 where the device would only emulate the one that is named.
    """
    kind, chosen = resolved(precision, device)
    return torch.autocast(kind.type, dtype=DTYPES[chosen], enabled=chosen != "fp32")


def create_scaler(precision: TrainingPrecision = "auto", device: DeviceLike = None) -> "Scaler":
    """Return a scaler of the loss for what `autocast` chooses: at work for fp16, and passing all through else.

    `precision`, `device` and errors are those of `autocast`. Used as torch's: `scaler.scale(loss).backward()`,
    `scaler.unscale_(optimizer)` before gradients are clipped or looked at, `scaler.step(optimizer)`, `scaler.update()`.
    """
    kind, chosen = resolved(precision, device)
    return Scaler(kind.type, enabled=chosen == "fp16")


class Scaler(GradScaler):
    """torch's gradient scaler, which also counts in `skipped_steps` how often a gradient was infinite or NaN."""

    def __init__(self, device: str, *, enabled: bool = True) -> None:
        super().__init__(device, enabled=enabled)
        self.skipped_steps = 0

    def overflowed(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether gradients that were unscaled are infinite or NaN, while a lower scale may still help."""
        return self.get_scale() > 1 and any(map(float, self._found_inf_per_device(optimizer).values()))

    def update(self, new_scale: float | torch.Tensor | None = None) -> None:
        """Set the scale for the next step: lower after one that was skipped."""
        before = self.get_scale() if self.is_enabled() else 0.0
        super().update(new_scale)
        if self.is_enabled() and new_scale is None and self.get_scale() < before:
            self.skipped_steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what has to be kept to go on."""
        return super().state_dict() | ({"skipped_steps": self.skipped_steps} if self.is_enabled() else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that was kept."""
        self.skipped_steps = int(state_dict.get("skipped_steps", 0))
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "skipped_steps"})


def arithmetic(precision: str, kind: str) -> AbstractContextManager[Any]:
    """Return what the forward pass of a training runs in, on a device of a kind that was asked before."""
    return nullcontext() if precision == "fp32" else torch.autocast(kind, dtype=DTYPES[precision])


def resolved(precision: str, device: DeviceLike) -> tuple[torch.device, str]:
    """Return the device, and the precision that `precision` means on it; raises as `autocast` does."""
    if precision not in ("auto", *DTYPES):
        raise ValueError(f"a precision is auto, {', '.join(DTYPES)}, not {precision!r}")
    place = torch.device(device) if device is not None else _first_device()
    computed = computed_formats(place)
    if precision == "auto":
        return place, next((name for name in ("bf16", "fp16") if name in computed), "fp32")
    if precision != "fp32" and precision not in computed:
        others = " or ".join(name for name in ("bf16", "fp32") if name in (*computed, "fp32"))
        raise StepError(
            Diagnostic(
                "X522",
                f"{precision} would be emulated on {place}, which computes in {', '.join(('fp32', *computed))}",
                help=f"use {others} there; fp16 takes a GPU, bf16 one of compute capability 8.0 or a processor with "
                "avx512_bf16, amx_bf16 or ARM's bf16",
            )
        )
    return place, precision


def computed_formats(device: torch.device) -> tuple[str, ...]:
    """Return the 16-bit formats in which a device trains faster than by emulation.

    torch says that bf16 is supported also where a processor converts to fp32 and back: asked are the instruction sets.
    """
    if device.type == "cuda":
        return ("bf16", "fp16") if torch.cuda.get_device_capability(device) >= _BF16_CAPABILITY else ("fp16",)
    if device.type == "mps":
        return ("fp16",)
    if platform.machine().lower() in ("aarch64", "arm64"):
        return ("bf16",) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ()
    # A processor with AMX has avx512_bf16 as well; either may be switched off by itself.
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return ("bf16",) if native else ()


def _first_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
