"""Describe a safetensors file from its header alone, and compare a weights file with the model while planning."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.runtime.backends.torch.checkpoint import read_saved
from titrant.runtime.backends.torch.safetensors_header import HeldTensor, read_header
from titrant.runtime.backends.torch.weights import WeightsChoice, check_values, fit_weights
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Layer, ModelFacts
from titrant.schema.seen import LoadedWeights
from titrant.schema.values.canonical import sha256

if TYPE_CHECKING:
    import torch

    from titrant.runtime.data.parameters import File

# Tensors under these last names are saved buffers by torch's conventions, and no parameters.
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
# The compiler gives a large weights file by a digest of its header: then its values are none of inspection's business.
BY_HEADER = "header-"


def describe_weights(file: Path) -> ModelFacts:
    """List the tensors by the module that they belong to, in the order of the file; no value is read.

    Types, FLOPs and inputs are not known: they are the model's. Raises RecipeError P080 for a file that is missing or
    no safetensors.
    """
    try:
        tensors = read_header(file)
    except FileNotFoundError:
        problem = f"there is no file {file}"
    except (ValueError, OSError) as error:
        problem = f"{file.name} cannot be read: {error}"
    else:
        return _facts(tensors)
    raise RecipeError(Diagnostic("P080", problem, help="name a .safetensors file that is whole"))


def _facts(tensors: Sequence[HeldTensor]) -> ModelFacts:
    modules: dict[str, list[HeldTensor]] = {}
    for tensor in tensors:
        modules.setdefault(tensor.name.rpartition(".")[0], []).append(tensor)
    layers = tuple(_layer(name or "(root)", held) for name, held in modules.items())
    return ModelFacts(
        source="weights",
        digest=sha256([[tensor.name, tensor.dtype, list(tensor.shape)] for tensor in tensors]),
        parameters=sum(layer.parameters for layer in layers),
        trainable=0,
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        layers=layers,
        inputs=(),
        outputs=(),
        notes=("weights without a model: types, FLOPs and inputs are known with its factory",),
    )


def _layer(name: str, held: list[HeldTensor]) -> Layer:
    weight = next((tensor for tensor in held if tensor.name.endswith("weight")), held[0])
    own = [tensor for tensor in held if tensor.name.rpartition(".")[2] not in BUFFERS]
    return Layer(
        name=name,
        type="",
        parameters=sum(tensor.elements for tensor in own),
        weight_bytes=sum(tensor.size_bytes for tensor in held),
        weight_shape=weight.shape,
        dtype=weight.dtype,
    )


def compare_weights(
    weights: "File | str | None", choice: WeightsChoice, module: "torch.nn.Module"
) -> LoadedWeights | None:
    """Check names and shapes against the model's, and a file's numbers for NaN and infinity; says how it fits.

    Raises StepError and RecipeError as model.load does, of the recipe's key.
    """
    if weights is None or isinstance(weights, str):
        return None
    whole = not weights.digest.startswith(BY_HEADER)
    try:
        saved = read_saved(weights.path, values=whole)
        state, loaded = fit_weights(module, saved, choice, weights.path)
        if whole:
            check_values(module, state, saved.file)
    except (RecipeError, StepError) as error:
        raise type(error)(*(replace(diagnostic, key="model.weights") for diagnostic in error.diagnostics)) from None
    return loaded
