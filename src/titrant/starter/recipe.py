"""The text of a starter recipe: what was found out as keys, what cannot be known as visible questions."""

import re
from collections.abc import Iterator
from pathlib import Path

from titrant.schema.units import counted
from titrant.starter.data_lines import MOST_CLASSES, ROLES, data_lines
from titrant.starter.known import Starter, refuse, trains
from titrant.starter.model_lines import model_lines

_FEWEST_ROWS = 20


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
            f"{starter.source[1]} has {counted(rows, 'row')}, too few for {ROLES} roles",
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


def _training(starter: Starter) -> Iterator[str]:
    if trains(starter):
        yield "train: {epochs: 20}  # ? leave it out where `model.weights` names trained ones"


def _contract(starter: Starter) -> Iterator[str]:
    yield "# ? target: {latency: {p95: 10 ms, batch: 1}, size: 5 MiB}   what the model must fit"
    yield "# ? validation: {retention: 0.97}   what it must keep; the level supplies the rest"
