"""Find the transforms that `data.transform_from` names; refuse what a file cannot hold, and what texts do not fit."""

from collections.abc import Iterator
from pathlib import Path

from titrant.compiler.bind.bound_recipe import CheckInput, Finding
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.transform import Resize, Tokenize
from titrant.schema.values.distributions import installed_version
from titrant.schema.values.files import home_path

TRANSFORM_FROM: KeyPath = ("data", "transform_from")
# What a run ships its transforms as, under its outputs, and the two files that make them.
_SHIPPED, _ABOUT, _NUMBERS = "transforms", "transforms.json", "transforms.safetensors"
_GRAPH = ".onnx"
# What reads a tokenizer.json, and its ending.
_TOKENIZERS, _JSON = "tokenizers", ".json"


def shipped_transforms(file: Path, text: str) -> Path:
    """Return the folder of the transforms that a path or a run's id stands for, or the ONNX file; there or not.

    A run is named by its folder, its `outputs`, its id, or the beginning of its id that no other run has.
    """
    place = file
    if not file.exists() and "/" not in text:
        runs = [run for run in _runs() if run.name.startswith(text)]
        exact = [run for run in runs if run.name == text]
        place = (exact or runs)[0] if exact or len(runs) == 1 else file
    for folder in (place / "outputs" / _SHIPPED, place / _SHIPPED, place.parent if place.name == _ABOUT else place):
        if (folder / _ABOUT).is_file():
            return folder
    return place


def _runs() -> list[Path]:
    try:
        return sorted((home_path() / "runs").iterdir())
    except OSError:
        return []


def wrong_transforms(given: CheckInput, path: KeyPath, file: Path) -> Iterator[Finding]:
    """Find what is neither a run's transforms nor an ONNX file."""
    if file.is_dir():
        lacks = next((name for name in (_ABOUT, _NUMBERS) if not (file / name).is_file()), None)
        if lacks is not None:
            message = f"{file} holds no transforms: there is no {lacks}"
            advice = "name a run that released a model, or the folder `outputs/transforms` of one"
            yield given.finding("R102", path, message, advice)
    elif not file.exists():
        runs = [run.name for run in _runs() if run.name.startswith(str(given.data.transform_from))]
        several = f"{len(runs)} runs begin so: write the whole id" if len(runs) > 1 else ""
        advice = (
            several or f"name a run, its folder, or an {_GRAPH} file; runs are looked for in {home_path() / 'runs'}"
        )
        yield given.finding("R102", path, f"there is no file and no run {given.data.transform_from}", advice)
    elif file.suffix.lower() != _GRAPH:
        message = f"`transform_from` reads {_GRAPH} files and a run's transforms, and this is {file.name}"
        yield given.finding("R103", path, message, "convert the transforms to ONNX, such as by skl2onnx")


def texts_are_tokenized(given: CheckInput) -> Iterator[Finding]:
    """Refuse documents that nothing turns into tokens, and a tokenizer whose package is not installed."""
    steps = {place: step for place, step in enumerate(given.data.transform) if isinstance(step, Tokenize)}
    if not steps and given.data.transform_from is None:
        sources = (given.data.source, *(given.data.sources or {}).values())
        if any(source is not None and source.text is not None for source in sources):
            path: KeyPath = ("data", "transform")
            message = "a text is no number yet, and no transform makes tokens of it"
            advice = "add `transform: [{tokenize: {tokenizer: characters, length: 128}}]` under `data`"
            yield given.finding("R232", path, message, advice, part="key")
    if given.recipe.model.args.get("vocabulary") == "auto" and not steps:
        message = "`vocabulary: auto` cannot be resolved: no `tokenize` of this recipe says how many tokens there are"
        yield given.finding("R136", ("model", "args", "vocabulary"), message, "write the number")
    for place, step in steps.items():
        path = ("data", "transform", place, "tokenize")
        is_json = step.file is not None and step.file.lower().endswith(_JSON)
        if is_json and installed_version(_TOKENIZERS) is None:
            message = f"{step.file} is read by the package {_TOKENIZERS}, which is not installed"
            yield given.finding("R234", (*path, "tokenizer"), message, 'pip install "titrant[text]"')
        if given.recipe.task == "language_modeling":
            yield from _windows_fit(given, path, step)


def _windows_fit(given: CheckInput, path: KeyPath, step: Tokenize) -> Iterator[Finding]:
    """Refuse what windows of documents cannot have: a label, names of rows, rows without labels, one token."""
    if step.length == 1:
        message = "a window of one token has no next one to give"
        yield given.finding("R235", (*path, "length"), message, "write how many tokens the model reads at once")
    if given.labels_named:
        message = "what `tokenize` cuts into windows has its next tokens to give, and a label beside it fits no window"
        yield given.finding("R233", ("data", "label"), message, "take `label` out", part="key")
    for key in ("id", "unlabeled"):
        if getattr(given.data, key) is not None:
            message = f"`{key}` is about rows, and `tokenize` cuts each document into several"
            yield given.finding("R236", ("data", key), message, f"take `{key}` out", part="key")


def inside_fits(given: CheckInput) -> Iterator[Finding]:
    """Refuse transforms inside a file where there is nothing to transform."""
    for path in _inside(given):
        if not given.has_source:
            message = "there are no columns to put into a file: random inputs are what the model takes"
            yield given.finding("R159", path, message, "add `data` with a source, or write `transforms: beside`")


def _inside(given: CheckInput) -> Iterator[KeyPath]:
    for place, export in enumerate(given.recipe.export):
        if export.transforms == "inside":
            yield ("export", place, "transforms")


def inside_holds(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse what a file with its transforms inside cannot hold: images of many sizes, a column named as an output."""
    inputs = {name for item in data.wiring for name in ((item.part,) if isinstance(item.part, str) else item.part)}
    listed = inputs or set(given.data.input_columns or ()) or {column.name for column in data.columns}
    taken = [column for column in data.columns if column.name in listed and column.name != given.data.label_name]
    resized = [step for step in given.data.transform if isinstance(step, Resize)]
    for path in _inside(given):
        unheld = "`impute` marks gaps in columns of their own" if data.indicators else ""
        unheld = "the model takes a case step by step" if model.state is not None else unheld
        if unheld:
            message = f"a file with its transforms inside cannot hold this: {unheld}"
            yield given.finding("R159", path, message, "write `transforms: beside`")
        if any(isinstance(step, Tokenize) for step in given.data.transform):
            message = "a file with its transforms inside cannot hold a tokenizer"
            yield given.finding("R159", path, message, "write `transforms: beside`")
        for column in taken:
            if column.name in {spec.name for spec in model.outputs}:
                message = f"the column `{column.name}` is called as an output of the model is"
                yield given.finding("R159", path, message, "rename it in a data factory, or write `transforms: beside`")
            # Images that differ in size have channels and no size among the facts.
            many = len(column.shape) == 1 and any(column.name in (step.columns or (column.name,)) for step in resized)
            if many:
                message = f"images of `{column.name}` differ in size, and a file takes a batch of one size"
                yield given.finding("R159", path, message, "write `transforms: beside`, or resize them before")
