"""Devices of the user's own process: which work, which one to use, and waiting until it has done what it was given.

Apple's MLX is a device too; on Linux it computes on the CPU.
"""

import sys
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MLX = "mlx"
_APPLE = sys.platform == "darwin"


def get_device(preferred: str = "auto") -> "torch.device":
    """Return the device to use: `preferred` where it works, and otherwise the CPU, with a warning that says why.

    "auto" is the first of cuda, mps and cpu that works. Others are cpu, cuda, cuda:N and mps. ValueError for a name
    that torch does not know.
    """
    import torch

    if preferred == "auto":
        return torch.device("cuda" if not why_not("cuda") else "mps" if not why_not("mps") else "cpu")
    reason = why_not(preferred)
    if reason:
        warnings.warn(f"using the CPU: {reason}", stacklevel=2)
        return torch.device("cpu")
    return torch.device(preferred)


def why_not(device: str) -> str:
    """Say why a device cannot be used here; "" where it can. ValueError for a name that torch does not know."""
    torch_device = named_device(device)
    if torch_device.type == "cpu":
        return ""
    import torch

    if torch_device.type == "cuda":
        return _why_not_cuda(torch_device.index)
    if torch_device.type == "mps":
        built = torch.backends.mps.is_built()
        works = built and torch.backends.mps.is_available()
        return "" if works else "Metal does not work here" if built else "the installed torch is built without Metal"
    return f"titrant does not work on devices of type {torch_device.type}"


def named_device(device: "torch.device | str") -> "torch.device":
    """Return the device of a name; ValueError for one that torch does not know, and for a number."""
    import torch

    try:
        if isinstance(device, (str, torch.device)):
            return torch.device(device)
    except RuntimeError:
        pass
    raise ValueError(f"no device is called {device!r}; write auto, cpu, cuda, cuda:N or mps") from None


def _why_not_cuda(index: int | None) -> str:
    import torch

    if torch.version.cuda is None:
        return "the installed torch is built without CUDA"
    if not torch.cuda.is_available():
        return "CUDA finds no GPU that it can use"
    count = torch.cuda.device_count()
    if index is not None and index >= count:
        return f"there is no cuda:{index}, the last is cuda:{count - 1}"
    return ""


def why_not_mlx() -> str:
    """Say why MLX cannot be used here; "" where it can."""
    return "" if find_spec("mlx") else "mlx is not installed: pip install mlx"


def synchronize(device: "torch.device | str | None" = None) -> None:
    """Wait until a device (default: the one that `get_device` chooses) has done what it was given.

    The CPU works in step, so there is nothing to wait for. "mlx" waits for Apple's MLX. RuntimeError for a device that
    does not work here, ValueError for a name that torch does not know.
    """
    if device == MLX:
        if reason := why_not_mlx():
            raise RuntimeError(f"cannot wait for {MLX}: {reason}")
        import mlx.core as mlx

        mlx.synchronize()
        return
    import torch

    chosen = get_device() if device in (None, "auto") else named_device(device)
    reason = why_not(str(chosen))
    if reason:
        raise RuntimeError(f"cannot wait for {chosen}: {reason}")
    if chosen.type == "cuda":
        torch.cuda.synchronize(chosen)
    elif chosen.type == "mps":
        torch.mps.synchronize()


def libraries_in_use() -> tuple[Any, Any, Any]:
    """Return torch.cuda where CUDA is in use, torch.mps where Metal may be, and mlx.core; None else.

    Nothing is loaded: what was not imported has given no device anything to do.
    """
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)  # torch may be in the middle of its import
    if cuda is not None and not cuda.is_initialized():
        cuda = None
    mps = torch.mps if torch is not None and _APPLE and torch.backends.mps.is_available() else None
    return cuda, mps, sys.modules.get("mlx.core")


def wait_for_used() -> None:
    """Wait until every device that this process has begun to use has done what it was given."""
    cuda, mps, mlx = libraries_in_use()
    if cuda is not None:
        for index in range(cuda.device_count()):
            cuda.synchronize(index)
    if mps is not None:
        mps.synchronize()
    if mlx is not None:
        mlx.synchronize()


def device_bytes() -> int | None:
    """Return the bytes that tensors hold on every device that this process has begun to use; None where on none."""
    cuda, mps, mlx = libraries_in_use()
    held: list[int] = []
    if cuda is not None:
        held += [cuda.memory_allocated(index) for index in range(cuda.device_count())]
    if mps is not None:
        held.append(mps.current_allocated_memory())
    if mlx is not None:
        held.append(mlx.get_active_memory())
    return sum(held) if held else None
