"""Judge a model that was optimized elsewhere by the contract of a recipe, or by one about rows in memory."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import TensorSpec
from titrant.schema.language.parse import ParsedRecipe, parse, read
from titrant.schema.planned import Planned
from titrant.schema.record import RunRecord

if TYPE_CHECKING:
    import torch

    from titrant.api.live.rows_to_judge import RowsToJudge
    from titrant.compiler.given.file import FileToJudge
    from titrant.runtime.run.preview import PlanPreview
    from titrant.runtime.worker.parent import Worker

# In place of a file: the original is what the recipe's own `model` says.
RECIPE = "recipe"
_MANIFEST = "titrant.json"
# The format that keeps a module's code and weights in one file, whoever wrote it, and where such files lie in a home.
_FORMAT, _FOLDER = "exported", "given"
_ROWS = 4


class ModelValue(Protocol):
    """A model as `titrant.apply` gives it."""

    kind: ClassVar[str]


def validate(
    original: "str | Path | torch.nn.Module | ModelValue",
    optimized: "str | Path | torch.nn.Module | ModelValue",
    recipe: "ParsedRecipe | str | Path | RowsToJudge",
    *,
    trust: bool = False,
    listen: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> RunRecord:
    """Judge a file that was optimized elsewhere as `run` judges what it makes; a copy is released if it is good enough.

    `original` is what it is compared with: an .onnx, TorchScript or .pt2 file in place of the recipe's `model`, or
    "recipe" for that model itself. `optimized` is such a file, or a run (its folder, id, unique prefix or "latest")
    whose first released file is judged again here. Either may be a live module, which is exported to a file of the home
    (`given/`) first and stays as it is: what is judged is that file. What `apply` gave is judged as its file or module.
    Where each has one output, names do not decide. Nothing is reduced or quantized, and neither file is changed.
    `RowsToJudge` in place of a recipe holds rows, labels and the contract, which are kept in the home too. The record's
    `exit` is 0, or 5 where the contract was not kept.

    Raises RecipeError P142 for a file that nothing loads, P143 for one with other inputs or outputs than the original,
    X621 and X622 for what is no module, or takes other inputs, X623 for rows and labels that do not go together,
    InfeasibleError P144 for one that no engine runs here, what `plan`, `run` and `export` raise.
    """
    from titrant.api.run import answer_again, run

    models = {"original": _held(original), "optimized model": _held(optimized)}
    kept: list[Worker] = []
    try:
        if isinstance(recipe, (ParsedRecipe, str, Path)):
            parsed = _parsed(recipe)
            before, after = (
                model
                if isinstance(model, (str, Path))
                else live_file(model, what, partial(_inputs, parsed, trust=trust))
                for what, model in models.items()
            )
        else:
            before, after, parsed = _by_rows(models, recipe)
        planned, seen = plan_validation(before, after, parsed, trust=trust, keep_worker=kept)
        if seen.answer is not None:
            answer_again(seen.answer)
            return seen.answer
        return run(planned, listen=listen, worker=kept[0] if kept else None, preview=seen)
    finally:
        for worker in kept:
            worker.close()


def _held(model: Any) -> Any:
    """Return the file or the module that a value of `apply` is; anything else as it is."""
    from titrant.runtime.backends import backend

    if not is_dataclass(model) or getattr(model, "kind", None) not in backend.kinds():
        return model
    return model.path if hasattr(model, "path") else getattr(model, "module", model)


def plan_validation(
    original: str | Path,
    optimized: str | Path,
    recipe: ParsedRecipe,
    *,
    trust: bool = False,
    keep_worker: "list[Worker] | None" = None,
) -> "tuple[Planned, PlanPreview]":
    """Plan what `validate` does, and say what doing it would execute."""
    from titrant.api.plan import plan_and_preview_file

    file = optimized_file(str(optimized))
    judged = with_original(recipe, str(original))
    return plan_and_preview_file(judged, file, trust=trust, keep_worker=keep_worker)


def _parsed(recipe: ParsedRecipe | str | Path) -> ParsedRecipe:
    return recipe if isinstance(recipe, ParsedRecipe) else read(recipe)


def with_original(recipe: ParsedRecipe, original: str) -> ParsedRecipe:
    """Return the recipe with a file as its model, as it is for "recipe"; RecipeError P142 for another sort of file."""
    from titrant.compiler.given.file import key_of
    from titrant.schema.recipe.recipe import recipe_value

    if original == RECIPE:
        return recipe
    path = Path(original).absolute()
    key = key_of(path)
    if not path.is_file():
        advice = f"name the model that was optimized, or write {RECIPE} for what the recipe's `model` says"
        raise RecipeError(Diagnostic("P142", f"there is no file {path}", help=advice))
    written = recipe_value(recipe.recipe)["model"]
    kept = _without_nulls({name: written.get(name) for name in ("inputs", "state", "output", "decode")})
    overrides: Sequence[str] = (*recipe.overrides, f"model={json.dumps({key: str(path), **kept}, ensure_ascii=False)}")
    if recipe.recipe.train is not None:
        overrides = (*overrides, "train=none")
    return parse(recipe.text, recipe.file, folder=recipe.folder, overrides=overrides)


def _without_nulls(value: Any) -> Any:
    """Leave out keys without a value: a recipe has no null."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def optimized_file(optimized: str) -> "FileToJudge":
    """Return the file that is judged: the one named, or the first that a run released."""
    from titrant.compiler.given.file import FileToJudge

    path = Path(optimized)
    if path.is_file() or path.suffix or (path.is_dir() and _holds_one(path)):
        return FileToJudge(path.absolute())
    return released_file(_run_folder(path, optimized))


def _holds_one(folder: Path) -> bool:
    """Whether a folder is one model, of several files, rather than a run or what it put out."""
    from titrant.compiler.given.file import in_folder

    return not (folder / _MANIFEST).exists() and in_folder(folder) is not None


def _run_folder(path: Path, name: str) -> Path:
    from titrant.api.runs import find_run
    from titrant.runtime.store.home import home_folder

    return path if path.is_dir() else find_run(name, home_folder())


def released_file(folder: Path) -> "FileToJudge":
    """Return the first file that a run released, with the engine that it was judged in; RecipeError where none was."""
    from titrant.api.runs import read_json
    from titrant.compiler.given.file import FileToJudge

    outputs = next((place for place in (folder / "outputs", folder) if (place / _MANIFEST).is_file()), None)
    if outputs is None:
        advice = "name a run that released one, or the file itself"
        raise RecipeError(Diagnostic("X340", f"{folder.name} holds no released model", help=advice))
    (model, *_) = read_json(outputs / _MANIFEST)["models"]
    return FileToJudge((outputs / model["file"]).absolute(), model["engine"])


def _by_rows(models: Mapping[str, Any], judged: "RowsToJudge") -> "tuple[str, str | Path, ParsedRecipe]":
    """Return the two files and the recipe of a judgement by rows in memory; the recipe's model is the original."""
    from titrant.api.live.rows_to_judge import checked_rows, recipe_of
    from titrant.compiler.given.file import key_of
    from titrant.runtime.store.home import open_home

    inputs = checked_rows(judged)[0].inputs.items()
    specs = tuple(TensorSpec(name, ("batch", *array.shape[1:]), str(array.dtype)) for name, array in inputs)
    before, after = (
        model if isinstance(model, (str, Path)) else live_file(model, what, lambda: specs)
        for what, model in models.items()
    )
    if str(before) == RECIPE:
        message = "there is no recipe whose model could be the original"
        raise RecipeError(Diagnostic("X623", message, help="give the original as a module, or the file of it"))
    path = Path(before).absolute()
    if not path.is_file():
        raise RecipeError(Diagnostic("P142", f"there is no file {path}", help="name the model that was optimized"))
    return RECIPE, after, recipe_of(judged, {key_of(path): str(path)}, open_home().path / _FOLDER)


def live_file(model: Any, what: str, specs: "Callable[[], Sequence[TensorSpec]]") -> Path:
    """Export a module by torch.export to a file of the home that is named by its content, and return it.

    What it takes are the inputs that the data gives, `specs()`, by the names of its forward. RecipeError X621 for what
    is no module, X622 for one that takes another number of inputs; what `export` raises where torch cannot export it.
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
    shapes, dtypes = _shown(model, what, specs())
    folder = open_home().path / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as scratch:
        made = export(model, _FORMAT, Path(scratch) / "model.pt2", shape=shapes, dtype=dtypes).path
        kept = folder / f"{digest_file(made)}.pt2"
        made.replace(kept)
    return kept


def _shown(
    model: "torch.nn.Module", what: str, specs: "Sequence[TensorSpec]"
) -> tuple[Mapping[str, tuple[int, ...]], Mapping[str, str]]:
    """Return the shapes and types of what a module takes, by the names of its forward's arguments."""
    from titrant.runtime.backends.torch.arguments import signature_of

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
