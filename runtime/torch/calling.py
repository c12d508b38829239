"""Call a module with arrays and name its answers, whatever form it gives them in."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.torch.layout import tensor_of
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.first_line import first_line


def call(module: Any, arrays: Iterable[np.ndarray], device: str = "cpu") -> Any:
    """Answer one batch: arrays in the order of the forward's arguments, shared where they lie as torch would lay them.

    Raises StepError X221 with the failing layer when the forward raises.
    """
    tensors = [_tensor(array, device) for array in arrays]
    try:
        return module(*tensors)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise failed(module, tensors, error) from None


def named(answer: Any, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Name the tensors of an answer: a tensor, a tuple or list of them, or a mapping (taken by name where it has them).

    Raises StepError X204 when the answer holds no tensors or fewer than there are names.
    """
    if isinstance(answer, torch.Tensor):
        found: list[Any] = [answer]
    elif isinstance(answer, Mapping):
        found = [answer[name] for name in names] if set(names) <= set(answer) else list(answer.values())
    elif isinstance(answer, (tuple, list)):
        found = list(answer)
    else:
        found = []
    tensors = [item for item in found if isinstance(item, torch.Tensor)]
    if len(tensors) < max(len(names), 1):
        raise StepError(
            Diagnostic(
                "X204",
                f"the model answers with {_form(answer)}, and its outputs are {', '.join(names) or 'not named'}",
                help="let the forward return a tensor, a tuple of tensors, or a mapping of name to tensor",
            )
        )
    return dict(zip(names, tensors, strict=False))


_OF_SHAPES = ("shape", "size", "dimension", "expected input", "channels", "dtype", "scalar type", "index out of range")
_SHAPES = "change data.transform or data.inputs, or the arguments of the model, so that shapes and types meet"
_OWN = "the layer's own code raised it: call the model with such a batch outside titrant, and mend it there"


def failed(module: Any, tensors: list[torch.Tensor], error: Exception) -> StepError:
    """Say in one line which layer could not take what it was given."""
    given = ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in tensors)
    reason = first_line(error)
    layer = _failing_layer(module, tensors)
    return StepError(
        Diagnostic(
            "X221",
            f"the model cannot answer a batch of {given}: {layer}{reason}",
            help=_SHAPES if any(word in reason.lower() for word in _OF_SHAPES) else _OWN,
        )
    )


def _failing_layer(module: Any, tensors: list[torch.Tensor]) -> str:
    """Call once more with hooks and name the innermost layer that was entered and not left."""
    if not isinstance(module, torch.nn.Module) or isinstance(module, torch.jit.ScriptModule):
        return ""
    entered: list[torch.nn.Module] = []
    hooks = [layer.register_forward_pre_hook(lambda layer, _: entered.append(layer)) for layer in module.modules()]
    hooks += [layer.register_forward_hook(lambda *_: _leave(entered)) for layer in module.modules()]
    try:
        module(*tensors)
        return ""
    except (RuntimeError, TypeError, ValueError, IndexError):
        inner = entered[-1] if entered else module
    finally:
        for hook in hooks:
            hook.remove()
    name = next((name for name, layer in module.named_modules() if layer is inner), "")
    return f"layer {name} ({type(inner).__name__}{_weight(inner)}): " if name else ""


def _leave(entered: list[torch.nn.Module]) -> None:
    entered.pop()


def _weight(layer: torch.nn.Module) -> str:
    weight = getattr(layer, "weight", None)
    return f", weight {tuple(weight.shape)}" if isinstance(weight, torch.Tensor) else ""


def _tensor(array: np.ndarray, device: str) -> torch.Tensor:
    tensor = tensor_of(array)
    return tensor if device == "cpu" else tensor.to(device)


def _form(answer: Any) -> str:
    if isinstance(answer, (tuple, list)):
        return f"a {type(answer).__name__} of {len(answer)}"
    return f"a {type(answer).__name__}"
