"""What a starter recipe is asked for: a model and data as a command names them, told apart by what is there."""

import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from titrant.api.starter.lines import TABULAR, recipe_name, refuse
from titrant.api.starter.questions import answer, answers_of
from titrant.schema.language.nearest import nearest
from titrant.schema.recipe.data import BUNDLED
from titrant.schema.recipe.level import LEVEL_NAMES
from titrant.schema.recipe.terms import REF
from titrant.schema.values.files import WEIGHT_SUFFIXES, YAML_SUFFIXES
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import is_text

DATA_KINDS = {".csv": "csv", ".parquet": "parquet", ".npz": "npz"}
OBJECTIVES = ("latency", "size")
# What `--label` says where no column is one, and `--weights` where the factory loads its own.
NO_LABEL, OWN_WEIGHTS = "none", "included"
_ONNX = ".onnx"
_MOST_LISTED = 6


@dataclass(frozen=True)
class StarterRequest:
    """The arguments of `titrant init` and `titrant optimize`, as they were given."""

    model: str
    out: Path | None = None
    data: str | None = None
    label: str | None = None
    weights: str | None = None
    args: Mapping[str, Any] | None = None
    inputs: Sequence[Mapping[str, Any]] | None = None
    level: str = "balanced"
    objective: str = ""
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A model and data that are there: where the recipe will stand, and what it names.

    `model` is a file's path or a reference, and `onnx` whether it is a file; `kind` is that of the data's source, and
    `data` its path, reference or name, "" without data. `answers` is the part of the recipe that the command writes.
    Of data `alone` nobody named a model.
    """

    file: Path
    model: str
    onnx: bool
    kind: str = ""
    data: str = ""
    label: str | None = None
    weights: str | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False

    @property
    def folder(self) -> Path:
        """The recipe's folder, in which modules are looked for."""
        return self.file.absolute().parent

    def from_recipe(self, path: str) -> str:
        """Write a path as seen from the recipe's folder."""
        return Path(os.path.relpath(Path(path).absolute(), self.folder)).as_posix()


def subject_of(request: StarterRequest) -> Subject:
    """Tell what the model and the data are; RecipeError P081 for what cannot become a recipe, before any is read."""
    answers = answers_of(request.overrides)
    _check_text(request)
    if request.level not in LEVEL_NAMES:
        refuse(f"there is no level {request.level}", f"one of {', '.join(LEVEL_NAMES)}")
    if request.objective and request.objective not in OBJECTIVES:
        refuse(f"{request.objective} is nothing to optimize for", f"one of {', '.join(OBJECTIVES)}")
    model, data = _pair(request.model, request.data)
    label = _text(_once("--label", request.label, "data.label", answers))
    weights = _text(_once("--weights", request.weights, "model.weights", answers))
    inputs = _once("--inputs", request.inputs, "model.inputs", answers)
    _once("--target", request.objective or None, "search.objective", answers)
    if data is None and label not in (None, NO_LABEL):
        refuse("--label names a column, and there is no data", "add --data FILE")
    _check_model(model, weights)
    onnx = _is_file(model, _ONNX)
    if not onnx and data is None and inputs is None:
        advice = 'give --data, or --inputs \'[{"name": "x", "shape": ["batch", 30]}]\''
        refuse("without data, nothing says what the model takes", advice)
    kind = "" if data is None else _kind(data)
    if kind == "image_folder" and label is None and data is not None:
        label = NO_LABEL if _is_flat(Path(data)) else "label"
    return Subject(
        request.out if request.out is not None else _beside(request.model, model, data),
        model,
        onnx,
        kind,
        data or "",
        label,
        weights,
        answers,
        alone=model == TABULAR and request.model != TABULAR,
    )


def _once(option: str, value: Any, key: str, answers: Mapping[str, Any]) -> Any:
    """Return what an option or a key of `--set` says; RecipeError P081 where both do."""
    stated = answer(answers, key)
    if value is not None and stated is not None:
        refuse(f"{option} and --set {key} say the same", "leave one of them out")
    return stated if value is None else value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _check_text(request: StarterRequest) -> None:
    for given in (request.model, request.data, request.weights, request.out):
        if given is None:
            continue
        if "\0" in str(given) or not is_text(str(given)):
            refuse(f"the name of {given} is not UTF-8", "reach it by a link of another name")
    for place in (request.model, request.data or "", str(request.out or "")):
        if ":" not in place and not is_text(str(Path(place).absolute())):
            refuse(f"the name of the folder of {place} is not UTF-8", "reach it by a link of another name")


def _pair(model: str, data: str | None) -> tuple[str, str | None]:
    """Return the model and the data that are meant: a folder holds one of each, a table alone is data."""
    place = Path(model)
    if place.is_dir():
        return _in_folder(place, data)
    if data is None and place.suffix.lower() in DATA_KINDS:
        if not place.is_file():
            refuse(f"there is no file {model}", _near(place))
        if place.suffix.lower() == ".npz":
            refuse(f"{model} holds arrays and no model", f"name the model, such as model.onnx --data {model}")
        return TABULAR, model
    return model, data


def _in_folder(folder: Path, data: str | None) -> tuple[str, str | None]:
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_file())
    models = [name for name in names if Path(name).suffix.lower() == _ONNX]
    tables = [name for name in names if Path(name).suffix.lower() in DATA_KINDS]
    if not models:
        there = f"it has {', '.join(names[:_MOST_LISTED])}" if names else "it has no file"
        refuse(f"the folder {folder} has no .onnx file", f"{there}; name the model's file, or a factory module:Name")
    if len(models) > 1:
        refuse(f"the folder {folder} has {len(models)} .onnx files", f"name one: {', '.join(models[:_MOST_LISTED])}")
    if data is None and len(tables) > 1:
        refuse(f"the folder {folder} has {len(tables)} tables", f"name one with --data: {', '.join(tables[:6])}")
    beside = str(folder / tables[0]) if tables else None
    return str(folder / models[0]), data if data is not None else beside


def _check_model(model: str, weights: str | None) -> None:
    place, suffix = Path(model), Path(model).suffix.lower()
    if suffix in YAML_SUFFIXES:
        refuse(f"{model} is a recipe already", f"run it: titrant run {model}")
    if model.lower().endswith(WEIGHT_SUFFIXES):
        refuse(*_weights_alone(place))
    if suffix == _ONNX:
        if not place.is_file():
            refuse(f"there is no file {model}", _near(place))
        if weights is not None:
            refuse("an .onnx file holds its own weights", "leave out --weights")
        return
    if place.is_file() and suffix == ".pt2":
        refuse(
            f"{place} is a torch.export file, and starters are written for .onnx files and factories",
            f"write a recipe with `model: {{exported: {place}}}`; titrant inspect {place} lists its layers",
        )
    if place.is_file():
        refuse(
            f"{place.name} is a file of no kind that titrant knows", "export the model as .onnx, or name its factory"
        )
    if not is_reference(model):
        refuse(
            f"{model} is neither an .onnx file nor a factory",
            _near(place) if place.suffix or os.sep in model else "name a factory as module:Name",
        )
    if weights is not None and weights != OWN_WEIGHTS:
        if not Path(weights).is_file():
            refuse(f"there is no file {weights}", _near(Path(weights)))
        if not weights.lower().endswith(WEIGHT_SUFFIXES):
            refuse(f"{weights} is no file of weights", f"weights are in {', '.join(WEIGHT_SUFFIXES)} files")


def _weights_alone(place: Path) -> tuple[str, str]:
    """Say what a file is that holds no model for titrant, and what would."""
    if not place.is_file():
        return f"there is no file {place}", _near(place)
    if holds_program(place):
        return (
            f"{place} is a TorchScript program, and starters are written for .onnx files and factories",
            f"write a recipe with `model: {{torchscript: {place}}}`; titrant inspect {place} lists its layers",
        )
    return f"{place} holds weights and no model", f"name its factory: module:Name --weights {place}"


def holds_program(file: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip with a folder of code beside the tensors."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(len(parts) > 2 and parts[1] == "code" for parts in map(_parts, archive.namelist()))
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _parts(name: str) -> tuple[str, ...]:
    return Path(name).parts


def _is_file(model: str, suffix: str) -> bool:
    return Path(model).suffix.lower() == suffix


def is_reference(text: str) -> bool:
    """Whether a text is a reference such as `my_code:Net`, as recipes write them."""
    return re.fullmatch(REF, text) is not None


def _kind(data: str) -> str:
    place = Path(data)
    if place.is_dir():
        tables = sorted(entry.name for entry in place.iterdir() if entry.suffix.lower() in DATA_KINDS)
        if tables and _is_flat(place):
            refuse(f"{data} is a folder, of which images are read", f"name a file: {place / tables[0]}")
        return "image_folder"
    if place.exists():
        kind = DATA_KINDS.get(place.suffix.lower())
        if place.suffix.lower() == ".txt":
            advice = (
                "write one with `task: language_modeling` and `data: {source: {text: …}}`: see the language models page"
            )
            refuse(f"{place.name} is plain text, and starters are written for tables and images", advice)
        if kind is None:
            message = f"{place.name} is not a .csv, .parquet or .npz file, nor a folder of images"
            refuse(message, "convert it, or read it in a data factory: --data module:Name")
        if not place.is_file():
            refuse(f"{data} is not a regular file", "name a file on a disk: a pipe or device never ends")
        return kind
    if data in BUNDLED:
        return "sklearn"
    if is_reference(data):
        return "factory"
    near = nearest(data, BUNDLED)
    return refuse(f"there is no {data}", f"did you mean {near}?" if near else _near(place))


def _is_flat(folder: Path) -> bool:
    return not any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())


def _near(place: Path) -> str:
    """Word a hint: the most similar name in the folder where a file is not."""
    try:
        names = [entry.name for entry in place.absolute().parent.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return f"there is no folder {place.parent}"
    near = nearest(place.name, names)
    return f"did you mean {place.parent / near}?" if near else "check the path"


def _beside(asked: str, model: str, data: str | None) -> Path:
    """Name the recipe's file: beside the model's, beside a table that stands alone, else in this folder."""
    name = f"{recipe_name(data if model == TABULAR and data and asked == data else model)}.yaml"
    if Path(asked).is_dir():
        return Path(asked) / name
    return Path(asked).parent / name if Path(asked).is_file() else Path(name)
