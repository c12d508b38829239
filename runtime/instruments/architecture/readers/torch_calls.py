"""Follow the tensors of one call through a torch module: which layer or function read which, and what it made.

Calls of functions are seen as torch's function modes see them, as the user wrote them, and calls of modules by hooks;
no graph is traced, so that any Python may run in between.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import torch  # noqa: TID253 - the file defines a torch function mode
from torch.nn.modules.module import (  # noqa: TID253
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode  # noqa: TID253
from torch.utils._pytree import tree_leaves  # noqa: TID253
from torch.utils.weak import WeakTensorKeyDictionary  # noqa: TID253

from titrant.runtime.inspect.torch_forward import counter
from titrant.runtime.instruments.architecture.architecture import TRACED, Architecture, Operation, is_low_bit
from titrant.runtime.instruments.architecture.readers.torch_layers import (
    detail_of,
    is_layer,
    kind_of,
    parameters_of,
    precision_of,
)

# What hands a tensor on as it is: no box is drawn for it.
_PASSES = (
    "__get__", "contiguous", "detach", "clone", "dropout", "feature_dropout", "alpha_dropout", "to", "float", "type_as",
    "requires_grad_", "cpu", "cuda", "dropout2d", "dropout1d", "dropout3d", "lift_fresh", "as_subclass", "alias",
)  # fmt: skip
# A module of the user's without parts, and with so few functions in it, is one box.
_FEW = 8


class CallTrace(TorchFunctionMode):
    """Records what one call of `module` does; `run` gives its architecture.

    `cases` is the batch size of the call, by which FLOPs are divided and which shapes name "batch".
    """

    def __init__(self, module: torch.nn.Module, cases: int) -> None:
        super().__init__()
        self._module, self._cases = module, cases
        self._names = {id(part): name for name, part in module.named_modules()}
        self._operations: list[Operation] = []
        self._made: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        # Of tensors that were made of weights alone: which weights.
        self._of_weights: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._shapes: dict[str, tuple[int | str, ...]] = {}
        self._dtypes: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._stack: list[_Call] = []
        self._depth_of_layer = 0
        self._calls: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        self._counted: dict[int, str] = {}
        self._counter = counter()

    def run(self, name: str, inputs: Mapping[str, Any], call: Callable[[], Any]) -> Architecture:
        """Make the call, in evaluation mode as it is, and return what was seen; `inputs` are its tensors by name."""
        given: list[str] = []
        for label, value in inputs.items():
            tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
            for place, tensor in enumerate(tensors):
                ending = f"{label}.{place}" if len(tensors) > 1 else label
                given.append(ending)
                self._name(tensor, ending)
                self._dtypes[ending] = str(tensor.dtype).removeprefix("torch.")
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(self._counter)
            before = register_module_forward_pre_hook(self._enter_module)
            after = register_module_forward_hook(self._leave_module, with_kwargs=True, always_call=True)
            stack.callback(before.remove)
            stack.callback(after.remove)
            stack.enter_context(self)
            answer = call()
        return self._architecture(name, tuple(given), answer)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function and, outside layers, record it."""
        kwargs = kwargs or {}
        if self._depth_of_layer or not self._stack:
            return function(*args, **kwargs)
        begun = self._counter.get_total_flops()
        before = _tensors((args, kwargs))
        sources = self._sources(before)
        answer = function(*args, **kwargs)
        made = _tensors(answer)
        if made:
            label = str(getattr(function, "__name__", "function")).strip("_")
            self._record(label, before, sources, made, self._counter.get_total_flops() - begun)
        return answer

    def _record(
        self,
        label: str,
        read: "Sequence[torch.Tensor]",
        sources: tuple[str, ...],
        made: "Sequence[torch.Tensor]",
        flops: int,
    ) -> None:
        weights = [tensor for tensor in read if isinstance(tensor, torch.nn.Parameter)]
        weights += [weight for tensor in read for weight in self._of_weights.get(tensor, ())]
        if not sources:  # it computes with weights and constants alone
            for tensor in made:
                self._of_weights[tensor] = tuple(weights)
            return
        if label in _PASSES or label.rstrip("_") in _PASSES or f"__{label}__" in _PASSES:
            for tensor in made:
                if tensor not in self._made or self._made[tensor] != sources[0]:
                    self._made[tensor] = sources[0]
            return
        kind = label[1:] if label.startswith("i") and label[1:] in ("add", "mul", "sub", "div") else label.rstrip("_")
        block = self._stack[-1].path
        name = self._numbered(".".join([*block, kind]))
        fresh = [weight for weight in dict.fromkeys(weights) if id(weight) not in self._counted]
        self._counted |= dict.fromkeys(map(id, fresh), name)
        weight = next((tensor for tensor in weights if tensor.ndim > 1), next(iter(weights), None))
        self._add(
            Operation(
                name, kind, block, sources, self._outputs(name, made), sum(each.numel() for each in fresh),
                flops // self._cases or None, precision_of(weight),
                quantized=weight is not None and is_low_bit(str(weight.dtype)),
                detail="×".join(map(str, weight.shape)) if weight is not None else "",
            )
        )  # fmt: skip

    def _enter_module(self, part: torch.nn.Module, args: Any) -> None:
        if self._depth_of_layer:
            self._depth_of_layer += 1
            return
        path = self._path(part)
        layer = is_layer(part) and bool(self._stack)
        if layer:
            self._depth_of_layer = 1
        elif path:
            self._kinds[".".join(path)] = kind_of(part)
        self._stack.append(_Call(part, path, len(self._operations), self._counter.get_total_flops()))

    def _leave_module(self, part: torch.nn.Module, args: Any, kwargs: Any, answer: Any) -> None:
        if self._depth_of_layer > 1:
            self._depth_of_layer -= 1
            return
        layer, self._depth_of_layer = self._depth_of_layer == 1, 0
        if not self._stack:
            return
        call = self._stack.pop()
        if layer:
            self._layer(part, call, self._sources(_tensors((args, kwargs))), answer)
        elif self._stack and self._is_small(part, call):
            inside = self._operations[call.first :]
            self._operations[call.first :] = [self._merged(part, call, inside, answer)]
            del self._kinds[".".join(call.path)]

    def _layer(self, part: torch.nn.Module, call: "_Call", sources: tuple[str, ...], answer: Any) -> None:
        name = ".".join(call.path)
        held = list(part.parameters())
        fresh = [weight for weight in dict.fromkeys(held) if id(weight) not in self._counted]
        shared = next((self._counted[id(weight)] for weight in held if id(weight) in self._counted), "")
        own = sum(weight.numel() for weight in fresh) if held else parameters_of(part)
        if not held and (first := self._counted.get(id(part))):
            own, shared = 0, first
        self._counted |= dict.fromkeys(map(id, fresh), name) | ({} if held else {id(part): name})
        flops = (self._counter.get_total_flops() - call.flops) // self._cases
        precision = precision_of(part)
        self._add(
            Operation(
                name, kind_of(part), call.path[:-1], sources, self._outputs(name, _tensors(answer)), own,
                flops or None, precision, is_low_bit(precision), detail_of(part),
                shared if own == 0 and shared != name else "",
            )
        )  # fmt: skip

    def _is_small(self, part: torch.nn.Module, call: "_Call") -> bool:
        """Tell whether a module of the user's is drawn as one box: without parts, and doing little."""
        count = len(self._operations) - call.first
        return next(part.children(), None) is None and 0 < count <= _FEW

    def _merged(self, part: torch.nn.Module, call: "_Call", inside: Sequence[Operation], answer: Any) -> Operation:
        name = ".".join(call.path)
        made = {output for operation in inside for output in operation.outputs}
        reads = dict.fromkeys(item for operation in inside for item in operation.inputs if item not in made)
        given = [name for name in self._sources(_tensors(answer)) if name in made]
        counts = [operation.flops for operation in inside if operation.flops]
        parameters = sum(operation.parameters for operation in inside)
        return Operation(
            name, kind_of(part), call.path[:-1], tuple(reads), tuple(given), parameters,
            sum(counts) if counts else None, next((each.precision for each in inside if each.precision), ""),
            any(each.quantized for each in inside), detail_of(part),
        )  # fmt: skip

    def _path(self, part: torch.nn.Module) -> tuple[str, ...]:
        """Return where a module stands, as often as it was called before: each call of a shared one is its own block."""
        name = self._names.get(id(part))
        if name is None:  # made during the call
            above = self._stack[-1].path if self._stack else ()
            return (*above, self._numbered(type(part).__name__))
        if not name:
            return ()
        caller = self._stack[-1] if self._stack else None
        prefix = self._names.get(id(caller.part), "") if caller else ""
        inner = name.removeprefix(f"{prefix}.") if prefix else name
        parts = inner.split(".")
        path = (*(caller.path if caller else ()), *parts)
        joined = ".".join(path)
        self._calls[joined] = self._calls.get(joined, 0) + 1
        again = self._calls[joined]
        return path if again == 1 else (*path[:-1], f"{path[-1]} ({again})")

    def _numbered(self, name: str) -> str:
        self._taken[name] = self._taken.get(name, 0) + 1
        return name if self._taken[name] == 1 else f"{name}_{self._taken[name] - 1}"

    def _sources(self, tensors: "Sequence[torch.Tensor]") -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._made[tensor] for tensor in tensors if tensor in self._made))

    def _outputs(self, name: str, made: "Sequence[torch.Tensor]") -> tuple[str, ...]:
        names = []
        for place, tensor in enumerate({id(tensor): tensor for tensor in made}.values()):
            label = f"{name}:{place}"  # no name of an input has a colon
            names.append(label)
            self._name(tensor, label)
        return tuple(names)

    def _name(self, tensor: torch.Tensor, name: str) -> None:
        self._made[tensor] = name
        sizes = tuple(tensor.shape)
        free = bool(sizes) and sizes[0] == self._cases
        self._shapes[name] = ("batch", *sizes[1:]) if free else sizes

    def _add(self, operation: Operation) -> None:
        if operation.inputs or operation.outputs:
            self._operations.append(operation)

    def _architecture(self, name: str, given: tuple[str, ...], answer: Any) -> Architecture:
        renamed: dict[str, str] = {}
        outputs: list[str] = []
        for label, tensor in _named(answer):
            made = self._made.get(tensor)
            if made is None:
                continue
            if made not in given:
                renamed.setdefault(made, f"{label} (output)" if label in given else label)
                self._dtypes[renamed[made]] = str(tensor.dtype).removeprefix("torch.")
            outputs.append(renamed.get(made, made))
        operations = tuple(_renamed(operation, renamed) for operation in self._operations)
        used = {item for operation in operations for item in (*operation.inputs, *operation.outputs)} | {
            *given,
            *outputs,
        }
        shapes = {renamed.get(old, old): shape for old, shape in self._shapes.items()}
        return Architecture(
            name, operations, {item: shape for item, shape in shapes.items() if item in used}, given,
            tuple(dict.fromkeys(outputs)), self._kinds, self._dtypes, TRACED,
        )  # fmt: skip


@dataclass(frozen=True)
class _Call:
    part: torch.nn.Module
    path: tuple[str, ...]
    first: int  # the place of the first operation in it
    flops: int  # so far, when it began


def _renamed(operation: Operation, names: Mapping[str, str]) -> Operation:
    inputs = tuple(names.get(name, name) for name in operation.inputs)
    outputs = tuple(names.get(name, name) for name in operation.outputs)
    if (inputs, outputs) == (operation.inputs, operation.outputs):
        return operation
    return replace(operation, inputs=inputs, outputs=outputs)


def _tensors(value: Any) -> "list[torch.Tensor]":
    return [tensor for _, tensor in _named(value)]


def _named(value: Any, name: str = "") -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the tensors in what a module answers, by key, by place, or the only one as "output"."""
    if isinstance(value, torch.Tensor):
        yield name or "output", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _named(item, f"{name}.{place}" if name else f"output_{place}")
    elif is_dataclass(value) and not isinstance(value, type):
        for key, item in vars(value).items():
            yield from _named(item, f"{name}.{key}" if name else str(key))
