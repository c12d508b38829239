"""Read a torch module: by one call on tensors without values, on real ones where its code reads them, or by parts."""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from titrant.runtime.inspect.torch import list_layers
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph, of_layers
from titrant.runtime.user_code import RaisedError, call, call_unforked, reason_of
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import TensorSpec
from titrant.schema.values.text import first_line
from titrant.schema.values.units import counted

if TYPE_CHECKING:
    import torch

_GIVEN = "give the tensors of one call that the model answers, the batch first"


@dataclass(frozen=True)
class CallTensors:
    """What a module is called with: tensors by place, and by name."""

    places: tuple[Any, ...] = ()
    names: Mapping[str, Any] = field(default_factory=dict)


def of_module(name: str, module: "torch.nn.Module", inputs: CallTensors | None) -> LayerGraph:
    """Return the architecture of a live module, which stays as it is: a copy that shares its weights is called.

    Raises RecipeError X675 for layers without sizes and no inputs, StepError X156 when the call fails.
    """
    lazy = [path for path, part in module.named_modules() if _is_lazy(part)]
    if inputs is None:
        if lazy:
            from titrant.runtime.backends.torch.call import refuse_empty

            refuse_empty(module, values=False)
        return of_parts(name, module)
    shadow = _shadow(module)
    reason = ""
    with _kept_generators(module):
        try:
            drawn = _followed(name, shadow, inputs, _fake_mode())
        except StepError as error:
            reason = reason_of(error)
            shadow = _shadow(module)
            drawn = _followed(name, shadow, inputs, None)
    notes = list(drawn.notes)
    if reason:
        notes.append(f"its code decides by values ({reason[:100]}): drawn is the way that these inputs take")
    if lazy:
        notes.append(f"{counted(len(lazy), 'layer')} had no size before this call: {', '.join(lazy[:3])}")
    return replace(drawn, notes=(*notes, *_unreached(drawn, shadow)))


@contextmanager
def _kept_generators(module: "torch.nn.Module") -> Iterator[None]:
    """Leave torch's generators as they were: layers without sizes draw weights in the call, and code may draw too."""
    import torch

    used = {tensor.device.index or 0 for tensor in module.parameters() if tensor.device.type == "cuda"}
    with torch.random.fork_rng(sorted(used), device_type="cuda"):
        yield


def of_parts(name: str, module: "torch.nn.Module", notes: Sequence[str] = ()) -> LayerGraph:
    """Return the layers of a module in the order of their registration, without data flow."""
    layers = list_layers(module, {})
    kinds = {path: type(part).__name__ for path, part in module.named_modules()}
    return of_layers(name, layers, tuple(notes), kinds)


def follow(name: str, module: "torch.nn.Module", specs: Sequence[TensorSpec], cases: int = 2) -> LayerGraph:
    """Call a module with zeros of the shapes of `specs`, the batch `cases`, and return what was seen.

    Whether tensors have values is the caller's choice, by the mode that it enters first.
    """
    import torch

    from titrant.runtime.backends.session import insisted_batch
    from titrant.runtime.backends.torch.arguments import arguments_of

    cases = insisted_batch([(spec.name, spec.shape, spec.dtype) for spec in specs]) or cases
    place = next((tensor.device for tensor in module.parameters()), None)
    tensors = [
        torch.zeros(
            tuple(size if isinstance(size, int) and at else cases for at, size in enumerate(spec.shape)),
            dtype=getattr(torch, spec.dtype), device=place,
        )
        for spec in specs
    ]  # fmt: skip
    arguments = arguments_of(module, tuple(spec.name for spec in specs))
    named = {spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)}
    drawn = _traced(name, module, named, lambda: arguments.call(module, tensors), cases)
    return replace(drawn, notes=(*drawn.notes, *_unreached(drawn, module)))


def of_specs(name: str, module: "torch.nn.Module", specs: Sequence[TensorSpec]) -> LayerGraph:
    """Return the architecture of a live module by a call with zeros of these shapes; it stays as it is.

    Raises StepError X156 when the call fails with values and without.
    """
    with _kept_generators(module):
        try:
            with _fake_mode():
                return follow(name, _shadow(module), specs)
        except StepError:
            drawn = follow(name, _shadow(module), specs)
    return replace(drawn, notes=(*drawn.notes, "its code decides by values: drawn is the way that zeros take"))


def _traced(
    name: str, module: "torch.nn.Module", named: Mapping[str, Any], made: Callable[[], Any], cases: int
) -> LayerGraph:
    from titrant.runtime.backends.torch.call import raised_by_torch
    from titrant.runtime.backends.torch.determinism import plain_attention, uncompiled
    from titrant.runtime.instruments.architecture.readers.torch_calls import CallTrace

    trace = CallTrace(module, cases)
    with plain_attention(), uncompiled(), _quiet():
        try:
            drawn: LayerGraph = call(name, call_unforked, name, lambda: trace.run(name, named, made))
        except StepError as error:
            if not isinstance(error, RaisedError):
                raise
            failed = replace(error.diagnostics[0], code="X156", help=_GIVEN)
            cause = error.__context__
            if isinstance(cause, RuntimeError) and raised_by_torch(cause):
                failed = replace(failed, message=f"{failed.message}: {first_line(cause)}", said="")
            raise RaisedError(failed, reason_of(error)) from None
    return drawn


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from logging, beside the error that it raises, that a call without values failed."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _followed(name: str, module: "torch.nn.Module", inputs: CallTensors, mode: Any) -> LayerGraph:
    import torch
    from torch.utils._pytree import tree_map_only

    def without_values(tensor: "torch.Tensor") -> "torch.Tensor":
        return mode.from_tensor(tensor) if mode is not None else tensor

    entered: AbstractContextManager[Any] = nullcontext() if mode is None else mode
    with entered:
        places = tree_map_only(torch.Tensor, without_values, inputs.places)
        names = tree_map_only(torch.Tensor, without_values, dict(inputs.names))
        labels = _labels(module, len(places))
        named = {**dict(zip(labels, places, strict=True)), **names}
        return _traced(name, module, named, lambda: module(*places, **names), _cases(inputs))


def _labels(module: "torch.nn.Module", count: int) -> list[str]:
    from titrant.runtime.backends.torch.arguments import signature_of

    try:
        names = [item.name for item in signature_of(module).inputs]
    except (TypeError, ValueError):
        names = []
    return [*names[:count], *(f"input_{place}" for place in range(len(names), count))]


def _cases(inputs: CallTensors) -> int:
    import torch
    from torch.utils._pytree import tree_leaves

    tensors = [leaf for leaf in tree_leaves((inputs.places, dict(inputs.names))) if isinstance(leaf, torch.Tensor)]
    sizes = {int(tensor.shape[0]) for tensor in tensors if tensor.ndim}
    return max(1, next(iter(sizes))) if len(sizes) == 1 else 1


def _fake_mode() -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def _shadow(module: "torch.nn.Module") -> "torch.nn.Module":
    """Return a copy in evaluation mode that shares the weights, so that a call leaves nothing behind in the module.

    A module that cannot be copied is taken as it is.
    """
    from torch.nn.parameter import is_lazy

    held = [*module.parameters(), *module.buffers()]
    shared = {id(tensor): tensor for tensor in held if not is_lazy(tensor)}
    try:
        shadow = copy.deepcopy(module, shared)
    except (TypeError, RuntimeError, ValueError, AttributeError, NotImplementedError, RecursionError):
        shadow = module
    if shadow is not module:
        for part in shadow.modules():  # not eval(): that never ends where modules hold each other
            part.training = False
    return shadow


def _is_lazy(part: "torch.nn.Module") -> bool:
    from torch.nn.parameter import is_lazy

    own = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    return any(is_lazy(tensor) for tensor in own)


def _unreached(drawn: LayerGraph, module: "torch.nn.Module") -> tuple[str, ...]:
    """Say how many parameters the call did not come to."""
    missing = sum(tensor.numel() for tensor in module.parameters()) - drawn.parameters
    if missing <= 0:
        return ()
    return (f"{missing:,} parameters are in parts that this call does not come to, and are not drawn",)
