"""Save and load a PyTorch model as its factory, its rewrites and its tensors in one file; nothing is pickled.

A rewrite is a change of a module's structure that is replayed when the file is loaded.
"""

import copy
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime import catalog
from titrant.runtime.backends import recurrent
from titrant.runtime.backends.torch.determinism import lay_out, standard
from titrant.runtime.backends.torch.factory import build, source_digest
from titrant.runtime.user_code import describe
from titrant.runtime.values import Rewrite, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.layout import CHANNELS_LAST

TENSORS = "model.safetensors"
# The file's one metadata key: of several the order, and so the bytes, would not be certain.
DESCRIPTION = "titrant"
_LAYOUT = "model.layout"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def save_torch(value: TorchModel, folder: Path) -> None:
    """Write model.safetensors: the tensors, sorted, and as canonical JSON in its metadata how the module is built.

    Tensors that share their memory are written once, under the first of their names, and tied in the metadata. Raises
    StepError X215 for state that is not a tensor.
    """
    from safetensors.torch import save_file

    tensors, description = description_of(value)
    save_file(tensors, str(folder / TENSORS), metadata={DESCRIPTION: canonical_json(description)})


def description_of(value: TorchModel) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return a model's tensors, those that share their memory once, and how its module is built, as JSON.

    Raises StepError X215 for state that is not a tensor.
    """
    tensors, tied = _untied(value.module.state_dict())
    description = {
        "factory": value.factory,
        "args": value.args,
        "source_digest": value.source_digest,
        "inputs": value.inputs,
        "outputs": value.outputs,
        "rewrites": value.rewrites,
        "tied": tied,
    }
    if value.recurrence is not None:
        description["recurrence"] = recurrent.written(value.recurrence)
    return tensors, description


def described(file: Path) -> dict[str, Any]:
    """Return what a file that `save_torch` wrote says of its module, without its tensors.

    Raises StepError X212 for a file that holds no tensors, X214 for tensors that say nothing of a module.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        message = f"torch cannot load {file.name}: {describe(error)}"
        raise StepError(Diagnostic("X212", message, help="make the model again from its recipe")) from None
    try:
        return dict(json.loads(metadata[DESCRIPTION]))
    except (KeyError, ValueError):
        message = f"{file.name} does not say how its module is built"
        raise StepError(Diagnostic("X214", message, help="make the model again from its recipe")) from None


def load_torch(file: Path) -> TorchModel:
    """Build the module anew, replay its rewrites and give it its tensors; eval mode, on the CPU.

    Raises StepError X214 when the factory's source is not what it was, or when tensors and module do not fit.
    """
    from safetensors.torch import load_file

    return built(described(file), load_file(str(file)))


def built(said: Mapping[str, Any], tensors: dict[str, torch.Tensor]) -> TorchModel:
    """Build the module that a description says, replay its rewrites and give it tensors; eval mode, on the CPU.

    Counts of batches, which only training reads, may be missing. Raises StepError X214 as `load_torch` does.
    """
    _check_source(said["factory"], said["source_digest"])
    rewrites = tuple(Rewrite(step["operator"], step["version"], step["record"]) for step in said["rewrites"])
    with torch.random.fork_rng(devices=[]):  # initial values are drawn and thrown away
        module = replay(build(said["factory"], said["args"]).eval(), rewrites)
    _give(module, {**_counts(module), **tensors}, said["tied"], said["factory"])
    if _lies_last(rewrites):
        lay_out(module, channels_last=True)
    return TorchModel(
        module=module.eval(),
        factory=said["factory"],
        args=said["args"],
        source_digest=said["source_digest"],
        inputs=tuple((name, tuple(shape), dtype) for name, shape, dtype in said["inputs"]),
        outputs=tuple(said["outputs"]),
        rewrites=rewrites,
        recurrence=recurrent.read(said.get("recurrence")),
    )


def with_tensors(live: TorchModel, tensors: dict[str, torch.Tensor], tied: Mapping[str, str]) -> TorchModel:
    """Return a live model whose module, a copy, has other tensors; StepError X214 where they do not fit."""
    module = copy.deepcopy(live.module)
    _give(module, {**_counts(module), **tensors}, tied, live.factory)
    if _lies_last(live.rewrites):
        lay_out(module, channels_last=True)
    return replace(live, module=module.eval())


def _counts(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the counts of batches, which only training reads."""
    return {name: value for name, value in module.state_dict().items() if name.endswith("num_batches_tracked")}


def torch_as_loaded(value: TorchModel) -> TorchModel:
    """Return the model, its tensors as loading would lay them out; they are moved in place."""
    lay_out(value.module, channels_last=_lies_last(value.rewrites))
    return value


def _lies_last(rewrites: tuple[Rewrite, ...]) -> bool:
    """Whether a model's convolutions lie channels last, which no file of tensors says."""
    return any(step.operator == _LAYOUT and step.record["layout"] == CHANNELS_LAST for step in rewrites)


def _untied(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Split a state into tensors that own their memory and names that are tied to one of them."""
    first: dict[tuple[Any, ...], str] = {}
    memory: set[int] = set()
    tensors: dict[str, torch.Tensor] = {}
    tied: dict[str, str] = {}
    for name in sorted(state):
        value = state[name]
        if not isinstance(value, torch.Tensor):
            raise StepError(
                Diagnostic(
                    "X215",
                    f"the model keeps {name} as {type(value).__name__}, and only tensors can be saved",
                    help="register it as a buffer, or make it an argument of the factory",
                )
            )
        same = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and same in first:
            tied[name] = first[same]
            continue
        first[same] = name
        tensors[name] = _own(value.detach().cpu().contiguous(), memory)
    return tensors, tied


def _own(value: torch.Tensor, memory: set[int]) -> torch.Tensor:
    """Copy a tensor that is a part of a larger memory, or another view of one already seen."""
    storage = value.untyped_storage()
    if storage.nbytes() != value.numel() * value.element_size() or storage.data_ptr() in memory:
        return value.clone()
    memory.add(storage.data_ptr())
    return value


def _give(module: torch.nn.Module, tensors: dict[str, torch.Tensor], tied: Mapping[str, str], factory: str) -> None:
    """Assign the tensors; a parameter that two names share is one object again."""
    trainable = {name: value.requires_grad for name, value in module.named_parameters(remove_duplicate=False)}
    # Read from a file they begin where its header ends.
    laid_out = {name: standard(value) for name, value in tensors.items()}
    state = {
        name: torch.nn.Parameter(value, requires_grad=trainable[name]) if name in trainable else value
        for name, value in laid_out.items()
    }
    state |= {name: state[source] for name, source in tied.items()}
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise StepError(
            Diagnostic(
                "X214",
                f"the tensors do not fit the module that {factory} builds: {' '.join(lines[1:3]) or lines[0]}",
                help="make the model again from its recipe",
            )
        ) from None


def _check_source(factory: str, digest: str) -> None:
    now = source_digest(factory)
    if now != digest:
        raise StepError(
            Diagnostic(
                "X214",
                f"the source of {factory} is not what it was when this model was made",
                help="restore the source, or make the model again from its recipe",
            )
        )


def rewritten(model: TorchModel, operator: str, record: Mapping[str, Any]) -> TorchModel:
    """Apply an operator's `rewrite` to a copy of the module and remember it."""
    step = Rewrite(operator, catalog.get(operator).version, record)
    module = replay(copy.deepcopy(model.module), (step,))
    return replace(model, module=module.eval(), rewrites=(*model.rewrites, step))


def replay(module: torch.nn.Module, rewrites: tuple[Rewrite, ...]) -> torch.nn.Module:
    """Apply recorded rewrites in order, in place.

    Raises StepError X214 when an operator is gone or has another version than the one that recorded.
    """
    for step in rewrites:
        try:
            declaration = catalog.get(step.operator)
        except KeyError:
            raise _unknown(step, "is not in this version") from None
        if declaration.version != step.version:
            raise _unknown(step, f"has version {declaration.version} here")
        module = sys.modules[declaration.run.__module__].rewrite(module, step.record)
    return module


def _unknown(step: Rewrite, state: str) -> StepError:
    return StepError(
        Diagnostic(
            "X214",
            f"the model was rewritten by {step.operator} version {step.version}, which {state}",
            help="make the model again from its recipe",
        )
    )


class Cast(torch.nn.Module):
    """A module in 16-bit floating point that takes and gives fp32; other dtypes pass as they are."""

    def __init__(self, module: torch.nn.Module, dtype: str) -> None:
        super().__init__()
        self.dtype = DTYPES[dtype]
        self.module = module.to(self.dtype)

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> Any:
        """Answer a batch; floating-point inputs and outputs of any shape are converted."""
        by_name = {name: _floating_to(value, self.dtype) for name, value in named.items()}
        return to_float32(self.module(*(_floating_to(value, self.dtype) for value in inputs), **by_name))


class MixedCast(Cast):
    """A module in 16 bits whose forward makes tensors of its own in fp32: products are of 16 bits all the same.

    torch.autocast casts what products, convolutions and attention are given; the weights are in 16 bits already.
    """

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> Any:
        """Answer a batch; floating-point inputs and outputs of any shape are converted."""
        device = next((value.device.type for value in self.module.parameters()), "cpu")
        # A cache would be filled in one trace and found empty in the next.
        with torch.autocast(device, self.dtype, cache_enabled=False):
            return super().forward(*inputs, **named)


def to_float32(answer: Any) -> Any:
    """Convert the floating-point tensors of an answer, in the form that it has."""
    if isinstance(answer, torch.Tensor):
        return _floating_to(answer, torch.float32)
    if isinstance(answer, Mapping):
        return {name: to_float32(value) for name, value in answer.items()}
    if isinstance(answer, (tuple, list)):
        return tuple(to_float32(value) for value in answer)
    return answer


def _floating_to(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value
