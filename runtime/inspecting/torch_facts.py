"""Inspect a model that a factory builds: parameters, layers, FLOPs and outputs, on tensors without values."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from titrant.runtime.inspecting.auto_args import resolve_args
from titrant.runtime.inspecting.forward_pass import NOT_RUN, ForwardPass, run_forward
from titrant.runtime.inspecting.layers import list_layers, model_bytes
from titrant.runtime.inspecting.weights_match import compare_weights
from titrant.runtime.models.factory import build, source_digest
from titrant.runtime.models.seeding import seeded
from titrant.schema.canonical import plain, sha256
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.facts import DataFacts, ModelFacts, TensorSpec
from titrant.schema.units import format_size

if TYPE_CHECKING:
    import torch

    from titrant.runtime.operators.model_load import ModelLoadParams


_GIVEN = "give the inputs that the model takes, the batch first"


def describe_torch(params: "ModelLoadParams", data: DataFacts | None, task: str, *, seed: int) -> ModelFacts:
    """Build the model and run it on two cases of `params.inputs`, or else of the data; without either, only build it.

    Both use tensors without values (meta, then fake ones, which cost a second to import and know devices), and real
    ones where the model's own code needs values.
    Raises StepError X108 and X15x as model.load does, X156 when the model cannot answer.
    """
    args = dict(params.args) if data is None else resolve_args(params.args, data)
    named = tuple(TensorSpec(spec.name, spec.shape, spec.dtype) for spec in params.inputs)
    specs = named or (() if data is None else data.inputs)
    module, seen, real = _forward(params.factory, args, specs, task, seed)
    weights = params.weights if params.weights in (None, "included") else params.weights.digest  # type: ignore[union-attr]
    digest = sha256({"source": source_digest(params.factory), "args": args, "weights": weights})
    notes = (*real, *seen.notes, *compare_weights(params.weights, module))
    return _facts(module, seen, digest, specs, notes, reads_values=bool(real))


def describe_live(module: "torch.nn.Module", specs: Sequence[TensorSpec]) -> ModelFacts:
    """Describe a live module; with `specs` of its inputs it is run on two cases of zeros, in evaluation mode.

    It runs without values, or with them where its code needs them; afterwards each part is in the mode it was in.
    Without `specs` its inputs, outputs and FLOPs stay unknown. Raises StepError X156 when the forward pass fails.
    """
    from titrant.runtime.torch.plain_attention import plain_attention

    seen, reason, name = NOT_RUN, "", type(module).__name__
    training = [part for part in module.modules() if part.training]
    try:
        with plain_attention(), _fake():
            seen = run_forward(name, module.eval(), specs, "", _GIVEN) if specs else NOT_RUN
    except StepError as error:
        reason = error.diagnostics[0].message.partition(": ")[2]
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
        layers=list_layers(module, seen.flops_by_module, seen.unread),
        inputs=tuple(specs),
        outputs=seen.outputs,
        flops=seen.flops,
        activation_bytes=seen.activation_bytes,
        notes=notes,
        reads_values=reads_values,
    )


def _forward(
    factory: str, args: Mapping[str, Any], specs: Sequence[TensorSpec], task: str, seed: int
) -> "tuple[torch.nn.Module, ForwardPass, tuple[str, ...]]":
    """Build and run the model without values, at the last attempt with them; notes say when values were needed."""
    from titrant.runtime.torch.plain_attention import plain_attention

    reason, size = "", 0
    for mode in (_meta, _fake, contextlib.nullcontext):
        if mode is contextlib.nullcontext:
            _check_room(factory, size, reason)
        try:
            with seeded(seed), mode(), plain_attention():
                module = build(factory, args).eval()
                size = model_bytes(module)
                seen = run_forward(factory, module, specs, task) if specs else NOT_RUN
        except StepError as error:
            last = error
            reason = reason or error.diagnostics[0].message.partition(": ")[2]
        else:
            real = mode is contextlib.nullcontext
            note = f"the model was built with its values to be inspected, since its code reads them ({reason[:120]})"
            return module, seen, (note,) if real else ()
    raise last


def _check_room(factory: str, size: int, reason: str) -> None:
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
