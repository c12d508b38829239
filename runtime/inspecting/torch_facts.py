"""Inspect a model that a factory builds: parameters, layers, FLOPs and outputs, on tensors without values."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.data.user_code import call
from titrant.runtime.inspecting.auto_args import resolve_args
from titrant.runtime.inspecting.layers import list_layers, model_bytes
from titrant.runtime.models.factory import build, source_digest
from titrant.runtime.models.seeding import seeded
from titrant.runtime.models.weights import check_match, check_values, read_state
from titrant.schema.canonical import sha256
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.facts import DataFacts, ModelFacts, TensorSpec

if TYPE_CHECKING:
    import torch

    from titrant.runtime.operators.model_load import ModelLoadParams

# Two cases, so that an output's batch dimension can be told from one that happens to be 1.
CASES = 2
# Larger weights are compared with the model when they are loaded, not while planning.
_READ_BYTES = 2 << 30


@dataclass(frozen=True)
class Look:
    """What one forward pass of two cases showed."""

    outputs: tuple[TensorSpec, ...]
    flops: int
    flops_by_module: Mapping[str, int]
    activation_bytes: int


def describe_torch(params: "ModelLoadParams", data: DataFacts, task: str, *, seed: int) -> ModelFacts:
    """Build the model and let it answer two cases of the data's shape.

    Both happen on tensors without values (meta, then fake ones, which cost a second to import and know devices);
    where the model's own code needs values, for real.
    Raises StepError X108 and X15x as model.load does, X156 when the model cannot answer.
    """
    args = resolve_args(params.args, data)
    specs = tuple(TensorSpec(spec.name, spec.shape, spec.dtype) for spec in params.inputs) or data.inputs
    module, look = _look(params.factory, args, specs, task, seed)
    notes = _compare_weights(params, module)
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
    )


def _look(
    factory: str, args: Mapping[str, Any], specs: Sequence[TensorSpec], task: str, seed: int
) -> "tuple[torch.nn.Module, Look]":
    for mode in (_meta, _fake, contextlib.nullcontext):
        try:
            with seeded(seed), mode():
                module = build(factory, args).eval()
                return module, _forward(factory, module, specs, task)
        except StepError as error:
            last = error
    raise last


def _meta() -> Any:
    import torch

    return torch.device("meta")


def _fake() -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def _forward(factory: str, module: "torch.nn.Module", specs: Sequence[TensorSpec], task: str) -> Look:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from titrant.runtime.inspecting.activation import ActivationPeak

    inputs = [torch.zeros(CASES, *map(int, spec.shape[1:]), dtype=getattr(torch, spec.dtype)) for spec in specs]
    peak = ActivationPeak([*module.parameters(), *module.buffers(), *inputs])
    counter = FlopCounterMode(display=False)
    shapes = ", ".join(f"{spec.name} ({', '.join(map(str, spec.shape))})" for spec in specs)
    with torch.no_grad(), counter, peak:
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
    by_module = {name: sum(counts.values()) // CASES for name, counts in counter.get_flop_counts().items()}
    # The counter puts the class's name before each path.
    prefix = type(module).__name__ + "."
    by_module = {name.removeprefix(prefix): flops for name, flops in by_module.items() if name.startswith(prefix)}
    return Look(outputs, counter.get_total_flops() // CASES, by_module, peak.peak_bytes // CASES)


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


def _compare_weights(params: "ModelLoadParams", module: "torch.nn.Module") -> tuple[str, ...]:
    """Check the weights file against the model already now, so that a plan is not made in vain."""
    if params.weights in (None, "included"):
        return ()
    path = params.weights.path  # type: ignore[union-attr]
    if Path(path).is_file() and Path(path).stat().st_size > _READ_BYTES:
        return (f"{Path(path).name} is compared with the model when it is loaded",)
    state, notes = read_state(path)
    notes += check_match(module, state, Path(path).name)
    check_values(state, Path(path).name)
    return notes
