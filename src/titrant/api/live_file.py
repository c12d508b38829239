"""Keep a live module as a file of the home, so that it can be judged as one: by content, and again tomorrow."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.parse import ParsedRecipe

if TYPE_CHECKING:
    import torch

    from titrant.schema.facts import TensorSpec

# The format that keeps a module's code and weights in one file, whoever wrote it, and where such files lie in a home.
_FORMAT, _FOLDER = "exported", "given"
_ROWS = 4


def live_file(model: Any, what: str, recipe: ParsedRecipe, *, trust: bool) -> Path:
    """Export a module by torch.export to a file of the home that is named by its content, and return it.

    What it takes are the recipe's inputs, by the names of its forward. RecipeError X621 for what is no module, X622 for
    one that takes another number of inputs; what `export` raises where torch cannot export it.
    """
    import torch

    from titrant.api.export import export
    from titrant.runtime.store.home import open_home
    from titrant.schema.values.files import digest_file

    if not isinstance(model, torch.nn.Module):
        message = f"the {what} is a {type(model).__name__}, and only a torch.nn.Module can be kept as a file"
        advice = (
            "wrap what it does in a torch.nn.Module, or save the model and give the file (.onnx, .pt2, TorchScript)"
        )
        raise RecipeError(Diagnostic("X621", message, help=advice))
    shapes, dtypes = _shown(model, what, recipe, trust=trust)
    folder = open_home().path / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as scratch:
        made = export(model, _FORMAT, Path(scratch) / "model.pt2", shape=shapes, dtype=dtypes).path
        kept = folder / f"{digest_file(made)}.pt2"
        made.replace(kept)
    return kept


def _shown(
    model: "torch.nn.Module", what: str, recipe: ParsedRecipe, *, trust: bool
) -> tuple[Mapping[str, tuple[int, ...]], Mapping[str, str]]:
    """Return the shapes and types of what a module takes, by the names of its forward's arguments."""
    from titrant.runtime.backends.torch.arguments import signature_of

    specs = _inputs(recipe, trust=trust)
    names = [item.name for item in signature_of(model).inputs]
    by_name = {spec.name: spec for spec in specs}
    if len(names) != len(specs) or (len(names) > 1 and set(names) != set(by_name)):
        given = ", ".join(by_name) or "nothing"
        message = f"the {what} takes {', '.join(names) or 'nothing'}, and the recipe's data gives {given}"
        advice = "give a module whose forward takes the recipe's inputs, several by their names"
        raise RecipeError(Diagnostic("X622", message, help=advice))
    taken = by_name if len(names) > 1 else dict(zip(names, specs, strict=True))
    shapes = {name: (_ROWS, *(int(size) for size in spec.shape[1:])) for name, spec in taken.items()}
    return shapes, {name: spec.dtype for name, spec in taken.items()}


def _inputs(recipe: ParsedRecipe, *, trust: bool) -> "tuple[TensorSpec, ...]":
    """Return what the recipe's data gives a model, as inspection found it."""
    from titrant.api.plan import inspector
    from titrant.compiler.bind.bind import bind
    from titrant.compiler.facts.inspect import facts
    from titrant.runtime.store.home import open_home

    bound, home = bind(recipe, trust=trust), open_home()
    with inspector(bound, home) as (ask, _):
        return facts(bound, ask, home.path / "facts").data.inputs
