"""Describe what a safetensors file holds, from its header alone."""

from collections.abc import Sequence
from pathlib import Path

from titrant.runtime.models.safetensors_header import HeldTensor, read_header
from titrant.schema.canonical import sha256
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import Layer, ModelFacts

# Tensors under these last names are saved buffers by torch's conventions, and no parameters.
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


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
        digest=sha256([[one.name, one.dtype, list(one.shape)] for one in tensors]),
        parameters=sum(layer.parameters for layer in layers),
        trainable=0,
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        layers=layers,
        inputs=(),
        outputs=(),
        notes=("weights without a model: types, FLOPs and inputs are known with its factory",),
    )


def _layer(name: str, held: list[HeldTensor]) -> Layer:
    weight = next((one for one in held if one.name.endswith("weight")), held[0])
    own = [one for one in held if one.name.rpartition(".")[2] not in BUFFERS]
    return Layer(
        name=name,
        type="",
        parameters=sum(one.elements for one in own),
        weight_bytes=sum(one.size_bytes for one in held),
        weight_shape=weight.shape,
        dtype=weight.dtype,
    )
