"""Find out what a module's forward takes, and pass tensors to it by the names of its arguments."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.data.wiring import ModelInput, Signature
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

UNKNOWN = Signature((), named=False)


def signature_of(module: torch.nn.Module) -> Signature:
    """Return the inputs of a module's forward, from its source, or from the graph of a traced or scripted module."""
    inner = _inside(module)
    if isinstance(inner, torch.jit.ScriptModule):
        schema = inner._c._get_method("forward").schema  # type: ignore[no-untyped-call]
        return Signature(
            tuple(ModelInput(item.name, required=not item.has_default_value()) for item in schema.arguments[1:])
        )
    return forward_signature(inner.forward)


def forward_signature(forward: Callable[..., Any], *, bound: bool = True) -> Signature:
    """Return what a forward takes; one that is not `bound` to a module has that as its first parameter.

    `UNKNOWN` where Python cannot tell. A forward of `*tensors` has no names, nor one that hands everything on.
    """
    try:
        parameters = list(inspect.signature(forward).parameters.values())[0 if bound else 1 :]
    except (TypeError, ValueError):
        return UNKNOWN
    kinds = [item.kind for item in parameters]
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    inputs = tuple(
        ModelInput(item.name, required=item.default is item.empty) for item in parameters if item.kind not in several
    )
    named = inspect.Parameter.VAR_POSITIONAL not in kinds
    return Signature(inputs, named and inspect.Parameter.VAR_KEYWORD in kinds, named)


def _inside(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module whose forward names the inputs: a cast one hands on what it is given."""
    from titrant.runtime.backends.torch.module import Cast

    while isinstance(module, Cast):
        module = module.module
    return module


@dataclass(frozen=True)
class Arguments:
    """How a module is called: which of its inputs stand where, by place in the order of `names`, and which by name."""

    positions: tuple[int, ...]
    keywords: tuple[tuple[str, int], ...] = ()

    def call(self, module: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> Any:
        """Call a module with tensors that are in the order of the names."""
        return module(
            *(tensors[place] for place in self.positions), **{name: tensors[place] for name, place in self.keywords}
        )

    @property
    def in_order(self) -> bool:
        """Whether the tensors are simply handed over as they come."""
        return not self.keywords and self.positions == tuple(range(len(self.positions)))


def arguments_of(module: Any, names: Sequence[str]) -> Arguments:
    """Say how inputs of these names are passed: each by the name that the forward has.

    What stands at the beginning of the forward, without a gap, goes by its place, which is the same to the forward and
    is all that a trace can follow. A lone input goes to the first argument whatever it is called, and so do the inputs
    of a forward that has no names. Raises StepError X223 for names that the forward does not have.
    """
    count = len(names)
    if not isinstance(module, torch.nn.Module):
        return Arguments(tuple(range(count)))
    signature = signature_of(module)
    order = [item.name for item in signature.inputs]
    lone = count == 1 and (names[0] not in order or not order)
    if not signature.named or lone:
        return Arguments(tuple(range(count)))
    unknown = [name for name in names if name not in order]
    if unknown and not signature.any_name:
        message = f"the model takes {', '.join(order) or 'nothing'}, and it is given {', '.join(names)}"
        raise StepError(Diagnostic("X223", message, help="name the inputs as the model's forward does"))
    leading = []
    for name in order:
        if name not in names or _keyword_only(module, name):
            break
        leading.append(names.index(name))
    rest = tuple((name, place) for place, name in enumerate(names) if place not in leading)
    return Arguments(tuple(leading), rest)


def takes_more(module: torch.nn.Module, names: Sequence[str]) -> bool:
    """Whether a forward has an argument that is passed by name alone, or one besides `names` that is a value if left.

    Examples are `forward(x, *, scale=1.0)` and `forward(x, scale=1.0)`, but not `forward(x, mask=None)`.
    """
    inner = _inside(module)
    if isinstance(inner, torch.jit.ScriptModule):
        return False
    if any(_keyword_only(module, item.name) for item in signature_of(module).inputs):
        return True
    try:
        parameters = inspect.signature(inner.forward).parameters.values()
    except (TypeError, ValueError):
        return False
    others = [item.default for item in parameters if item.name not in names]
    return any(default is not inspect.Parameter.empty and default is not None for default in others)


def _keyword_only(module: torch.nn.Module, name: str) -> bool:
    inner = _inside(module)
    if isinstance(inner, torch.jit.ScriptModule):
        return False
    if isinstance(inner, torch.fx.GraphModule) and (info := getattr(inner.graph._codegen, "pytree_info", None)):
        # A program takes by name what its example was given by name, whatever its signature says.
        return info.in_spec is not None and name in (info.in_spec.child(1).context or ())
    return inspect.signature(inner.forward).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
