"""Describe a torch model, from a factory or live: parameters, layers, FLOPs and outputs, on tensors without values.

Model arguments that are left to the data (features, classes, vocabulary) are filled in here too.
"""

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.torch.factory import build, seeded, source_digest
from titrant.runtime.inspect.recurrent import answers_of, described_state, one_step
from titrant.runtime.inspect.torch_forward import NO_STATE, NOT_RUN, ForwardPass, run_forward
from titrant.runtime.inspect.transforms import fitted_advice
from titrant.runtime.inspect.weights import compare_weights
from titrant.runtime.user_code import reason_of
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import DataFacts, Layer, ModelFacts, TensorSpec
from titrant.schema.values.canonical import plain, sha256
from titrant.schema.values.units import format_size

if TYPE_CHECKING:
    import torch

    from titrant.runtime.operators.model.load import ModelLoadParams

# Where torch keeps what the weights of a part are made of.
_PARAMETRIZATIONS = "parametrizations"
AUTO = ("features", "classes", "vocabulary")
_GIVEN = "give the inputs that the model takes, the batch first"


def describe_torch(params: "ModelLoadParams", data: DataFacts | None, task: str, *, seed: int) -> ModelFacts:
    """Build the model and run it on two cases of `params.inputs`, or else of the data; without either, only build it.

    Both use tensors without values (meta, then fake ones, which cost a second to import and know devices), and real
    ones where the model's own code needs values.
    Raises StepError X108 and X15x as model.load does, X156 when the model cannot answer.
    """
    args = dict(params.args) if data is None else resolve_args(params.args, data)
    named = tuple(TensorSpec(spec.name, spec.shape, spec.dtype) for spec in params.inputs)
    if params.state is None:
        specs, steps = _in_order(named, data), 1
    else:
        fed = params.state.feeds.values()
        plain = tuple(spec for spec in named if spec.name not in fed)
        taken, steps = (plain, 1) if data is None or not plain else one_step(plain, data.inputs)
        specs = (*taken, *(spec for spec in named if spec.name in fed))
    feeds = {} if params.state is None else params.state.feeds
    try:
        module, seen, real = _forward(params.factory, args, specs, task, seed, feeds=feeds)
    except StepError as error:
        error.diagnostics = tuple(replace(item, help=item.help + fitted_advice(data)) for item in error.diagnostics)
        raise
    digest = sha256({"source": source_digest(params.factory), "args": args, "weights": params.weights_digest})
    loaded = compare_weights(params.weights, params.choice, module)
    facts = replace(_facts(module, seen, digest, specs, (*real, *seen.notes), reads_values=bool(real)), weights=loaded)
    if params.state is None or not specs:
        return facts
    state = described_state(params.state, specs, seen.outputs, steps)
    inputs = tuple(spec for spec in specs if spec.name not in feeds.values())
    return replace(facts, inputs=inputs, outputs=answers_of(seen.outputs, state), state=state)


def _in_order(named: Sequence[TensorSpec], data: DataFacts | None) -> tuple[TensorSpec, ...]:
    """Return the inputs that the recipe names, else the data's, in the order in which the model takes the data's."""
    if data is None or not named:
        return tuple(named) if data is None else data.inputs
    order = [spec.name for spec in data.inputs]
    return tuple(sorted(named, key=lambda spec: order.index(spec.name) if spec.name in order else len(order)))


def built(factory: str, args: Mapping[str, Any], seed: int) -> "torch.nn.Module":
    """Build a model to look at it, without values unless its code needs them; Raises StepError as `describe_torch`."""
    return _forward(factory, args, (), "", seed)[0]


def describe_live(module: "torch.nn.Module", specs: Sequence[TensorSpec]) -> ModelFacts:
    """Describe a live module; with `specs` of its inputs it is run on two cases of zeros, in evaluation mode.

    It runs without values, or with them where its code needs them; afterwards each part is in the mode it was in.
    Without `specs` its inputs, outputs and FLOPs stay unknown. Raises StepError X156 when the forward pass fails.
    """
    from titrant.runtime.backends.torch.determinism import plain_attention

    seen, reason, name = NOT_RUN, "", type(module).__name__
    training = [part for part in module.modules() if part.training]
    try:
        with plain_attention(), _fake():
            seen = run_forward(name, module.eval(), specs, "", _GIVEN) if specs else NOT_RUN
    except StepError as error:
        reason = reason_of(error)
        with plain_attention():
            seen = run_forward(name, module, specs, "", _GIVEN)
    finally:
        for part in training:
            part.training = True
    note = f"the model answered two cases to be inspected, since its code reads values ({reason[:120]})"
    notes = (*((note,) if reason else ()), *seen.notes)
    digest = sha256(plain(list_layers(module, {})))
    return _facts(module, seen, digest, specs, notes, reads_values=bool(reason))


def _facts(
    module: "torch.nn.Module",
    seen: ForwardPass,
    digest: str,
    specs: Sequence[TensorSpec],
    notes: tuple[str, ...],
    *,
    reads_values: bool,
) -> ModelFacts:
    parameters = list(module.parameters())
    return ModelFacts(
        source="factory",
        digest=digest,
        parameters=sum(tensor.numel() for tensor in parameters),
        trainable=sum(tensor.numel() for tensor in parameters if tensor.requires_grad),
        weight_bytes=model_bytes(module),
        layers=list_layers(module, seen.flops_by_module, seen.unread, seen.uncalled, seen.excitations),
        inputs=tuple(specs),
        outputs=seen.outputs,
        flops=seen.flops,
        activation_bytes=seen.activation_bytes,
        notes=notes,
        reads_values=reads_values,
        operations=seen.operations,
        exported_nodes=seen.exported.nodes,
        file_nodes=seen.exported.file_nodes,
        selections=seen.exported.selections,
        activation_ranges=seen.exported.ranges,
        mask_bytes=seen.exported.mask_bytes,
        work=seen.work,
        blocks=seen.blocks,
    )


def _forward(
    factory: str,
    args: Mapping[str, Any],
    specs: Sequence[TensorSpec],
    task: str,
    seed: int,
    *,
    feeds: Mapping[str, str] = NO_STATE,
) -> "tuple[torch.nn.Module, ForwardPass, tuple[str, ...]]":
    """Build and run the model without values, at the last attempt with them; notes say when values were needed."""
    from titrant.runtime.backends.torch.determinism import plain_attention, uncompiled

    reason, size = "", 0
    for mode in (_meta, _fake, contextlib.nullcontext):
        if mode is contextlib.nullcontext:
            _check_memory(factory, size, reason)
        try:
            with seeded(seed), mode(), plain_attention(), uncompiled():
                module = build(factory, args).eval()
                size = model_bytes(module)
                seen = run_forward(factory, module, specs, task, feeds=feeds) if specs else NOT_RUN
        except StepError as error:
            last = error
            reason = reason or reason_of(error)
        else:
            real = mode is contextlib.nullcontext
            note = f"the model was built with its values to be inspected, since its code reads them ({reason[:120]})"
            return module, seen, (note,) if real else ()
    raise last


def _check_memory(factory: str, size: int, reason: str) -> None:
    """Raise StepError X156 rather than build a model with values that do not fit into memory."""
    import psutil

    free = psutil.virtual_memory().available
    if size > free:
        message = f"{factory} cannot be inspected without its values ({reason[:120]}), and they do not fit into memory"
        advice = f"its weights take {format_size(size)} and {format_size(free)} are free: keep values out of its code"
        raise StepError(Diagnostic("X156", message, help=advice))


def _meta() -> Any:
    import torch

    return torch.device("meta")


def _fake() -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def list_layers(
    module: "torch.nn.Module",
    flops: Mapping[str, int],
    unread: Collection[str] = (),
    uncalled: Collection[str] = (),
    excitations: Collection[str] = (),
) -> tuple[Layer, ...]:
    """List the leaf modules, and others with weights of their own, in the order in which they are registered.

    `flops` counts one case by module name, `unread` names modules whose weights the forward pass does not read,
    `uncalled` those that it reads the weights of and does not call, `excitations` those that compute gates of channels.
    Tied weights belong to the first layer that has them, and what a layer's weights are made of to that layer.
    """
    holders: dict[int, list[str]] = {}
    for name, part in module.named_modules():
        for tensor in part.parameters(recurse=False):
            holders.setdefault(id(tensor), []).append(name)
    types = {name: _type(part) for name, part in module.named_modules()}
    seen: set[int] = set()
    layers = []
    for name, part in module.named_modules():
        holding = [part, *_makers(part)]
        own = [tensor for held in holding for tensor in held.parameters(recurse=False)]
        if _makes(name) or (next(part.children(), None) is not None and not own):
            continue
        first = [tensor for tensor in own if id(tensor) not in seen]
        seen |= {id(tensor) for tensor in own}
        buffers = [tensor for held in holding for _, tensor in _saved_buffers(held)]
        weight = _weight(part)
        kind = _type(part)
        layers.append(
            Layer(
                name=name or type(part).__name__,
                type=kind,
                parameters=sum(tensor.numel() for tensor in first),
                weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in [*first, *buffers]),
                weight_shape=tuple(getattr(weight, "shape", ())),
                flops=flops.get(name),
                trainable=sum(tensor.numel() for tensor in first if tensor.requires_grad),
                dtype=dtype_name(weight if hasattr(weight, "dtype") else next(iter([*own, *buffers]), None)),
                groups=getattr(part, "groups", 1) if kind.startswith("Conv") else 1,
                shared_with=next((other for other in holders.get(id(weight), ()) if types[other] != kind), ""),
                custom=name in uncalled or not type(part).__module__.startswith("torch."),
                unread=name in unread,
                excitation=name in excitations,
            )
        )
    return tuple(layers)


def _makers(part: "torch.nn.Module") -> "tuple[torch.nn.Module, ...]":
    """Return the modules that hold what a part's weights are made of, where it does not hold them itself."""
    made = getattr(part, _PARAMETRIZATIONS, None)
    return () if made is None else tuple(made.modules())


def _makes(name: str) -> bool:
    """Whether a module of this name makes the weights of the one that it stands in, and counts as part of it."""
    return _PARAMETRIZATIONS in name.split(".")


def _weight(part: "torch.nn.Module") -> Any:
    """Return a part's weight: attention holds those of query, key and value as one, a recurrent layer several."""
    held = (getattr(part, name, None) for name in ("weight", "in_proj_weight", "weight_hh_l0", "weight_hh"))
    return next((weight for weight in held if weight is not None), None)


def _type(part: "torch.nn.Module") -> str:
    """Name a part's class; torch puts one of its own before that of a part whose weight is made of others."""
    made = type(part)
    return made.__bases__[0].__name__ if hasattr(part, _PARAMETRIZATIONS) else made.__name__


def model_bytes(module: "torch.nn.Module") -> int:
    """Return the bytes of all parameters and saved buffers, tied ones once: what a weights file holds."""
    tensors: dict[int, torch.Tensor] = {id(tensor): tensor for tensor in module.parameters()}
    tensors |= {id(tensor): tensor for part in module.modules() for _, tensor in _saved_buffers(part)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def dtype_name(tensor: "torch.Tensor | None") -> str:
    """Write a tensor's dtype as torch names it, such as float32; "" for none."""
    return "" if tensor is None else str(tensor.dtype).removeprefix("torch.")


def _saved_buffers(part: "torch.nn.Module") -> "Iterator[tuple[str, torch.Tensor]]":
    unsaved = part._non_persistent_buffers_set
    return ((name, tensor) for name, tensor in part.named_buffers(recurse=False) if name not in unsaved)


def resolve_args(args: Mapping[str, Any], data: DataFacts) -> dict[str, Any]:
    """Replace each `auto`: features by how many numbers a case has, classes and vocabulary by how many there are.

    Raises RecipeError X126 where the data does not say.
    """
    return {name: _from_data(name, data) if value == "auto" and name in AUTO else value for name, value in args.items()}


def _from_data(name: str, data: DataFacts) -> int:
    if name == "features" and len(data.inputs) == 1:
        return math.prod(int(size) for size in data.inputs[0].shape[1:])
    if name == "classes" and data.classes:
        return len(data.classes)
    if name == "vocabulary" and (count := max((step.vocabulary for step in data.transforms), default=0)):
        return count
    missing = {"features": f"{len(data.inputs)} inputs", "classes": "no labels"}.get(name, "no tokens")
    raise RecipeError(
        Diagnostic("X126", f"model.args.{name} is auto, and the data has {missing}", help=f"write {name} as a number")
    )
