"""Inputs for a model: drawn by a seed where nobody has rows, or read from a file, by the names that it takes."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.instruments.refused.files import no_file
from titrant.runtime.instruments.subject.subject import GivenSpecs, InspectedModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import onnx

# What a dimension that the model leaves free comes to have, but the first, which is the batch.
_FREE = 16
# Whole numbers that are drawn where no table says how many rows it has.
_FEWEST = 2


def seeded_inputs(subject: InspectedModel, rows: int, seed: int, specs: GivenSpecs = ()) -> dict[str, np.ndarray]:
    """Draw `rows` cases of a model's inputs: normal numbers, indices that its tables have, masks that hide nothing.

    `specs` are taken where the model does not say its own. A first dimension that is fixed stays. Raises RecipeError
    X682 where neither says what the model takes.
    """
    taken = specs or subject.specs
    if not taken:
        message = f"nothing says what {subject.name} takes"
        raise RecipeError(
            Diagnostic("X682", message, help="name its inputs: --inputs '[{name: x, shape: [batch, 8]}]'")
        )
    generator, most = np.random.default_rng(seed), _rows_of_tables(subject)
    return {name: _drawn(generator, name, _sizes(shape, rows), dtype, most) for name, shape, dtype in taken}


def _sizes(shape: tuple[int | str, ...], rows: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else _FREE if place else rows for place, size in enumerate(shape))


def _drawn(generator: np.random.Generator, name: str, sizes: tuple[int, ...], dtype: str, most: int) -> np.ndarray:
    if dtype == "bool" or "mask" in name.lower():
        return np.ones(sizes, dtype)
    if np.dtype(dtype).kind in "iu":
        return generator.integers(0, most, sizes).astype(dtype)
    return generator.standard_normal(sizes, np.float32).astype(dtype)


def _rows_of_tables(subject: InspectedModel) -> int:
    """Return how many rows the smallest table has that is looked up with whole numbers."""
    if subject.module is not None:
        import torch

        kinds = (torch.nn.Embedding, torch.nn.EmbeddingBag)
        tables = [part.num_embeddings for part in subject.module.modules() if isinstance(part, kinds)]
        return min(tables, default=_FEWEST)
    return _smallest_gathered(subject.graph) if subject.graph is not None else _FEWEST


def _smallest_gathered(graph: "onnx.ModelProto") -> int:
    held = {tensor.name: tensor for tensor in graph.graph.initializer if len(tensor.dims) > 1}
    lookups = (node for node in graph.graph.node if node.op_type == "Gather" and node.input[0] in held)
    return min((held[node.input[0]].dims[0] for node in lookups), default=_FEWEST)


def named_inputs(subject: InspectedModel, inputs: Any) -> dict[str, np.ndarray]:
    """Return inputs as arrays by the names of a graph's inputs, in its types.

    They are a tensor or array, a list of them in the graph's order, or a mapping of its names to them. RecipeError X682
    for another number of them, or a name that it does not have.
    """
    taken = {name: dtype for name, _, dtype in subject.specs}
    if not isinstance(inputs, Mapping):
        several = inputs if isinstance(inputs, (tuple, list)) else [inputs]
        inputs = dict(zip(taken, several, strict=False)) if len(several) == len(taken) else dict(enumerate(several))
    if len(taken) == 1 and len(inputs) == 1:
        inputs = dict(zip(taken, inputs.values(), strict=True))
    if unlike := sorted(map(str, taken.keys() ^ inputs.keys())):
        message = f"{subject.name} takes {', '.join(taken)}, and is given {', '.join(map(str, inputs)) or 'nothing'}"
        raise RecipeError(Diagnostic("X682", message, help=f"{unlike[0]} is not in both: name them alike"))
    arrays = {
        name: array.detach().cpu().numpy() if hasattr(array, "detach") else array for name, array in inputs.items()
    }
    return {name: np.ascontiguousarray(array, dtype=taken[name]) for name, array in arrays.items()}


def read_inputs(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file by their names, or that of an .npy file; pickles are not read.

    RecipeError X702 for a file that is missing, X682 for one of another kind.
    """
    advice = "save it by numpy.savez(file, name=array), one array for each input, rows first"
    try:
        held = np.load(file, allow_pickle=False)
        arrays = {"input": held} if isinstance(held, np.ndarray) else {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        if not file.is_file():
            raise no_file(file) from None
        raise RecipeError(Diagnostic("X682", f"{file} holds no inputs: {first_line(error)}", help=advice)) from None
    if not arrays or any(not array.ndim or array.dtype.kind not in "fiub" for array in arrays.values()):
        raise RecipeError(Diagnostic("X682", f"{file} holds no arrays of numbers with rows", help=advice))
    return arrays


def rows_of(inputs: Any) -> Iterator[int]:
    """Yield how many rows each array of some inputs has."""
    several = (
        inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, (tuple, list)) else [inputs]
    )
    yield from (len(value) for value in several if getattr(value, "ndim", 0))
