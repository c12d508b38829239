"""The `data:` section of a starter recipe: its source, inputs, label, transforms and roles."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.schema.units import counted
from titrant.schema.write import flow
from titrant.starter.known import Starter, refuse
from titrant.starter.model_lines import FREE_PIXELS, fixed_sizes

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
# Roles that rows are split into.
ROLES = 4


def data_lines(starter: Starter) -> Iterator[str]:
    """Yield the lines of the section; RecipeError P081 where the data has no input for a model."""
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
    if not kept:
        only = "a model needs at least one that differs from row to row"
        refuse(f"{path} has no column that the model could take beside the label", only)
    if left or data["left"] or kind == "npz":
        yield from _names("  inputs: ", [one["name"] for one in kept])
    if data["label"]:
        yield from _label(data["label"])
    yield from _transforms(kept, starter.onnx)
    yield from _split(data["label"])
    groups = [one["name"] for one in kept if one["name"].lower() in SUBGROUPS]
    if groups:
        cut = "bins: [40, 65]" if groups[0].lower() == "age" else "values: [one, other]"
        yield f"  # ? subgroups, to judge {', '.join(groups)} apart:"
        yield f"  #   {{{flow(groups[0].lower())}: {{column: {flow(groups[0])}, {cut}}}}}"


def _doubtful(kept: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Ask about columns that one_hot makes very wide, and whole numbers that may only count the rows."""
    for one in kept:
        if one["dtype"] == "text" and one["distinct"] > _WIDE_TEXT:
            told = f"{one['name']} has {one['distinct']:,} different texts, and each becomes an input"
            yield f"  # ? {told}: derive numbers from dates, or leave it out"
        elif one["dtype"].startswith(("int", "uint")) and one["distinct"] is not None and one["unlike"] == 1.0:
            yield f"  # ? {one['name']} has another whole number in each row: leave it out if it only names them"


def _split(label: Mapping[str, Any] | None) -> Iterator[str]:
    rarest = min(label["values"].items(), key=lambda one: one[1]) if label else None
    roles = "train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3"
    if rarest is not None and rarest[1] < ROLES:
        yield f"  # ? class {rarest[0]} has {rarest[1]} rows, too few for {ROLES} roles: join it with another"
        yield f"  split: {{{roles}, stratify: false}}"
    else:
        yield f"  split: {{{roles}}}  # ? by: a column, such as the patient"


def _kept(columns: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    left = {}
    for one in columns:
        if one["dtype"] == "text" and one["unlike"] > NAMES_ROWS:
            left[one["name"]] = f"{one['distinct']:,} different texts, so it names the rows"
        elif one["distinct"] is not None and one["distinct"] < 2:
            left[one["name"]] = "it has one value everywhere" if one["distinct"] else "it has no value anywhere"
    return [one for one in columns if one["name"] not in left], left


def _label(label: Mapping[str, Any]) -> Iterator[str]:
    yield f"  label: {flow(label['name'])}"
    values = list(label["values"])
    if len(values) == 2:
        yield f"  # ? positive: {values[0]} or {values[1]}: the critical class, which safety gates protect"
    elif len(values) <= MOST_CLASSES:
        yield f"  # ? positive: the critical class, if there is one, of {', '.join(values[:8])}"


def _transforms(kept: Sequence[Mapping[str, Any]], onnx: Mapping[str, Any] | None) -> Iterator[str]:
    steps: list[str] = []
    images = [one for one in kept if one["dtype"] == "images" or len(one["shape"]) == 3]
    wanted = [one["shape"] for one in (onnx or {}).get("inputs", ()) if len(one["shape"]) == 4]
    height, width = fixed_sizes(wanted[0])[0][2:] if wanted else (FREE_PIXELS, FREE_PIXELS)
    if images and (images[0]["dtype"] == "images" or (wanted and list(images[0]["shape"][1:]) != [height, width])):
        steps.append(f"resize: {{height: {height}, width: {width}}}")
    if images:
        steps.append("normalize: {mean: 0.5, std: 0.5, scale: 1}")
    flat = [one for one in kept if one not in images]
    gaps = [one["name"] for one in flat if one["missing"] and one["dtype"] != "text"]
    holes = [one["name"] for one in flat if one["missing"] and one["dtype"] == "text"]
    text = any(one["dtype"] == "text" for one in flat)
    if gaps:
        steps.append(f"impute: {{strategy: median, columns: {flow(gaps)}}}" if text else "impute: {strategy: median}")
    if holes:
        steps.append(f"impute: {{strategy: most_frequent, columns: {flow(holes)}}}")
    if text:
        steps.append("one_hot")
    if any(one["dtype"] not in ("text", "bool") for one in flat):
        steps.append("standardize")
    if onnx is not None and steps:
        yield "  # ? a trained model wants what it was trained with: these transforms are a guess"
    missing = [f"{one['name']} {one['missing']:,}" for one in flat if one["missing"]]
    if missing:
        more = f" and {len(missing) - _MOST_SHOWN} columns more" if len(missing) > _MOST_SHOWN else ""
        yield f"  # missing values: {', '.join(missing[:_MOST_SHOWN])}{more}"
    if steps:
        yield "  transform:"
        yield from (f"    - {step}" if ":" not in step else f"    - {{{step}}}" for step in steps)


def _names(key: str, names: Sequence[str]) -> Iterator[str]:
    """Write a list of names, in several lines where one is too long."""
    line = f"{key}{flow(list(names))}"
    if len(line) <= _WIDTH:
        yield line
        return
    yield key.rstrip()
    yield from (f"    - {flow(name)}" for name in names)
