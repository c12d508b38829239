"""The text of a starter recipe: what was found out as keys, what cannot be known as visible questions."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.write import flow
from titrant.schema.recipe.data import ROLES
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted

_FEWEST_ROWS = 20
# Columns that often name the group that a case belongs to, and so are worth a bias gate.
SUBGROUPS = ("sex", "gender", "age", "race", "ethnicity", "region", "site", "hospital")
# A text column whose values differ in more than this share of the rows names the rows.
NAMES_ROWS = 0.5
# A whole-numbered label with more values than this is a quantity.
MOST_CLASSES = 100
# A text column with more values than this makes a model's input very wide.
_WIDE_TEXT = 50
_WIDTH = 100
_MOST_SHOWN = 6
# What a free size of an ONNX input becomes until somebody knows better: pixels, places.
FREE_PIXELS, _FREE_PLACES = 224, 128


@dataclass(frozen=True)
class Starter:
    """What is known: the model as the recipe names it, and what the child process answered (see `describe_starter`)."""

    model: str
    onnx: Mapping[str, Any] | None
    arguments: Sequence[Mapping[str, Any]] | None
    args: Mapping[str, Any]
    weights: str | None
    inputs: Sequence[Mapping[str, Any]] | None
    source: tuple[str, str] | None
    data: Mapping[str, Any] | None


def recipe_name(model: str) -> str:
    """Make a recipe's name of a file's or factory's."""
    stem = Path(model).stem if model.endswith(".onnx") else model.rpartition(":")[2]
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", stem)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", spaced).strip("-.").lower() or "model"


def recipe_text(starter: Starter) -> str:
    """Write the recipe; RecipeError P081 where model or data cannot make one."""
    _check_rows(starter)
    lines = [
        f"# A starter recipe for {starter.model}.",
        "# Written by `titrant init`, which cannot know what stands after a question mark: answer these lines.",
        "titrant: 1",
        f"name: {recipe_name(starter.model)}",
        "level: auto  # ? minimal, balanced, aggressive or medical_critical",
        *_task(starter),
        *model_lines(starter),
        *data_lines(starter),
        *_training(starter),
        *_contract(starter),
        "export: [{format: auto}]  # ? onnx or torchscript, where something downstream needs one of them",
    ]
    return "\n".join(lines) + "\n"


def _check_rows(starter: Starter) -> None:
    if starter.source is not None and starter.data is not None and starter.data["rows"] < _FEWEST_ROWS:
        rows = starter.data["rows"]
        refuse(
            f"{starter.source[1]} has {counted(rows, 'row')}, too few for {len(ROLES)} roles",
            "give more, or leave --data out",
        )


def _task(starter: Starter) -> Iterator[str]:
    label = starter.data["label"] if starter.data else None
    if label is None:
        yield "task: unlabeled  # no label was given: latency, size and agreement with the original are judged"
        return
    distinct = label["distinct"]
    if label["missing"]:
        refuse(
            f"{label['missing']:,} of {starter.data['rows']:,} rows have no {label['name']}",  # type: ignore[index]
            "leave these rows out, in the file or in a data factory",
        )
    if distinct < 2:
        refuse(f"{label['name']} has one value everywhere", "name the column that holds the answer")
    if label["text"] and distinct > MOST_CLASSES:
        refuse(
            f"{label['name']} has {distinct:,} different texts, more than the {MOST_CLASSES} classes of a label here",
            "name the column that holds the answer, or derive fewer classes in a data factory",
        )
    if not label["whole"] or distinct > MOST_CLASSES:
        refuse(
            f"{label['name']} has {distinct:,} different values: that is a quantity, and this version judges classes",
            "derive classes from it in a data factory, such as `alive after ten years`",
        )
    counts = ", ".join(f"{value} {count:,}" for value, count in list(label["values"].items())[:8])
    counts += " …" if distinct > 8 else ""
    kind = "binary" if distinct == 2 else "multiclass"
    yield f"task: {kind}_classification  # {label['name']} has {distinct} values: {counts}"


def model_lines(starter: Starter) -> Iterator[str]:
    """Yield the lines of the `model:` section; RecipeError P081 where the factory lacks an argument."""
    yield "model:"
    if starter.onnx is not None:
        yield from _onnx(starter, starter.onnx)
        return
    yield f"  factory: {starter.model}"
    args = _args(starter)
    free = [argument["name"] for argument in starter.arguments or () if argument["name"] not in args]
    if args:
        yield f"  args: {flow(args)}" + ("  # auto: from the data" if "auto" in args.values() else "")
    if free:
        yield f"  # it also takes {', '.join(free)}"
    if starter.weights is not None:
        yield f"  weights: {flow(starter.weights)}"
    elif not trains(starter):
        yield "  weights: included  # ? or the path of a .safetensors or .pt file; included: the factory loads its own"
    if starter.inputs is not None:
        yield f"  inputs: {flow(list(starter.inputs))}"


def _args(starter: Starter) -> dict[str, Any]:
    """Return the factory's arguments: those given, and `auto` for what the data says."""
    args = dict(starter.args)
    labeled = starter.data is not None and starter.data["label"] is not None
    for argument in starter.arguments or ():
        name = argument["name"]
        if name in args:
            continue
        if (name == "features" and argument["required"] and starter.data) or (name == "classes" and labeled):
            args[name] = "auto"
        elif argument["required"]:
            example = json.dumps({**args, name: 8})
            refuse(f"{starter.model} needs a value for `{name}`", f"give its value, such as --args '{example}'")
    return args


def _onnx(starter: Starter, facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"  onnx: {flow(starter.model)}"
    yield f"  # {facts['parameters']:,} parameters in {len(facts['layers']):,} nodes; {'; '.join(facts['notes'])}"
    outputs = "; ".join(f"{output['name']} {_shape(output['shape'])}" for output in facts["outputs"])
    yield f"  # it answers with {outputs}"
    judged = _judged(facts)[0]
    labelled = starter.data is not None and starter.data["label"] is not None
    named = judged is not None and "prob" in judged.lower()
    if labelled and judged is not None and (named or judged != facts["outputs"][0]["name"]):
        output = {"name": judged, "kind": "probabilities" if named else "logits"}
        yield f"  output: {flow(output)}  # ? the output that classes are decided from"
    yield "  inputs:"
    for tensor in facts["inputs"]:
        sizes, guessed = fixed_sizes(tensor["shape"])
        shape = ", ".join(map(str, sizes))
        line = f"    - {{name: {flow(tensor['name'])}, shape: [{shape}], dtype: {tensor['dtype']}}}"
        yield line + (f"  # ? the file leaves {guessed} free: write the size that you serve" if guessed else "")


def _shape(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"


def data_lines(starter: Starter) -> Iterator[str]:
    """Yield the lines of the `data:` section; RecipeError P081 where the data has no input for a model."""
    if starter.source is None or starter.data is None:
        yield "# ? data: without it the model runs on random inputs, and nothing can be calibrated or judged by labels"
        return
    data, (kind, path) = starter.data, starter.source
    kept, left = _kept(data["columns"])
    size = f"{counted(data['rows'], 'row')}, {counted(len(data['columns']), 'column')}"
    yield "data:"
    yield f"  source: {{{kind}: {flow(path)}}}  # {size}" + (" beside the label" if data["label"] else "")
    for note in data["notes"]:
        yield f"  # {note}"
    for name in data["left"]:
        yield f"  # {name} has a different number of rows, and is left out"
    for name, reason in left.items():
        yield f"  # ? {name} is left out of the inputs: {reason}"
    yield from _doubtful(kept)
    for leak in data.get("leaks", ()):
        advice = "leave it out of `inputs`, unless it is known before the answer is"
        yield f"  # ? {leak['column']} gives the label away alone ({leak['measure']} {leak['score']:.3f}): {advice}"
    if not kept:
        only = "a model needs at least one that differs from row to row"
        refuse(f"{path} has no column that the model could take beside the label", only)
    if left or data["left"] or kind == "npz":
        yield from _names("  inputs: ", [column["name"] for column in kept])
    if data["label"]:
        yield from _label(data["label"])
        yield from _classes(starter, data["label"])
    yield from _transforms(kept, starter.onnx)
    yield from _split(data["label"])
    groups = [column["name"] for column in kept if column["name"].lower() in SUBGROUPS]
    if groups:
        cut = "bins: [40, 65]" if groups[0].lower() == "age" else "values: [one, other]"
        yield f"  # ? subgroups, to judge {', '.join(groups)} apart:"
        yield f"  #   {{{flow(groups[0].lower())}: {{column: {flow(groups[0])}, {cut}}}}}"


def _kept(columns: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    left = {}
    for column in columns:
        if column["dtype"] == "text" and column["unlike"] > NAMES_ROWS:
            left[column["name"]] = f"{column['distinct']:,} different texts, so it names the rows"
        elif column["distinct"] is not None and column["distinct"] < 2:
            left[column["name"]] = "it has one value everywhere" if column["distinct"] else "it has no value anywhere"
    return [column for column in columns if column["name"] not in left], left


def _doubtful(kept: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Ask about columns that one_hot makes very wide, and whole numbers that may only count the rows."""
    for column in kept:
        if column["dtype"] == "text" and column["distinct"] > _WIDE_TEXT:
            problem = f"{column['name']} has {column['distinct']:,} different texts, and each becomes an input"
            yield f"  # ? {problem}: derive numbers from dates, or leave it out"
        elif column["dtype"].startswith(("int", "uint")) and column["distinct"] is not None and column["unlike"] == 1.0:
            yield f"  # ? {column['name']} has another whole number in each row: leave it out if it only names them"


def _names(key: str, names: Sequence[str]) -> Iterator[str]:
    """Write a list of names, in several lines where one is too long."""
    line = f"{key}{flow(list(names))}"
    if len(line) <= _WIDTH:
        yield line
        return
    yield key.rstrip()
    yield from (f"    - {flow(name)}" for name in names)


def _label(label: Mapping[str, Any]) -> Iterator[str]:
    yield f"  label: {flow(label['name'])}"
    values = list(label["values"])
    if len(values) == 2:
        yield f"  # ? positive: {values[0]} or {values[1]}: the critical class, which safety gates protect"
    elif len(values) <= MOST_CLASSES:
        yield f"  # ? positive: the critical class, if there is one, of {', '.join(values[:8])}"


def _classes(starter: Starter, label: Mapping[str, Any]) -> Iterator[str]:
    """Ask which output of a trained model is which class: nothing but its maker knows."""
    outputs = _judged(starter.onnx)[1]
    values = list(label["values"])
    more = outputs is not None and outputs > len(values) > 1
    if trains(starter) or not (label["text"] or (more and not _are_places(values, outputs))):
        return
    own = values if label["text"] else [int(value) if value.isdigit() else value for value in values]
    listed = flow([*own[:MOST_CLASSES], *(["…"] if more else [])])
    yield f"  # ? classes: {listed}: every class in the order of the model's outputs, which only its maker knows"


def _are_places(values: Sequence[str], outputs: int | None) -> bool:
    return all(value.isdigit() and int(value) < (outputs or 0) for value in values)


def _judged(onnx: Mapping[str, Any] | None) -> tuple[str | None, int | None]:
    """Return the name of the output that classes are decided from, and its numbers a case; None where there is none.

    The converters of scikit-learn put the class that was chosen before the probabilities.
    """
    outputs = [(output["name"], list(output["shape"])) for output in (onnx or {}).get("outputs", ())]
    wide = [(name, shape[1]) for name, shape in outputs if len(shape) == 2 and isinstance(shape[1], int)]
    return wide[0] if wide else (None, None)


def _transforms(kept: Sequence[Mapping[str, Any]], onnx: Mapping[str, Any] | None) -> Iterator[str]:
    steps: list[str] = []
    images = [column for column in kept if column["dtype"] == "images" or len(column["shape"]) == 3]
    image_shapes = [tensor["shape"] for tensor in (onnx or {}).get("inputs", ()) if len(tensor["shape"]) == 4]
    height, width = fixed_sizes(image_shapes[0])[0][2:] if image_shapes else (FREE_PIXELS, FREE_PIXELS)
    if images and (
        images[0]["dtype"] == "images" or (image_shapes and list(images[0]["shape"][1:]) != [height, width])
    ):
        steps.append(f"resize: {{height: {height}, width: {width}}}")
    if images:
        steps.append("normalize: {mean: 0.5, std: 0.5, scale: 1}")
    flat = [column for column in kept if column not in images]
    gaps = [column["name"] for column in flat if column["missing"] and column["dtype"] != "text"]
    holes = [column["name"] for column in flat if column["missing"] and column["dtype"] == "text"]
    text = any(column["dtype"] == "text" for column in flat)
    if gaps:
        steps.append(f"impute: {{strategy: median, columns: {flow(gaps)}}}" if text else "impute: {strategy: median}")
    if holes:
        steps.append(f"impute: {{strategy: most_frequent, columns: {flow(holes)}}}")
    if text:
        steps.append("one_hot")
    if any(column["dtype"] not in ("text", "bool") for column in flat):
        steps.append("standardize")
    if onnx is not None and steps:
        yield "  # ? a trained model wants what it was trained with: these transforms are a guess"
    missing = [f"{column['name']} {column['missing']:,}" for column in flat if column["missing"]]
    if missing:
        more = f" and {len(missing) - _MOST_SHOWN} columns more" if len(missing) > _MOST_SHOWN else ""
        yield f"  # missing values: {', '.join(missing[:_MOST_SHOWN])}{more}"
    if steps:
        yield "  transform:"
        yield from (f"    - {step}" if ":" not in step else f"    - {{{step}}}" for step in steps)


def _split(label: Mapping[str, Any] | None) -> Iterator[str]:
    rarest = min(label["values"].items(), key=lambda value_count: value_count[1]) if label else None
    roles = "train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3"
    if rarest is not None and rarest[1] < len(ROLES):
        yield f"  # ? class {rarest[0]} has {rarest[1]} rows, too few for {len(ROLES)} roles: join it with another"
        yield f"  split: {{{roles}, stratify: false}}"
    else:
        yield f"  split: {{{roles}}}  # ? by: a column, such as the patient"


def fixed_sizes(shape: Sequence[int | str]) -> tuple[list[int | str], str]:
    """Fill in what the file leaves free; returns the names of those sizes too."""
    sizes: list[int | str] = ["batch"]
    guessed = []
    for place, size in enumerate(shape[1:], 1):
        if isinstance(size, int):
            sizes.append(size)
            continue
        guessed.append(size)
        sizes.append((3 if place == 1 else FREE_PIXELS) if len(shape) == 4 else _FREE_PLACES)
    return sizes, ", ".join(guessed)


def _training(starter: Starter) -> Iterator[str]:
    if trains(starter):
        yield "train: {epochs: 20}  # ? leave it out where `model.weights` names trained ones"


def _contract(starter: Starter) -> Iterator[str]:
    yield "# ? target: {latency: {p95: 10 ms, batch: 1}, size: 5 MiB}   what the model must fit"
    yield "# ? validation: {retention: 0.97}   what it must keep; the level supplies the rest"


def trains(starter: Starter) -> bool:
    """Whether the recipe fits the model: a factory without weights, and rows with a label."""
    return starter.onnx is None and starter.weights is None and bool(starter.data and starter.data["label"])


def refuse(message: str, advice: str) -> NoReturn:
    """Raise RecipeError P081: model or data cannot make a recipe."""
    raise RecipeError(Diagnostic("P081", message, help=advice))
