"""The `data` section of a starter recipe: source, inputs, label, classes, split, and proposals as comments."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.api.starter.inputs import input_lines, kept_columns
from titrant.api.starter.lines import MOST_CLASSES, Starter, judged_output, other_lines, refuse
from titrant.api.starter.questions import AnswerChoice, OpenQuestion
from titrant.api.starter.transform import preparation
from titrant.schema.language.write import flow
from titrant.schema.recipe.data import DEFAULT_SHARES, ROLES
from titrant.schema.recipe.transform import FITTED
from titrant.schema.values.units import counted

# Columns that often name the group that a case belongs to, and so are worth a bias gate.
SUBGROUPS = ("sex", "gender", "age", "race", "ethnicity", "region", "site", "hospital")
# Shares where nothing is fitted on the rows: what would train judges.
_TRAINED_SHARES = {"tuning": 0.2, "calibration": 0.2, "evaluation": 0.6}
_MOST_SHOWN = 6
# What the lines of the section write themselves.
_KEYS = ("source", "inputs", "label", "classes", "positive", "transform", "split")


def data_lines(starter: Starter) -> Iterator[str]:
    """Yield the lines of the `data:` section; RecipeError P081 where the data has no input for a model."""
    if starter.source is None or starter.data is None:
        for key in starter.stated("data") or ():
            refuse(f"`data.{key}` has nothing to act on, and there is no data", "add --data FILE")
        yield "# ? data: without it the model runs on random inputs, and nothing can be calibrated or judged by labels"
        return
    data, (kind, path) = starter.data, starter.source
    kept, left = kept_columns(starter)
    size = f"{counted(data['rows'], 'row')}, {counted(len(data['columns']), 'column')}"
    yield "data:"
    where = flow({"path": path, "color": "gray"}) if kind == "image_folder" and _takes_gray(starter) else flow(path)
    yield f"  source: {{{kind}: {where}}}  # {size}" + (" beside the label" if data["label"] else "")
    for note in data["notes"]:
        yield f"  # {note}"
    for name in data["left"]:
        yield f"  # {name} has a different number of rows, and is left out"
    for reason in dict.fromkeys(left.values()):
        names = [name for name in left if left[name] == reason]
        if len(names) > _MOST_SHOWN:
            yield f"  # ? {len(names)} columns are left out of the inputs: {reason}"
        else:
            yield from (f"  # ? {name} is left out of the inputs: {reason}" for name in names)
    if not kept:
        only = "a model needs at least one that differs from row to row"
        refuse(f"{path} has no column that the model could take beside the label", only)
    yield from input_lines(starter, kept, left)
    for leak in data.get("leaks", ()):
        advice = "leave it out of `inputs`, unless it is known before the answer is"
        yield f"  # ? {leak['column']} gives the label away alone ({leak['measure']} {leak['score']:.3f}): {advice}"
    if data["label"]:
        yield from _label(starter, data["label"])
        yield from _classes(starter, data["label"])
    prepared = preparation(starter, kept)
    yield from _gaps(kept)
    if starter.stated("data.transform") == []:
        yield "  transform: []  # they go in as they are"
    elif prepared.note:
        yield f"  # {prepared.note}"
    if prepared.steps:
        yield "  transform:"
        yield from (f"    - {flow(step)}" for step in prepared.steps)
    fits = any(name in FITTED for step in prepared.steps for name in ([step] if isinstance(step, str) else step))
    yield from _split(starter, fits=fits or starter.trains)
    yield from other_lines(starter.stated("data"), _KEYS, "  ")
    if starter.stated("data.subgroups") is None:
        yield from _subgroups(kept)


def _takes_gray(starter: Starter) -> bool:
    """Whether the model's file takes images of one channel."""
    shapes = [tensor["shape"] for tensor in (starter.onnx or {}).get("inputs", ())]
    return any(len(shape) == 4 and shape[1] == 1 for shape in shapes)


def _label(starter: Starter, label: Mapping[str, Any]) -> Iterator[str]:
    yield f"  label: {flow(label['name'])}"
    stated = starter.stated("data.positive")
    values = list(label["values"])
    if stated is not None:
        yield f"  positive: {flow(stated)}"
    elif starter.quantity:
        return
    elif len(values) == 2:
        yield f"  # ? positive: {values[0]} or {values[1]}: the critical class, which safety gates protect"
    elif len(values) <= MOST_CLASSES:
        yield f"  # ? positive: the critical class, if there is one, of {', '.join(values[:8])}"


def _classes(starter: Starter, label: Mapping[str, Any]) -> Iterator[str]:
    stated = starter.stated("data.classes")
    if stated is not None:
        yield f"  classes: {flow(stated)}  # in the order of the model's outputs"
        return
    held = None if starter.quantity else _held_classes(starter, label)
    if held is not None:
        yield f"  classes: {flow(held)}  # in the order of the model's outputs, as its file names them"


def _held_classes(starter: Starter, label: Mapping[str, Any]) -> Sequence[Any] | None:
    """Return the classes as the model's file lists them, where these are what the label has, in another order or more.

    Whole numbers in their order need no list.
    """
    classes = (starter.hints or {}).get("classes")
    if classes is None or starter.trains or not set(label["values"]) <= {str(item) for item in classes}:
        return None
    places = [str(place) for place in range(len(classes))]
    return None if [str(item) for item in classes] == places else list(classes)


_WHICH_OUTPUT = "which output of the model is which class?"


def class_question(starter: Starter) -> Iterator[OpenQuestion]:
    """Ask which output of a trained model is which class, where nothing says so."""
    label = starter.label
    if label is None or starter.trains or starter.stated("data.classes") is not None:
        return
    if _held_classes(starter, label) is not None or label["distinct"] > MOST_CLASSES or not label["whole"]:
        return
    outputs = judged_output(starter)[1]
    values = list(label["values"])
    more = outputs is not None and outputs > max(len(values), 2)
    if len(values) < 2 or not (label["text"] or (more and not _are_places(values, outputs))):
        return
    own = values if label["text"] else [int(value) if value.isdigit() else value for value in values]
    because = f"`{label['name']}` has {len(values)} names" if label["text"] else f"`{label['name']}` has other numbers"
    if more:
        because += f", and the model {outputs} outputs"
    orders = [own, own[::-1]] if len(own) == 2 and not more else [[*own, "…"] if more else own]
    means = "every class, in the order of the outputs"
    two = "its number is about {1}" if outputs == 1 else "output 0 is {0}"
    choices = tuple(AnswerChoice(order, two.format(*order) if len(orders) > 1 else means) for order in orders)
    asked = "which class is the model's one number about?" if outputs == 1 else _WHICH_OUTPUT
    yield OpenQuestion("data.classes", asked, f"{because}.", choices)


def _are_places(values: Sequence[str], outputs: int | None) -> bool:
    return all(value.isdigit() and int(value) < (outputs or 0) for value in values)


def label_question(starter: Starter) -> Iterator[OpenQuestion]:
    """Ask which column holds the answer, where several could."""
    candidates = (starter.data or {}).get("candidates", ())
    if not candidates or starter.source is None:
        return
    some = ", ".join(f"`{name}`" for name in candidates[:_MOST_SHOWN]) + (" …" * (len(candidates) > _MOST_SHOWN))
    choices = [AnswerChoice(name) for name in candidates[:_MOST_SHOWN]]
    yield OpenQuestion(
        "data.label",
        "which column holds the answer?",
        f"{starter.source[1]} has {len(candidates)} that could: {some}.",
        (*choices, AnswerChoice("none", "there is none")),
    )


def _gaps(kept: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    missing = [f"{column['name']} {column['missing']:,}" for column in kept if column["missing"]]
    if missing:
        more = f" and {len(missing) - _MOST_SHOWN} columns more" if len(missing) > _MOST_SHOWN else ""
        yield f"  # missing values: {', '.join(missing[:_MOST_SHOWN])}{more}"


def _split(starter: Starter, *, fits: bool) -> Iterator[str]:
    stated = starter.stated("data.split")
    if stated is not None:
        yield f"  split: {flow(stated)}"
        return
    label = starter.label
    shares = dict(DEFAULT_SHARES) if fits else _TRAINED_SHARES
    classes = label["values"].items() if label and not starter.quantity else ()
    rarest = min(classes, key=lambda value_count: value_count[1], default=None)
    if rarest is not None and rarest[1] < len(ROLES):
        yield f"  # ? class {rarest[0]} has {rarest[1]} rows, too few for {len(shares)} roles: join it with another"
        yield f"  split: {flow({**shares, 'stratify': False})}"
    else:
        yield f"  split: {flow(shares)}  # ? by: a column, such as the patient"


def _subgroups(kept: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Propose groups to judge apart, as comments: each value of a column is one, so that none is written here."""
    groups = [column["name"] for column in kept if column["name"].lower() in SUBGROUPS]
    for name in groups:
        cut = {"bins": [40, 65]} if name.lower() == "age" else {}
        yield f"  # ? subgroups: {flow({name.lower(): {'column': name, **cut}})}   to judge them apart"
