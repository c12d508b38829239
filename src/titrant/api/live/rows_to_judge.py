"""Rows that somebody holds in memory and the contract that judges two models on them, as the recipe of a judgement."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from titrant.api.live.values import live_rows, plain_array
from titrant.api.sections import sections
from titrant.api.sections.recipe import recipe
from titrant.runtime.data.columns import array_column, missing
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.nearest import nearest
from titrant.schema.language.rules_data import OPTIONAL
from titrant.schema.recipe.level import Level
from titrant.schema.recipe.recipe import Task
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.files import digest_bytes, write_bytes
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.values import Rows
    from titrant.schema.language.parse import ParsedRecipe
    from titrant.schema.recipe.deploy import Target
    from titrant.schema.recipe.model import OutputSpec
    from titrant.schema.recipe.validation import Validation

_LABEL, _UNIT = "label", "unit"
# Tasks whose rows need no label.
_UNLABELED = ("unlabeled", *OPTIONAL)


@dataclass(frozen=True)
class RowsToJudge:
    """What two models are judged by without a recipe: rows as a model takes them, their labels, and the contract.

    `rows` are arrays or tensors by the names of the model's inputs, already transformed; `labels` has one class, number
    or mask a row. `subgroups` names arrays of one value a row, each distinct value a group; `units` says which rows
    belong together, such as those of a patient, and never stand on both sides of the split. `tuning` is the share of
    the rows that an operating point is found on and nothing is judged by. `positive` is the critical class, `classes`
    are all of them in the order of the model's outputs, and a level supplies what `contract` leaves out. Raises
    RecipeError X623 for a task or a level that there is not, and for classes that are one text.
    """

    task: Task
    rows: Mapping[str, Any]
    labels: Any = None
    contract: "Validation | None" = None
    level: Level = "auto"
    positive: bool | int | float | str | None = None
    subgroups: Mapping[str, Any] | None = None
    units: Any = None
    tuning: float = 0.3
    output: "OutputSpec | None" = None
    target: "Target | None" = None
    seed: int = 42
    name: str = "judged"
    classes: Sequence[bool | int | float | str] | None = None

    def __post_init__(self) -> None:
        """Refuse a task or a level that there is not, and classes that are one text: RecipeError X623."""
        for what, given, names in (("task", self.task, get_args(Task)), ("level", self.level, get_args(Level))):
            if given not in names:
                near = nearest(str(given), names)
                advice = f"did you mean {near}?" if near else f"one of {', '.join(names)}"
                raise RecipeError(Diagnostic("X623", f"there is no {what} {given}", help=advice))
        if isinstance(self.classes, str):
            message = f"classes is the text {self.classes!r}, and lists the classes"
            raise RecipeError(Diagnostic("X623", message, help='such as classes=["well", "sick"]'))


def checked_rows(judged: RowsToJudge) -> "tuple[Rows, dict[str, np.ndarray]]":
    """Return the rows as models take them, and every array that stands beside them, by the name of its column.

    Raises RecipeError X623 for labels, subgroups or units of another length, that are missing where the task is judged
    by labels, or that are named as an input is, and what `live_rows` raises.
    """
    if not isinstance(judged, RowsToJudge):
        message = f"models are judged by a recipe, or by RowsToJudge, and this is of type {type(judged).__name__}"
        advice = 'titrant.RowsToJudge("regression", {"x": x}, labels, contract=titrant.sections.Validation(…))'
        raise RecipeError(Diagnostic("X623", message, help=advice))
    shown = live_rows("rows", judged.rows)
    beside: dict[str, Any] = {} if judged.labels is None else {_LABEL: judged.labels}
    beside |= {} if judged.units is None else {_UNIT: judged.units}
    beside |= dict(judged.subgroups or {})
    columns: dict[str, np.ndarray] = {}
    for name, value in beside.items():
        columns[name] = plain_array(name, value)
        if columns[name].dtype.kind == "O":  # as pandas holds text
            columns[name] = array_column(columns[name], name, "rows")
        if name == _LABEL and TASKS[judged.task].label == "class" and columns[name].shape[1:] == (1,):
            columns[name] = columns[name][:, 0]
        held = len(columns[name]) if columns[name].ndim else 0
        if held != len(shown):
            message = f"there are {len(shown)} rows, and {held} values of {name}"
            raise RecipeError(Diagnostic("X623", message, help="give one for each row"))
    if twice := next((name for name in columns if name in shown.inputs), None):
        message = f"{twice} is an input of the model and stands beside the rows as well"
        raise RecipeError(Diagnostic("X623", message, help="call one of them otherwise"))
    if judged.labels is None and judged.task not in _UNLABELED:
        message = f"{judged.task} is judged by labels, and there are none"
        raise RecipeError(Diagnostic("X623", message, help='give labels, or task "unlabeled" to compare answers alone'))
    return shown, columns


def recipe_of(judged: RowsToJudge, source: Mapping[str, str], folder: Path) -> "ParsedRecipe":
    """Return the recipe that judges by these rows, of the model that `source` names as `model` would.

    The rows are kept in `folder` as a file that is named by its content. Raises what `checked_rows` and
    `titrant.recipe` raise.
    """
    shown, columns = checked_rows(judged)
    folder.mkdir(parents=True, exist_ok=True)
    held = io.BytesIO()
    np.savez(held, **{**shown.inputs, **columns})  # type: ignore[arg-type]
    data = held.getvalue()
    file = folder / f"{digest_bytes(data)}.npz"
    if not file.is_file():
        write_bytes(file, data)
    groups = {name: _groups(name, columns[name]) for name in judged.subgroups or {}}
    shares = {"tuning": judged.tuning, "evaluation": 1 - judged.tuning}
    # A row of a mask, or of numbers, has no one class by which roles could be made alike.
    alike: dict[str, Any] = {"stratify": False} if columns.get(_LABEL, np.zeros(0)).ndim > 1 else {}
    together: dict[str, Any] = {"by": _UNIT} if judged.units is not None else {}
    output = None if judged.output is None else (judged.output,)
    return recipe(
        judged.name,
        judged.task,
        sections.Model(**source, output=output),
        level=judged.level,
        seed=judged.seed,
        data=sections.Data(
            source=sections.Source(npz=str(file)),
            inputs=tuple(shown.inputs),
            label=_LABEL if judged.labels is not None else None,
            classes=None if judged.classes is None else tuple(judged.classes),
            positive=judged.positive,
            split=sections.Split(**shares, **together, **alike),
            subgroups=groups,
        ),
        target=judged.target,
        validation=judged.contract,
        folder=folder,
    )


def _groups(name: str, column: np.ndarray) -> Any:
    """Return a subgroup of each distinct value; X623 for numbers that are measured rather than names of groups.

    A row whose value is missing is of no group.
    """
    held = column[~missing(column)]
    values = [value.item() if hasattr(value, "item") else value for value in np.unique(held)]
    if column.dtype.kind == "f" and any(value != int(value) for value in values if np.isfinite(value)):
        message = f"{name} holds fractions, which name no groups"
        raise RecipeError(Diagnostic("X623", message, help=f"cut it: np.digitize({name}, [40, 65])"))
    return sections.Subgroup(column=name, values={str(value): (value,) for value in values})
