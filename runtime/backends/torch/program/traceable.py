"""Give TorchScript and torch.export files the form that torch's ONNX exporter takes: a module that can be traced."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from types import MethodType
from typing import Any

import torch  # noqa: TID253 - its very subject
from torch.fx import GraphModule, Interpreter, Node  # noqa: TID253 - its very subject

from titrant.runtime.backends.session import Spec
from titrant.runtime.backends.torch.executed import calls_with_constants, nodes_of
from titrant.runtime.backends.torch.program.fast_paths import ENCODER, written_out
from titrant.runtime.backends.torch.program.load import load_program
from titrant.runtime.backends.torch.session import load_script
from titrant.runtime.values import ExportedModel, Recurrence, TorchScriptModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.values.frozen import dataclass

# What a program decides by: a trace would keep the way that the example took.
_DECIDES = ("aten::item", "aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero")
_BRANCHES = "higher_order"
# What only states that sizes are as they are.
_STATES = ("aten::_assert", "aten::sym_constrain", "aten::_guards")
_SIZES = ("aten::sym_size", "aten::sym_numel")
_NORMALIZES = "aten::layer_norm"
_SLICE, _LAST = "aten::slice", 2**63 - 1
_STACK, _AGAIN = "nn_module_stack", re.compile(r"@\d+")


@dataclass(frozen=True)
class Traceable:
    """A module that answers as a file does, what it takes and gives, and its tensors by layer: {layer: {name: tensor}}.

    Tensors that are constants of a script's code have lost their names; these are what its layers are called.
    """

    module: torch.nn.Module
    inputs: tuple[Spec, ...]
    outputs: tuple[str, ...]
    recurrence: Recurrence | None
    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    normalizes: bool  # whether it normalizes layers


def traceable(model: TorchScriptModel | ExportedModel) -> Traceable:
    """Load a file and return it as a module.

    Raises StepError X212 for a file that torch cannot load, PreconditionError X285 for a program with branches.
    """
    if isinstance(model, TorchScriptModel):
        script: Any
        script, border = load_script(model)
        tensors = _tensors({**dict(script.named_parameters()), **dict(script.named_buffers())})
        held = {**tensors, **{name: own for name, _, own in calls_with_constants(script.inlined_graph)}}
        kinds = {node.kind() for node in nodes_of(script.inlined_graph)}
        written_out(script)
        normalizes = bool(kinds.intersection((_NORMALIZES, ENCODER)))
        return Traceable(script.eval(), border.inputs, border.outputs, border.recurrence, held, normalizes)
    program, border = load_program(model)
    module = program.module()
    _check_decisions(module)
    held = _tensors({**program.state_dict, **program.constants})
    normalizes = any(_operation(node) == _NORMALIZES for node in _nodes(module))
    return Traceable(_replayed(module), border.inputs, border.outputs, border.recurrence, held, normalizes)


def _tensors(named: Mapping[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
    owners: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in named.items():
        owner, _, own = name.rpartition(".")
        if owner and isinstance(value, torch.Tensor):
            owners.setdefault(owner, {})[own] = value
    return owners


def _check_decisions(module: GraphModule) -> None:
    for node in _nodes(module):
        name = _operation(node)
        if name in _DECIDES or _is_branch(node):
            what = "chooses between branches" if _is_branch(node) else "reads values that it computes"
            raise PreconditionError(
                Diagnostic(
                    "X285",
                    f"the program {what} ({node.name}), and a trace into ONNX holds one path",
                    help="give the model as a scripted TorchScript file, or leave it in torch: export exported or aoti",
                )
            )


def _nodes(module: torch.nn.Module) -> Iterator[Node]:
    for part in module.modules():
        if isinstance(part, GraphModule):
            yield from part.graph.nodes


def _is_branch(node: Node) -> bool:
    return getattr(node.target, "namespace", "") == _BRANCHES


def _operation(node: Node) -> str:
    return str(getattr(getattr(node.target, "_schema", None), "name", ""))


def _replayed(module: GraphModule) -> GraphModule:
    """Let a program's module run its operations one by one, in the scopes of the modules that they were traced in."""
    for node in list(module.graph.nodes):
        if node.op == "call_module" or _operation(node).startswith(_STATES):
            module.graph.erase_node(node)
    module.recompile()
    module._forward_pre_hooks.clear()  # they compare sizes, which a trace does not have
    module.train = MethodType(torch.nn.Module.train, module)  # type: ignore[method-assign]
    module.forward = lambda *inputs: _Scoped(module).run(*inputs)  # type: ignore[assignment]
    return module


class _Scoped(Interpreter):
    """Runs a program so that a trace of it has the names of its modules, and sizes that stay free."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self._scope = ""

    def run(self, *inputs: Any, **_: Any) -> Any:
        try:
            return super().run(*inputs)
        finally:
            self._enter("")

    def run_node(self, node: Node) -> Any:
        if node.op == "call_function":
            self._enter(_module_of(node))
        return super().run_node(node)

    def _enter(self, scope: str) -> None:
        """Leave one module and enter another: what follows each other in one is one call of it."""
        state = torch._C._get_tracing_state()
        if state is None or scope == self._scope:
            return
        if self._scope:
            state.pop_scope()
        if scope:
            state.push_scope(f"torch.nn.Module::{scope}")
        self._scope = scope

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        # torch.ops takes numbers only, so that a trace would hold the example's sizes; Python's calls are followed.
        name = getattr(getattr(target, "_schema", None), "name", "")
        if name in _SIZES:
            return args[0].size(*args[1:]) if name == _SIZES[0] else args[0].numel()
        if name.startswith("aten::") and _has_sizes(target, args):
            return _called(name, args, kwargs)
        if target is operator.floordiv and any(isinstance(item, torch.Tensor) for item in args):
            return torch.div(*args, rounding_mode="floor")
        return super().call_function(target, args, kwargs)


def _module_of(node: Node) -> str:
    """Return the module that an operation was traced in; a further call of one counts as the first."""
    paths = [str(path) for path, _ in (node.meta.get(_STACK) or {}).values()]
    return _AGAIN.sub("", paths[-1]) if paths else ""


def _has_sizes(target: Any, args: Any) -> bool:
    """Whether a number that an operation takes is a tensor: a size that is traced."""
    for argument, value in zip(target._schema.arguments, args, strict=False):
        items = value if isinstance(value, list | tuple) else (value,)
        wants = str(argument.type)
        if "Tensor" not in wants and "number" not in wants and any(isinstance(item, torch.Tensor) for item in items):
            return True
    return False


def _called(name: str, args: Any, kwargs: Any) -> Any:
    short = name.removeprefix("aten::")
    if name == _SLICE:
        tensor, dimension, begin, end, step = (*args, *(None,) * 5)[:5]
        stop = None if isinstance(end, int) and end == _LAST else end
        return tensor[(*(slice(None),) * (dimension or 0), slice(begin, stop, step))]
    call: Callable[..., Any] | None = getattr(torch.Tensor, short, None) or getattr(torch, short, None)
    assert call is not None, name
    return call(*args, **{key: value for key, value in kwargs.items() if key != "implicit"})
