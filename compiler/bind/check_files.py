"""Find the files and folders that a recipe names, and write those of its base relative to the recipe's own folder."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Any

from titrant.compiler.bind.bound_recipe import CheckInput, Finding, meant
from titrant.compiler.bind.check_reduction import other_models
from titrant.compiler.bind.check_transforms import TRANSFORM_FROM, shipped_transforms, wrong_transforms
from titrant.schema.language.parse import ParsedRecipe
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.data import Source
from titrant.schema.recipe.model import Model, WeightsFile
from titrant.schema.recipe.observe import Mlflow
from titrant.schema.recipe.transform import Tokenize
from titrant.schema.values.files import WEIGHT_SUFFIXES
from titrant.schema.values.shards import ShardIndexError, shards_of
from titrant.schema.values.text import is_text

# What a key's file must end in; a folder has no ending.
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "weights": WEIGHT_SUFFIXES,
    "onnx": (".onnx",),
    "torchscript": (".pt", ".pth", ".ts", ".jit", ".torchscript"),
    "exported": (".pt2",),
    "npz": (".npz",),
    "tokenizer": (".json", ".bin"),
}
# What makes such a file of one of another sort.
ADVICE: Mapping[str, str] = {
    "tokenizer": "transformers makes a tokenizer.json of a sentencepiece model: "
    "`AutoTokenizer.from_pretrained(…).save_pretrained(…)`",
}
# `model.weights: included` is not a file: the factory loads its own weights.
FILE_SOURCES = ("csv", "parquet", "npz", "image_folder", "text")
INCLUDED = "included"
WEIGHTS: KeyPath = ("model", "weights")
# Where the models beside the original stand, each with a key of its own.
DISTILLATION: KeyPath = ("reduction", "distillation")
# What the shards that a weights index names are called among the recipe's files.
SHARDS = "model.weights.shards."


def named_files(given: CheckInput) -> dict[KeyPath, File]:
    """Return the absolute path of everything that the recipe names, by its recipe path, there or not."""
    return {path: _resolved(given, path, text) for path, text in _named(given)}


def bound_files(given: CheckInput) -> dict[str, File]:
    """Return what `named_files` does by dotted key, with the shards that a weights index names.

    The weights are `model.weights` in either way of writing them.
    """
    files: dict[str, File] = {}
    for path, file in named_files(given).items():
        if path[:2] == WEIGHTS:
            files["model.weights"] = file
            files |= {f"{SHARDS}{place}": shard for place, shard in enumerate(shards_of(file))}
        elif path[:2] == DISTILLATION:
            key = ".".join(str(part) for part in path[:4])
            files[key] = file
            files |= {f"{key}.shards.{place}": shard for place, shard in enumerate(shards_of(file))}
        else:
            files[".".join(str(part) for part in path)] = file
    return files


def _named(given: CheckInput) -> Iterator[tuple[KeyPath, str]]:
    """List every path of the recipe that holds a file or folder, with its text."""
    model, data = given.recipe.model, given.data
    for key in ("onnx", "torchscript", "exported"):
        if (text := getattr(model, key)) is not None:
            yield ("model", key), text
    models: list[tuple[KeyPath, Model]] = [(("model",), model)]
    models += [((*DISTILLATION, key), other) for key, other in other_models(given.recipe).items()]
    for place, each in models:
        if isinstance(each.weights, WeightsFile):
            yield (*place, "weights", "path"), each.weights.path
        elif each.weights is not None and each.weights != INCLUDED:
            yield (*place, "weights"), each.weights
    if data.transform_from is not None:
        yield TRANSFORM_FROM, data.transform_from
    for index, step in enumerate(data.transform):
        if isinstance(step, Tokenize) and step.file is not None:
            yield _tokenizer(index), step.file
    sources: list[tuple[KeyPath, Source]] = [] if data.source is None else [(("data", "source"), data.source)]
    sources += [(("data", "sources", name), source) for name, source in (data.sources or {}).items()]
    if data.unlabeled is not None:
        sources.append((("data", "unlabeled"), data.unlabeled))
    if data.labels is not None:
        yield ("data", "labels"), data.labels
    for place, source in sources:
        for key in FILE_SOURCES:
            named = source.file(key)
            if named is not None:
                # A folder without options is written as its path alone.
                keys = named[0] if given.written(*place, *named[0]) else named[0][:1]
                yield (*place, *keys), named[1]
        if source.image_folder is not None and source.image_folder.masks is not None:
            yield (*place, "image_folder", "masks"), source.image_folder.masks
        for index, text in enumerate(source.files or ()):
            yield (*place, "files", index), text


def _tokenizer(place: int) -> KeyPath:
    return ("data", "transform", place, "tokenize", "tokenizer")


def tokenizer_key(place: int) -> str:
    """Return what the tokenizer of a transform, by its place in the list, is called among the recipe's files."""
    return ".".join(str(part) for part in _tokenizer(place))


def _resolved(given: CheckInput, path: KeyPath, text: str) -> File:
    """Resolve against the folder of the file that the value stands in: a base's paths stay relative to the base."""
    folder = given.parsed.source.folder(path) if given.written(*path) else given.parsed.folder
    file = (folder / File(text).expanduser()).absolute()
    return shipped_transforms(file, text) if path == TRANSFORM_FROM else file


def names_are_text(given: CheckInput) -> Iterator[Finding]:
    """Find a folder, the recipe's or one that it names, whose name no text can hold: plans and libraries need texts."""
    folders = {(): given.parsed.folder.absolute(), **named_files(given)}
    for path, place in folders.items():
        if not is_text(str(place)):
            message = f"the name of {place} is not UTF-8, and neither a plan nor most libraries can hold it"
            yield given.finding(
                "R129", path, message, "rename the folder or file, or reach it by a link of another name"
            )


def missing_files(given: CheckInput) -> Iterator[Finding]:
    """Find files that are not there, are of another sort, or have an ending that the key does not read."""
    for path, file in named_files(given).items():
        parts = (part for part in reversed(path) if isinstance(part, str) and part != "path")
        key = "weights" if path[:2] == WEIGHTS else next(parts)
        if path == TRANSFORM_FROM:
            yield from wrong_transforms(given, path, file)
        elif key in ("image_folder", "masks"):
            yield from _folder(given, path, file)
        elif key in ("files", "text") and file.is_dir():
            continue
        elif not file.exists():
            yield given.finding("R102", path, f"there is no file {file}", _near(file))
        elif file.is_dir():
            yield given.finding("R102", path, f"{file} is a folder, and a file is due", _inside(file, key))
        elif not file.is_file():
            message = f"{file} is not a regular file"
            yield given.finding("R102", path, message, "name a file on a disk: a pipe or device never ends")
        elif key in ENDINGS and not file.name.lower().endswith(ENDINGS[key]):
            message = f"`{key}` reads {', '.join(ENDINGS[key])}, and this is {file.name}"
            advice = ADVICE.get(key, "name another file, or save this one in such a format")
            yield given.finding("R103", path, message, advice)
        elif key == "weights":
            yield from _shards(given, path, file)


def trackers_have_addresses(given: CheckInput) -> Iterator[Finding]:
    """Find an address that MLflow does not take, that depends on where one stands, or that holds a login."""
    tracking = given.recipe.tracking
    if tracking is None or not isinstance(tracking.mlflow, Mlflow) or tracking.mlflow.uri is None:
        return
    from titrant.schema.config.secrets import without_secrets

    path, uri = ("tracking", "mlflow", "uri"), tracking.mlflow.uri
    scheme, _, rest = uri.partition(":")
    if without_secrets(uri) != uri:
        message = "an address with a login in it would stand in the recipe, and so in git"
        advice = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, instead"
        yield given.finding("R215", path, message, advice)
    elif not rest or scheme == "file":
        message = f"`{uri}` is a folder, and MLflow keeps runs in a database or on a server"
        yield given.finding(
            "R215", path, message, "write sqlite:////a/folder/mlflow.db, or leave it out: the home has one"
        )
    elif scheme == "sqlite" and not rest.startswith("////"):
        message = f"`{uri}` is a place below the folder that a command is called in"
        whole = (given.parsed.folder / rest.lstrip("/")).absolute()
        yield given.finding("R215", path, message, f"write the whole path: sqlite:///{whole}")


def _shards(given: CheckInput, path: KeyPath, file: File) -> Iterator[Finding]:
    """Find an index that cannot be read, and shards that are not beside it."""
    try:
        absent = [shard for shard in shards_of(file) if not shard.is_file()]
    except ShardIndexError as error:
        yield given.finding("R163", path, f"{file.name} {error}", "copy the index again, or save the weights again")
        return
    if absent:
        message = f"there is no file {absent[0].name}, which {file.name} names"
        more = f" ({len(absent)} of {len(shards_of(file))} shards are missing)" if len(absent) > 1 else ""
        yield given.finding("R102", path, message + more, "copy every shard beside the index")


def _inside(folder: File, key: str) -> str:
    """Word a hint: the files in a folder that the key could name, an index before its shards."""
    names = [name for name in _names(folder) if name.lower().endswith(ENDINGS.get(key, ()))]
    names.sort(key=lambda name: not name.endswith(".json"))
    return f"name the file in it, such as {names[0]}" if names else "name the file in it"


def _folder(given: CheckInput, path: KeyPath, folder: File) -> Iterator[Finding]:
    if not folder.exists():
        yield given.finding("R102", path, f"there is no folder {folder}", _near(folder))
    elif not folder.is_dir():
        yield given.finding("R102", path, f"{folder} is a file, and a folder of images is due", "name its folder")


def _near(file: File) -> str:
    """Word a hint: where a link leads, or the most similar name in the deepest folder of the path that is there."""
    if file.is_symlink():
        return f"it is a link to {file.readlink()}, which leads to nothing"
    folder = file.parent
    if not folder.is_dir():
        there = next(parent for parent in folder.parents if parent.is_dir())
        missing = folder.relative_to(there).parts[0]
        hint = meant(missing, _names(there, folders=True), "it has")
        return f"{there} has no folder `{missing}`" + (f": {hint}" if hint else "")
    names = _names(folder)
    if not names:
        return f"the folder {folder} is empty"
    return meant(file.name, names, "the folder has")


def _names(folder: File, *, folders: bool = False) -> list[str]:
    """List what a path of a recipe may mean: no hidden names, and not what Python keeps of modules."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    shown = (entry for entry in entries[:1000] if not entry.name.startswith((".", "__pycache__")))
    return [entry.name for entry in shown if entry.is_dir() or not folders]


def own_paths(value: dict[str, Any], parsed: ParsedRecipe) -> dict[str, Any]:
    """Replace, in a recipe's plain value, every path that starts in its base's folder; returns the value."""
    for path, text in inherited_paths(parsed).items():
        inner: Any = value
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = text
    return value


def inherited_paths(parsed: ParsedRecipe) -> Mapping[KeyPath, str]:
    """Return, by recipe path, what a path of the base is when it starts in the recipe's own folder."""
    here = parsed.folder.absolute()
    return {
        path: _from(here, file)
        for path, file in named_files(CheckInput(parsed)).items()
        if parsed.source.folder(path).absolute() != here
    }


def _from(folder: File, file: File) -> str:
    """Name a file from a folder; absolutely where a linked folder, or another drive, lies between."""
    try:
        name = os.path.relpath(file, folder)
    except ValueError:
        return str(file)
    return File(name).as_posix() if (folder / name).resolve() == file.resolve() else str(file)
