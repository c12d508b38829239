"""Inspect a model that a factory builds: parameters, layers, FLOPs and outputs, on tensors without values."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titrant.runtime.data.user_code import call
from titrant.runtime.inspecting.auto_args import resolve_args
from titrant.runtime.inspecting.layers import list_layers, model_bytes
from titrant.runtime.inspecting.torch_flops import counter
from titrant.runtime.inspecting.weights_match import compare_weights
from titrant.runtime.models.factory import build, source_digest
from titrant.runtime.models.seeding import seeded
from titrant.schema.canonical import sha256
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.facts import DataFacts, ModelFacts, TensorSpec
from titrant.schema.units import format_size

if TYPE_CHECKING:
    import torch

    from titrant.runtime.operators.model_load import ModelLoadParams

# Two cases, so that an output's batch dimension can be told from one that happens to be 1.
CASES = 2


@dataclass(frozen=True)
class Look:
    """What one forward pass of two cases showed."""

    outputs: tuple[TensorSpec, ...]
    flops: int | None
    flops_by_module: Mapping[str, int]
    activation_bytes: int | None


_UNSEEN = Look((), None, {}, None)


def describe_torch(params: "ModelLoadParams", data: DataFacts | None, task: str, *, seed: int) -> ModelFacts:
    """Build the model and let it answer two cases of the data's shape, or of the inputs that are named; else none.

    Both happen on tensors without values (meta, then fake ones, which cost a second to import and know devices);
    where the model's own code needs values, for real.
    Raises StepError X108 and X15x as model.load does, X156 when the model cannot answer.
    """
    args = dict(params.args) if data is None else resolve_args(params.args, data)
    named = tuple(TensorSpec(spec.name, spec.shape, spec.dtype) for spec in params.inputs)
    specs = named or (() if data is None else data.inputs)
    module, look, real = _look(params.factory, args, specs, task, seed)
    notes = (*real, *compare_weights(params.weights, module))
    layers = list_layers(module, look.flops_by_module)
    parameters = list(module.parameters())
    weights = params.weights if params.weights in (None, "included") else params.weights.digest  # type: ignore[union-attr]
    return ModelFacts(
        source="factory",
        digest=sha256({"source": source_digest(params.factory), "args": args, "weights": weights}),
        parameters=sum(tensor.numel() for tensor in parameters),
        trainable=sum(tensor.numel() for tensor in parameters if tensor.requires_grad),
        weight_bytes=model_bytes(module),
        layers=layers,
        inputs=specs,
        outputs=look.outputs,
        flops=look.flops,
        activation_bytes=look.activation_bytes,
        notes=notes,
        reads_values=bool(real),
    )


def _look(
    factory: str, args: Mapping[str, Any], specs: Sequence[TensorSpec], task: str, seed: int
) -> "tuple[torch.nn.Module, Look, tuple[str, ...]]":
    """Build and show the model without values, at the last attempt with them; notes say when values were needed."""
    from titrant.runtime.torch.plain_attention import plain_attention

    reason, size = "", 0
    for mode in (_meta, _fake, contextlib.nullcontext):
        if mode is contextlib.nullcontext:
            _check_room(factory, size, reason)
        try:
            with seeded(seed), mode(), plain_attention():
                module = build(factory, args).eval()
                size = model_bytes(module)
                look = _forward(factory, module, specs, task) if specs else _UNSEEN
        except StepError as error:
            last = error
            reason = reason or error.diagnostics[0].message.partition(": ")[2]
        else:
            real = mode is contextlib.nullcontext
            note = f"the model was built with its values to be inspected, since its code reads them ({reason[:120]})"
            return module, look, (note,) if real else ()
    raise last


def _check_room(factory: str, size: int, reason: str) -> None:
    """Raise StepError X156 rather than build for real what the memory does not hold."""
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


def _forward(factory: str, module: "torch.nn.Module", specs: Sequence[TensorSpec], task: str) -> Look:
    import torch

    from titrant.runtime.inspecting.activation import ActivationPeak

    inputs = [torch.zeros(CASES, *map(int, spec.shape[1:]), dtype=getattr(torch, spec.dtype)) for spec in specs]
    peak = ActivationPeak([*module.parameters(), *module.buffers(), *inputs])
    counting = counter()
    shapes = ", ".join(f"{spec.name} ({', '.join(map(str, spec.shape))})" for spec in specs)
    with torch.no_grad(), counting, peak:
        try:
            answer = call(f"{factory}, shown {shapes},", module, *inputs)
        except StepError as error:
            told = error.diagnostics[0].message
            raise StepError(
                Diagnostic(
                    "X156", told, help="check `model.args` and `data.inputs`: the model must take the data's shape"
                )
            ) from None
    outputs = _outputs(factory, answer, task)
    by_module = {name: sum(counts.values()) // CASES for name, counts in counting.get_flop_counts().items()}
    # The counter puts the class's name before each path.
    prefix = type(module).__name__ + "."
    by_module = {name.removeprefix(prefix): flops for name, flops in by_module.items() if name.startswith(prefix)}
    return Look(outputs, counting.get_total_flops() // CASES, by_module, peak.peak_bytes // CASES)


def _outputs(factory: str, answer: Any, task: str) -> tuple[TensorSpec, ...]:
    import torch

    named = dict(_named(answer, task))
    for name, tensor in named.items():
        if not isinstance(tensor, torch.Tensor):
            raise StepError(
                Diagnostic(
                    "X156", f"{factory} answers with {type(tensor).__name__}", help="return a tensor, or several"
                )
            )
        if not tensor.ndim or tensor.shape[0] != CASES:
            raise StepError(
                Diagnostic(
                    "X156",
                    f"{factory} answers {CASES} cases with {name} of shape {tuple(tensor.shape)}",
                    help="the first dimension of an output is the batch",
                )
            )
    return tuple(
        TensorSpec(name, ("batch", *tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in named.items()
    )


def _named(answer: Any, task: str) -> Iterator[tuple[str, Any]]:
    """Name a model's outputs: by key, by place, or for a single one by the task."""
    if isinstance(answer, Mapping):
        yield from ((str(name), tensor) for name, tensor in answer.items())
    elif isinstance(answer, (tuple, list)):
        yield from ((f"output_{place}", tensor) for place, tensor in enumerate(answer))
    else:
        yield ("logits" if task.endswith("classification") else "output"), answer
