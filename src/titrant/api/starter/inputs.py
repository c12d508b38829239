"""Which columns a starter recipe gives to the model, and which it leaves out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.api.starter.lines import Starter
from titrant.api.starter.questions import AnswerChoice, OpenQuestion
from titrant.schema.language.write import flow

# A text column whose values differ in more than this share of the rows names the rows.
NAMES_ROWS = 0.5
# A text column with more values than this makes a model's input very wide.
_WIDE_TEXT = 50
_WIDTH = 100

ColumnList = Sequence[Mapping[str, Any]]


def kept_columns(starter: Starter) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """Return the columns that the model takes, and why each other one is left out, by name.

    A trained model takes what it was trained with: what its file says decides. Columns that hold one value, or name
    the rows, tell a model that is trained here nothing.
    """
    columns = (starter.data or {}).get("columns", ())
    stated = starter.stated("data.inputs")
    if stated is not None:
        names = _names_of(stated)
        return [column for column in columns if column["name"] in names], {}
    spare = _spare(columns)
    taken = _taken(starter, columns, spare)
    if taken is not None:
        left = {
            column["name"]: "the model does not take such a column" for column in columns if column["name"] not in taken
        }
        return [column for column in columns if column["name"] in taken], left
    return [column for column in columns if column["name"] not in spare], spare


def _names_of(stated: Any) -> set[str]:
    parts = stated.values() if isinstance(stated, Mapping) else stated if isinstance(stated, list) else [stated]
    return {str(name) for part in parts for name in (part if isinstance(part, list) else [part])}


def _spare(columns: ColumnList) -> dict[str, str]:
    left = {}
    for column in columns:
        if column["dtype"] == "text" and column["unlike"] > NAMES_ROWS:
            left[column["name"]] = f"{column['distinct']:,} different texts, so it names the rows"
        elif column["distinct"] is not None and column["distinct"] < 2:
            left[column["name"]] = "it has one value everywhere" if column["distinct"] else "it has no value anywhere"
    return left


def _taken(starter: Starter, columns: ColumnList, spare: Mapping[str, str]) -> set[str] | None:
    """Return the columns that an ONNX file takes, by name or by shape; None where it does not say."""
    if starter.onnx is None:
        return None
    specs = [tensor for tensor in starter.onnx["inputs"] if tensor["shape"]]
    by_name = {column["name"]: column for column in columns}
    named = {tensor["name"] for tensor in starter.onnx["inputs"]} & set(by_name)
    if len(starter.onnx["inputs"]) > 1:
        return named if {tensor["name"] for tensor in specs} <= named else None
    if len(specs) != 1:
        return None
    sizes = specs[0]["shape"][1:]
    arrays = [column["name"] for column in columns if column["shape"] and _fits(column["shape"], sizes)]
    if len(arrays) > 1:
        arrays = [name for name in arrays if name in named] or arrays
    if arrays:
        return set(arrays) if len(arrays) == 1 else None
    if len(sizes) != 1 or not isinstance(sizes[0], int):
        return None
    single = {column["name"] for column in columns if not column["shape"] and column["dtype"] != "text"}
    return next((names for names in (single, single - set(spare)) if len(names) == sizes[0]), None)


def _fits(shape: Sequence[int], sizes: Sequence[int | str]) -> bool:
    """Whether an array has a model's dimensions; those of images, the last two of three, can still be resized."""
    fixed = sizes[:1] if len(sizes) == 3 else sizes
    return len(shape) == len(sizes) and all(
        isinstance(size, str) or size == own for own, size in zip(shape, fixed, strict=False)
    )


def input_question(starter: Starter) -> Iterator[OpenQuestion]:
    """Ask which columns an ONNX file with one input of so many numbers takes, where the data has another number."""
    if starter.onnx is None or starter.data is None or starter.stated("data.inputs") is not None:
        return
    columns = starter.data["columns"]
    if _taken(starter, columns, _spare(columns)) is not None or len(starter.onnx["inputs"]) != 1:
        return
    tensor = starter.onnx["inputs"][0]
    single = [column["name"] for column in columns if not column["shape"] and column["dtype"] != "text"]
    texts = any(column["dtype"] == "text" for column in columns)
    if len(tensor["shape"]) != 2 or not isinstance(tensor["shape"][1], int) or (texts and single):
        return
    arrays = [column["name"] for column in columns if column["shape"]]
    if arrays and not single:
        return
    needed = tensor["shape"][1]
    given = f"{len(single)} columns of numbers" if not arrays else f"the arrays {', '.join(arrays)} and other columns"
    offered = [*single[:needed], *(["…"] if len(single) < needed else [])] if not arrays else arrays[:1]
    yield OpenQuestion(
        "data.inputs",
        f"which of them are the {needed} numbers of its input `{tensor['name']}`?",
        f"the data has {given} beside the label.",
        (AnswerChoice(offered, "in the order that the model was trained with"),),
    )


def input_lines(starter: Starter, kept: ColumnList, left: Mapping[str, str]) -> Iterator[str]:
    """Yield `inputs`, where not every column is one, and doubts about those that are."""
    yield from _doubtful(kept)
    stated = starter.stated("data.inputs")
    if stated is not None:
        yield f"  inputs: {flow(stated)}"
    elif left or (starter.data or {})["left"] or (starter.source or ("",))[0] == "npz":
        yield from _names("  inputs: ", [column["name"] for column in kept])


def _doubtful(kept: ColumnList) -> Iterator[str]:
    """Say which columns one_hot makes very wide, and which whole numbers may only count the rows."""
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
