"""Write a starter recipe for a model, with what was found out about it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.api.planned import write_file
from titrant.api.starter import Starter, recipe_name, recipe_text
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.files import WEIGHT_SUFFIXES
from titrant.schema.values.text import is_text

_KINDS = {".csv": "csv", ".parquet": "parquet", ".npz": "npz"}


def init(
    model: str,
    out: Path | None = None,
    *,
    data: Path | None = None,
    label: str | None = None,
    weights: Path | None = None,
    args: Mapping[str, Any] | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    trust: bool = False,
) -> Path:
    """Write a starter recipe that `titrant check` takes, and return its file (default: NAME.yaml in this folder).

    `model` is an .onnx file or a factory `module:Name`, with its `weights` and `args`; `data` a .csv, .parquet or .npz
    file or a folder of images, with the column that holds the `label`. `inputs`, as in `model.inputs`, are needed for a
    factory without data. A file that is there is never overwritten. Raises RecipeError P081 where no recipe can be
    written, StepError when the factory or the data cannot be read.
    """
    from titrant.compiler.bind.bind import bind
    from titrant.schema.language.parse import parse

    _check(model, data, label, weights, inputs)
    file = Path(f"{recipe_name(model)}.yaml") if out is None else out
    if file.exists():
        raise RecipeError(Diagnostic("P003", f"{file} is there already", help="name a new file with --out"))
    folder = file.absolute().parent
    answer = _ask(model, data, label, folder)
    starter = Starter(
        model=_from(folder, Path(model)) if model.endswith(".onnx") else model,
        onnx=answer["onnx"],
        arguments=answer["arguments"],
        args=dict(args or {}),
        weights=None if weights is None else _from(folder, weights),
        inputs=None if inputs is None else [dict(spec) for spec in inputs],
        source=None if data is None else (_kind(data), _from(folder, data)),
        data=answer["data"],
    )
    text = recipe_text(starter)
    bind(parse(text, str(file), folder=folder), trust=trust)
    write_file(file, text)
    return file


def _check(
    model: str,
    data: Path | None,
    label: str | None,
    weights: Path | None,
    inputs: Sequence[Mapping[str, Any]] | None,
) -> None:
    """Refuse what cannot become a recipe before any process is started."""
    suffix = Path(model).suffix.lower()
    problem = ""
    unnamed = next(
        (place for place in (Path(model), data, weights) if place and not is_text(str(place.absolute()))), None
    )
    if unnamed is not None:
        problem, advice = f"the name of {unnamed} is not UTF-8", "reach it by a link of another name"
    elif Path(model).is_dir():
        problem, advice = f"{model} is a folder", "name the file in it, or a factory: module:Name"
    elif ":" not in model and not Path(model).exists():
        problem, advice = f"there is no file {model}", "check the path, or name a factory as module:Name"
    elif model.lower().endswith(WEIGHT_SUFFIXES):
        problem, advice = f"{model} holds weights and no model", f"name its factory: module:Name --weights {model}"
    elif suffix == ".onnx" and weights is not None:
        problem, advice = "an .onnx file holds its own weights", "leave out --weights"
    elif suffix != ".onnx" and ":" not in model:
        problem, advice = f"{model} is neither an .onnx file nor a factory", "name a factory as module:Name"
    elif suffix != ".onnx" and data is None and inputs is None:
        problem = "without data, nothing says what the model takes"
        advice = 'give --data, or --inputs \'[{"name": "x", "shape": ["batch", 30]}]\''
    elif data is not None and not data.exists():
        problem, advice = f"there is no {data}", "check the path"
    elif weights is not None and not weights.is_file():
        problem, advice = f"there is no file {weights}", "check the path"
    elif data is None and label is not None:
        problem, advice = "--label names a column, and there is no data", "add --data FILE"
    if problem:
        raise RecipeError(Diagnostic("P081", problem, help=advice))


def _ask(model: str, data: Path | None, label: str | None, folder: Path) -> Mapping[str, Any]:
    """Ask a child process, which looks for modules in the recipe's folder: the user's code runs there only."""
    from titrant.runtime.store.home import open_home
    from titrant.runtime.worker.parent import Worker

    onnx = model.endswith(".onnx")
    question = {
        "factory": None if onnx else model,
        "onnx": str(Path(model).absolute()) if onnx else None,
        "data": None if data is None else {_kind(data): str(data.absolute())},
        "label": label if label is not None or data is None or not data.is_dir() else "label",
    }
    if data is not None and data.is_dir() and _is_flat(data):
        question["label"] = None
    with Worker(open_home(), folder, 1, 42) as worker:
        answer: Mapping[str, Any] = worker.ask({"do": "inspect", "steps": {"starter": question}})["starter"]
    return answer


def _is_flat(folder: Path) -> bool:
    return not any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())


def _kind(data: Path) -> str:
    if data.is_dir():
        return "image_folder"
    kind = _KINDS.get(data.suffix.lower())
    if kind is None:
        message = f"{data.name} is not a .csv, .parquet or .npz file, nor a folder of images"
        raise RecipeError(Diagnostic("P081", message, help="convert it, or read it in a data factory"))
    return kind


def _from(folder: Path, file: Path) -> str:
    """Write a path as seen from the recipe's folder."""
    return Path(os.path.relpath(file.absolute(), folder)).as_posix()
