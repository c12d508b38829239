"""Call a module with arrays, name its answers, and refuse forwards that no trace can follow."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.overrides import TorchFunctionMode  # noqa: TID253 - its very subject

from titrant.runtime.backends import recurrent
from titrant.runtime.backends.session import Spec, checked, insisted_batch
from titrant.runtime.backends.torch.arguments import Arguments, arguments_of
from titrant.runtime.backends.torch.determinism import tensor_of
from titrant.runtime.user_code import describe, said_by
from titrant.runtime.values import Recurrence, Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, RecipeError, StepError
from titrant.schema.values.text import first_line

_TORCH = Path(torch.__file__).parent
_REPEATING = ("_utils.py", "nn/modules/module.py")
_OF_SHAPES = ("shape", "size", "dimension", "expected input", "channels", "dtype", "scalar type", "index out of range")
_SHAPES = "change data.transform or data.inputs, or the arguments of the model, so that shapes and types meet"
_OWN = "the layer's own code raised it: call the model with such a batch outside titrant, and mend it there"


def call(module: Any, arrays: Mapping[str, np.ndarray], device: str = "cpu", arguments: Arguments | None = None) -> Any:
    """Answer one batch: arrays by the names of the forward's arguments, which it gets a copy of and may write into.

    `arguments` are what `arguments_of` says of the module and these names, for who calls it often. Raises StepError
    X221 with the failing layer when the forward raises, X223 where it has not these names.
    """
    passed = arguments_of(module, tuple(arrays)) if arguments is None else arguments
    return answer_of(module, tensors_of(arrays, device), passed)


def tensors_of(arrays: Mapping[str, np.ndarray], device: str = "cpu", *, shared: bool = False) -> list[torch.Tensor]:
    """Return arrays as tensors on a device, of their own or with `shared` where the arrays lie as torch would."""
    if device != "cpu":
        return [tensor_of(array).to(device) for array in arrays.values()]
    return [tensor_of(array, copy=not shared) for array in arrays.values()]


def answer_of(module: Any, tensors: list[torch.Tensor], passed: Arguments) -> Any:
    """Answer one batch of tensors; raises as `call` does."""
    try:
        return passed.call(module, tensors)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise failed(module, tensors, error, passed) from None


def refuse_empty(module: torch.nn.Module, *, values: bool = True) -> None:
    """Refuse a module whose weights have no shape yet, or with `values` none to compute with: RecipeError X675."""
    kind = type(module).__name__
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor):
            message = f"{kind} is initialized lazily: {name} has no shape yet"
            raise RecipeError(Diagnostic("X675", message, help="call it once with a batch, as it will get"))
        if values and tensor.is_meta:
            message = f"{kind} has no values: {name} stands on the meta device"
            advice = "load its weights first: to_empty, then load_state_dict"
            raise RecipeError(Diagnostic("X675", message, help=advice))


def named(answer: Any, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Name the tensors of an answer: a tensor, a tuple or list of them, or a mapping (taken by name where it has them).

    Raises StepError X204 when the answer holds no tensors or fewer than there are names.
    """
    if isinstance(answer, torch.Tensor):
        items: list[Any] = [answer]
    elif isinstance(answer, Mapping):
        items = [answer[name] for name in names] if set(names) <= set(answer) else list(answer.values())
    elif isinstance(answer, (tuple, list)):
        items = list(answer)
    else:
        items = []
    tensors = [item for item in items if isinstance(item, torch.Tensor)]
    if len(tensors) < max(len(names), 1):
        raise StepError(
            Diagnostic(
                "X204",
                f"the model answers with {_form(answer)}, and its outputs are {', '.join(names) or 'not named'}",
                help="let the forward return a tensor, a tuple of tensors, or a mapping of name to tensor",
            )
        )
    return dict(zip(names, tensors, strict=False))


def _form(answer: Any) -> str:
    if isinstance(answer, (tuple, list)):
        return f"a {type(answer).__name__} of {len(answer)}"
    return f"a {type(answer).__name__}"


def failed(module: Any, tensors: list[torch.Tensor], error: Exception, arguments: Arguments) -> StepError:
    """Say in one line which layer could not take what it was given.

    What one of torch's own layers says is about shapes and types and is told; what the model's own code says may hold
    values of the rows.
    """
    reason = first_line(error)
    layer, name = _failing_layer(module, tensors, arguments)
    if isinstance(layer, torch.nn.Embedding) and (beyond := _beyond(layer, tensors)) is not None:
        table = f"{layer.num_embeddings:,} tokens, 0 to {layer.num_embeddings - 1}"
        message = (
            f"the model cannot answer a batch of {_forms(tensors)}: {name}it holds {table}, and the batch has others"
        )
        advice = "take the tokenizer that the model was trained with, or build the model for as many tokens as it gives"
        return StepError(Diagnostic("X221", message, help=advice, said=f"the furthest of them is token {beyond}"))
    standard = type(layer).__module__.startswith("torch.nn.modules.") and raised_by_torch(error)
    return StepError(
        Diagnostic(
            "X221",
            f"the model cannot answer a batch of {_forms(tensors)}: {name}{reason if standard else describe(error)}",
            help=_SHAPES if any(word in reason.lower() for word in _OF_SHAPES) else _OWN,
            said="" if standard else said_by(error),
        )
    )


def raised_by_forward(tensors: list[torch.Tensor], error: Exception) -> StepError:
    """Say in one line which line of the model's own code raised; what it said may hold values of the rows."""
    message = f"the model cannot answer a batch of {_forms(tensors)}: {describe(error)}"
    return StepError(Diagnostic("X221", message, help=_OWN, said=said_by(error)))


def _forms(tensors: list[torch.Tensor]) -> str:
    return ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in tensors)


def _beyond(layer: torch.nn.Embedding, tensors: list[torch.Tensor]) -> int | None:
    """Return the token furthest beyond a table of embeddings; None where all whole numbers of the batch are in it."""
    whole = [tensor for tensor in tensors if not tensor.is_floating_point() and tensor.numel()]
    ends = [int(end) for tensor in whole for end in (tensor.min(), tensor.max())]
    others = [token for token in ends if not 0 <= token < layer.num_embeddings]
    return max(others, key=abs, default=None)


def raised_by_torch(error: BaseException) -> bool:
    """Tell whether an error came out of a line of torch's that says what it was given, not what other code had said.

    A scripted module and a process of torch's own repeat the text of the user's exception.
    """
    frames = traceback.extract_tb(error.__traceback__)
    last = Path(frames[-1].filename) if frames else Path()
    return last.is_relative_to(_TORCH) and last.relative_to(_TORCH).as_posix() not in _REPEATING


def _failing_layer(
    module: Any, tensors: list[torch.Tensor], arguments: Arguments
) -> tuple[torch.nn.Module | None, str]:
    """Call once more with hooks and return the innermost layer that was entered and not left, and its name."""
    if not isinstance(module, torch.nn.Module) or isinstance(module, torch.jit.ScriptModule):
        return None, ""
    entered: list[torch.nn.Module] = []
    hooks = [layer.register_forward_pre_hook(lambda layer, _: entered.append(layer)) for layer in module.modules()]
    hooks += [layer.register_forward_hook(lambda *_: _leave(entered)) for layer in module.modules()]
    try:
        arguments.call(module, tensors)
        return None, ""
    except (RuntimeError, TypeError, ValueError, IndexError):
        inner = entered[-1] if entered else module
    finally:
        for hook in hooks:
            hook.remove()
    name = next((name for name, layer in module.named_modules() if layer is inner), "")
    return inner, f"layer {name} ({type(inner).__name__}{_weight(inner)}): " if name else ""


def _leave(entered: list[torch.nn.Module]) -> None:
    entered.pop()


def _weight(layer: torch.nn.Module) -> str:
    weight = getattr(layer, "weight", None)
    return f", weight {tuple(weight.shape)}" if isinstance(weight, torch.Tensor) else ""


class Bordered(Protocol):
    """What says what it takes: a live model, or what was read from a file."""

    @property
    def inputs(self) -> tuple[Spec, ...]:
        """Name, shape and dtype of each."""

    @property
    def recurrence(self) -> Recurrence | None:
        """The state among them; None where there is none."""


def example_arrays(model: Bordered, rows: Rows, count: int) -> dict[str, np.ndarray]:
    """Return the first `count` rows in the order of the model's inputs, beginning anew where there are fewer.

    A model with a fixed batch size gets that many, one with recurrent state their first step. Raises StepError
    X201 when rows and model do not fit together and X202 when there are no rows.
    """
    if len(rows) == 0:
        raise StepError(
            Diagnostic("X202", f"there are no {rows.role} rows to try the model on", help="give the role rows")
        )
    plain = recurrent.stateless(model.inputs, model.recurrence)
    batch = insisted_batch(plain) or count
    indices = np.arange(batch) % len(rows)
    arrays = {name: array[indices] for name, array in rows.inputs.items()}
    # One number for a whole batch is that of the first row.
    arrays |= {name: arrays[name][:1] for name, shape, _ in model.inputs if not shape and name in arrays}
    if model.recurrence is not None:
        arrays = next(recurrent.one_by_one(model.recurrence, arrays, tuple(name for name, _, _ in plain)))
        arrays |= recurrent.zeros(model.recurrence, model.inputs, batch)
    return checked(model.inputs, arrays)


def zeros(specs: tuple[Spec, ...], batch: int = 2) -> dict[str, np.ndarray]:
    """Return inputs of zeros; every free dimension but the first is given as many as there are rows."""
    return {
        name: np.zeros([size if isinstance(size, int) else batch for size in shape], dtype=dtype)
        for name, shape, dtype in specs
    }


# What turns a tensor's values into Python's.
VALUES = {
    torch.Tensor.__bool__: "if or while",
    torch.Tensor.item: ".item()",
    torch.Tensor.tolist: ".tolist()",
    torch.Tensor.numpy: ".numpy()",
    torch.Tensor.__int__: "int()",
    torch.Tensor.__float__: "float()",
    torch.Tensor.__index__: "indexing a sequence",
    torch.Tensor.__contains__: "in",
    torch.equal: "torch.equal",
    torch.Tensor.equal: "torch.equal",
    torch.allclose: "torch.allclose",
    torch.Tensor.allclose: "torch.allclose",
    torch.is_nonzero: "torch.is_nonzero",
    torch.Tensor.is_nonzero: "torch.is_nonzero",
}
# What answers with as many items as its values say, besides an index that is a mask.
COUNTING = frozenset(
    {
        torch.nonzero, torch.Tensor.nonzero, torch.argwhere, torch.Tensor.argwhere, torch.masked_select,
        torch.Tensor.masked_select, torch.unique, torch.Tensor.unique, torch.unique_consecutive,
        torch.Tensor.unique_consecutive,
    }
)  # fmt: skip
# What asks how many items there are.
SIZES = frozenset(
    {
        torch.Tensor.size,
        torch.Tensor.numel,
        torch.numel,
        torch.Tensor.nelement,
        torch.Tensor.__len__,
        torch.Tensor.shape.__get__,  # type: ignore[attr-defined]
    }
)
# What asks for a tensor's form only; its values may be anything.
SHAPE_ONLY = frozenset(
    {
        torch.Tensor.size,
        torch.Tensor.dim,
        torch.Tensor.numel,
        torch.Tensor.__len__,
        torch.Tensor.is_floating_point,
        *(getattr(torch.Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device")),
    }
)


def refuse_decisions(module: torch.nn.Module, arrays: Mapping[str, np.ndarray]) -> Any:
    """Run the forward once and return its answer; PreconditionError X206 if it reads values that it computed.

    Shapes may be read but for how many items values chose (a mask, nonzero), and the values of parameters and buffers,
    which stay as they are.
    """
    constants = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    with torch.inference_mode(), _Refuse(constants):
        return call(module, arrays)


class _Refuse(TorchFunctionMode):
    def __init__(self, constants: set[int]) -> None:
        super().__init__()
        self._constants = constants
        self._counted: dict[int, torch.Tensor] = {}  # tensors whose number of items follows from values

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in VALUES and id(args[0]) not in self._constants:
            raise _reads(f"reads the values of a tensor with {VALUES[func]}")
        if func in SIZES and args and id(args[0]) in self._counted:
            raise _reads("asks how many items a mask or nonzero has chosen")
        answer = func(*args, **(kwargs or {}))
        if _counts(func, args) or any(id(item) in self._counted for item in args):
            self._remember(answer, args, always=_counts(func, args))
        return answer

    def _remember(self, answer: Any, args: tuple[Any, ...], *, always: bool) -> None:
        """Note an answer that has as many items as values chose: made so, or of the shape of one that was."""
        shapes = {self._counted[id(item)].shape for item in args if id(item) in self._counted}
        for tensor in answer if isinstance(answer, tuple) else (answer,):
            if isinstance(tensor, torch.Tensor) and tensor.ndim and (always or tensor.shape in shapes):
                self._counted[id(tensor)] = tensor


def _counts(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether a call's answer has as many items as values say."""
    if func in COUNTING or (func in (torch.where,) and len(args) == 1):
        return True
    if func is not torch.Tensor.__getitem__:
        return False
    places = args[1] if isinstance(args[1], tuple) else (args[1],)
    return any(isinstance(place, torch.Tensor) and place.dtype in (torch.bool, torch.uint8) for place in places)


def _reads(what: str) -> PreconditionError:
    return PreconditionError(
        Diagnostic(
            "X206",
            f"the model's forward {what}: a trace holds one path",
            help="compute both ways and choose with torch.where or a mask, or export torchscript, which is scripted "
            "then and holds both",
        )
    )
