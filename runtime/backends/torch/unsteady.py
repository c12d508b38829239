"""Watch a module or TorchScript file answer: which calls draw numbers, are in training mode, or scale by the batch."""

from collections.abc import Callable, Mapping
from typing import Any

from titrant.runtime.backends.backend import DRAWS, SCALES, TRAINS

# Arguments of torch's own calls that switch training on, and the share that is dropped.
_TRAINING = ("training", "train", "use_input_stats")
_DROPPED = ("p", "dropout_p", "dropout")
# What normalizes by the batch whatever it is told: without running figures there is nothing else.
_NO_FIGURES = "no_stats"

# One scale for the whole tensor, found as it runs.
_SCALING = (
    "_dynamic",
    "choose_qparams.tensor",
    "_choose_qparams_per_tensor",
    "fused_moving_avg_obs",
    "quantized_lstm",
    "quantized_gru",
)


def unsteady(answer: Callable[[], object]) -> Mapping[str, str]:
    """Return {call: DRAWS, TRAINS or SCALES} of every call that `answer` makes, named as torch does ("bernoulli").

    What Python or NumPy draw in a forward is not seen here, only in the answers.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: dict[str, str] = {}

    class Watch(TorchDispatchMode):  # type: ignore[misc,unused-ignore]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = kwargs or {}
            why = _why(func, args, given)
            if why:
                seen[str(func.overloadpacket).rpartition(".")[2].strip("_")] = why
            return func(*args, **given)

    with Watch():  # type: ignore[no-untyped-call,unused-ignore]
        answer()
    return seen


def _why(func: Any, args: tuple[Any, ...], given: Mapping[str, Any]) -> str:
    """Say what one call of torch's does: DRAWS, TRAINS, SCALES or "".

    Batch normalization counts by its switch, for each case alone (instance normalization) as well: whether the batch
    matters is told from the answers. Dropout that is off, or drops nothing, draws nothing.
    """
    import torch

    if any(part in str(func) for part in _SCALING):
        return SCALES
    said = _arguments(func, args, given)
    trains = any(said.get(name) is True for name in _TRAINING)
    if "batch_norm" in str(func):
        return TRAINS if trains or _NO_FIGURES in str(func) else ""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return ""
    idle = any(said.get(name) is False for name in _TRAINING) or any(said.get(name) == 0 for name in _DROPPED)
    return "" if idle else DRAWS


def _arguments(func: Any, args: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's plain arguments by name, with the defaults of its schema."""
    names = [item.name for item in func._schema.arguments]
    defaults = {item.name: item.default_value for item in func._schema.arguments if item.has_default_value()}
    said = {**defaults, **dict(zip(names, args, strict=False)), **given}
    return {name: value for name, value in said.items() if isinstance(value, bool | int | float)}
