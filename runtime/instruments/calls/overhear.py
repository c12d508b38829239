"""Call a module once on given inputs and tell a listener what each layer and each operation answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.arguments import arguments_of, signature_of
from titrant.runtime.backends.torch.call import raised_by_torch, refuse_empty
from titrant.runtime.instruments.refused.inputs import ADVICE, REFUSED
from titrant.runtime.user_code import call_unforked, describe, said_by
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.values.text import first_line

# (layer, module, its answer), after each layer; (layer, operation, its operands by name, its answer), after each
# operation.
Answered = Callable[[str, torch.nn.Module, Any], None]
Operated = Callable[[str, str, Mapping[str, Any], Any], None]
ForwardInputs = Any  # a tensor or array, several in order, or a mapping of the forward's names to them
_FAILURES = (
    RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, NotImplementedError, AssertionError,
)  # fmt: skip


def overhear(
    module: torch.nn.Module,
    inputs: ForwardInputs,
    *,
    answered: Answered | None = None,
    operated: Operated | None = None,
) -> Any:
    """Call a module in evaluation mode, without gradients, and return its answer.

    `inputs` are a tensor or array, a list of them in the order of the forward, or a mapping of its names to them.
    Operations are named as torch does (`aten::relu`), with the layer that is being called, "" for the module itself.
    Fast paths that torch takes around layers are off meanwhile, so that each operation is seen. A compiled module is
    called as it was before. Every part's training mode is as it was afterwards. Raises RecipeError X675 for a module
    without values and X682 for inputs that hold no tensor, StepError X683 with the layer where the forward raises and
    X674 for one that forks.
    """
    module = getattr(module, "_orig_mod", module)
    refuse_empty(module)
    tensors, call = _call(module, inputs)
    entered: list[str] = []
    listening = [_Operations(entered, operated)] if operated is not None else []
    with _evaluating(module), _hooked(module, entered, answered), _by_node(module, entered, answered), torch.no_grad():
        try:
            for mode in listening:
                mode.__enter__()
            try:
                return call_unforked(type(module).__name__, call)
            finally:
                for mode in listening:
                    mode.__exit__(None, None, None)
        except _FAILURES as error:
            raise _failed(module, entered, tensors, error) from None


class _Operations(TorchDispatchMode):
    """Tells a listener of every operation below autograd, whoever calls it."""

    def __init__(self, entered: list[str], operated: Operated) -> None:
        super().__init__()
        self._entered, self._operated = entered, operated

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        names = (argument.name for argument in func._schema.arguments)
        operands = dict(zip(names, args, strict=False)) | dict(kwargs or {})
        self._operated(self._entered[-1] if self._entered else "", func._schema.name, operands, answer)
        return answer


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    training = [(part, part.training) for part in module.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with suppress(NotImplementedError):  # an exported program has no modes
        module.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for part, was in training:
            part.training = was


@contextmanager
def _hooked(module: torch.nn.Module, entered: list[str], answered: Answered | None) -> Iterator[None]:
    """Note which layer is being called; the hooks of a script's own parts are never called, and it has none."""
    hooks = []
    if not isinstance(module, torch.jit.ScriptModule):
        for name, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule) and name:
                continue
            enter, leave = _hooks(name, entered, answered)
            hooks += [part.register_forward_pre_hook(enter, prepend=True), part.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _by_node(module: torch.nn.Module, entered: list[str], answered: Answered | None) -> Iterator[None]:
    """Run an exported program node by node meanwhile: its modules hold weights and are never called."""
    if not isinstance(module, torch.fx.GraphModule) or not any(map(_layer_of, module.graph.nodes)):
        yield
        return
    runner, order = _Nodes(module, entered, answered), [item.name for item in signature_of(module).inputs]
    module.forward = lambda *args, **named: runner.run(*args, *(named[name] for name in order if name in named))
    try:
        yield
    finally:
        del module.forward


class _Nodes(torch.fx.Interpreter):
    """Runs the nodes of a program, each as an operation of the layer that the program says it is of."""

    def __init__(self, module: torch.fx.GraphModule, entered: list[str], answered: Answered | None) -> None:
        super().__init__(module)
        self.extra_traceback = False  # an error is told with the layer, not with the node
        self._parts, self._entered, self._answered = dict(module.named_modules()), entered, answered

    def run_node(self, n: torch.fx.Node) -> Any:
        """Run a node; the last one of a layer gives the layer's answer."""
        layer = _layer_of(n)
        self._entered.append(layer)
        answer = super().run_node(n)
        self._entered.pop()
        # Modules without weights, such as a dropout, are not kept in a program.
        if layer and layer in self._parts and self._answered is not None and _layer_of(n.next) != layer:
            self._answered(layer, self._parts[layer], answer)
        return answer


def _layer_of(node: torch.fx.Node) -> str:
    """Return the innermost module that a program says a node is of, as it is named when it is first called."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).partition("@")[0] if stack else ""


def _hooks(name: str, entered: list[str], answered: Answered | None) -> tuple[Any, Any]:
    def enter(part: Any, _: Any) -> None:
        entered.append(name)

    def leave(part: Any, _: Any, answer: Any) -> None:
        while entered and entered.pop() != name:
            pass  # layers whose own code caught an error on the way
        if answered is not None:
            answered(name, part, answer)

    return enter, leave


def _call(module: torch.nn.Module, inputs: ForwardInputs) -> tuple[list[torch.Tensor], Callable[[], Any]]:
    """Return the tensors that are handed over, and what hands them over."""
    place = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    if isinstance(inputs, Mapping):
        named = {str(name): _tensor(value, place) for name, value in inputs.items()}
        held = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
        if len(held) < len(named) or not held:
            return _given(held), lambda: module(**named)
        passed = arguments_of(module, tuple(held))
        return list(held.values()), lambda: passed.call(module, list(held.values()))
    several = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    tensors = [_tensor(value, place) for value in several]
    order = [item.name for item in signature_of(module).inputs] if isinstance(module, torch.fx.GraphModule) else []
    if tensors and len(order) == len(tensors):  # a program may take some by name alone
        passed = arguments_of(module, tuple(order))
        return _given(dict(zip(order, tensors, strict=True))), lambda: passed.call(module, tensors)
    return _given({str(at): value for at, value in enumerate(tensors)}), lambda: module(*tensors)


def _given(values: Mapping[str, Any]) -> list[torch.Tensor]:
    tensors = [value for value in values.values() if isinstance(value, torch.Tensor)]
    if not tensors:
        message = "the inputs hold no tensor"
        raise RecipeError(Diagnostic("X682", message, help="give a tensor, a list of them, or {name: tensor}"))
    return tensors


def _tensor(value: Any, place: torch.device) -> Any:
    """Return an array as a tensor where the module is, in a type that inputs have; anything else stays as it is.

    It is a copy: a forward may write into what it is given.
    """
    if isinstance(value, torch.Tensor):
        return value.clone()
    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(value.astype(np.float32 if value.dtype == np.float64 else value.dtype, "C")).to(place)


def _failed(
    module: torch.nn.Module, entered: Sequence[str], tensors: Sequence[torch.Tensor], error: Exception
) -> StepError:
    """Say in one line which layer could not take what it was given; what the model's own code says is kept apart."""
    given = ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in tensors)
    name = entered[-1] if entered else ""
    layer = module.get_submodule(name) if name else module
    weight = getattr(layer, "weight", None)
    shaped = f", weight {tuple(weight.shape)}" if isinstance(weight, torch.Tensor) else ""
    where = f"layer {name} ({type(layer).__name__}{shaped}): " if name else ""
    own = type(layer).__module__.startswith("torch.nn.modules.") and raised_by_torch(error)
    reason = first_line(error) if own or not entered else describe(error)
    message = f"the model cannot answer a batch of {given}: {where}{reason}"
    return StepError(Diagnostic(REFUSED, message, help=ADVICE, said="" if own else said_by(error)))


def tensors_of(answer: Any) -> list[torch.Tensor]:
    """List the tensors of an answer, however they are nested."""
    if isinstance(answer, torch.Tensor):
        return [answer]
    if isinstance(answer, Mapping):
        return [tensor for value in answer.values() for tensor in tensors_of(value)]
    if isinstance(answer, (tuple, list)):
        return [tensor for value in answer for tensor in tensors_of(value)]
    return []
