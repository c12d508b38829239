"""Load transforms that were fitted elsewhere: those that a run ships, or an ONNX graph that takes columns."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from titrant.runtime.data.columns import is_text
from titrant.runtime.data.content import Named, input_names
from titrant.runtime.data.parameters import File
from titrant.runtime.values import GRAPH, Fitted, Table, Transforms
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.nearest import nearest
from titrant.schema.values.files import digest_bytes
from titrant.schema.values.frozen import dataclass

KEY = "data.transform_from"
_SHOWN = 8


@dataclass(frozen=True)
class Loaded:
    """Transforms as loaded, and the columns that each input of the model is made of, in the order of the training.

    Of a graph `parts` is empty: what the model takes are the graph's outputs, which are matched when it is known.
    """

    steps: tuple[Fitted, ...]
    parts: Mapping[str, str | tuple[str, ...]]
    columns: tuple[str, ...]

    @property
    def is_graph(self) -> bool:
        """Whether these are one ONNX graph."""
        return any(step.name == GRAPH for step in self.steps)


def elsewhere(file: File | None, params: Named, table: Table) -> Loaded | None:
    """Return the transforms that `data.transform_from` names; None where the recipe names none."""
    if file is None:
        return None
    columns = {name: table.columns[name] for name in input_names(params, table)}
    return load_elsewhere(file.path, columns, params.inputs)


def load_elsewhere(path: str, columns: Mapping[str, np.ndarray], listed: Sequence[str] | None) -> Loaded:
    """Read transforms for these columns of the data; `listed` are the `data.inputs`, where the recipe names them.

    `path` is a folder with `transforms.json`, or an ONNX file. Raises RecipeError X241 where it cannot be read, takes
    a column that the data does not have, or leaves one out that `data.inputs` names; X242 for a graph whose inputs no
    columns match.
    """
    loaded = _shipped(Path(path)) if Path(path).is_dir() else _graph(Path(path), columns, listed)
    absent = [name for name in loaded.columns if name not in columns]
    if absent:
        near = nearest(absent[0], tuple(columns))
        there = f"did you mean to call `{near}` so?" if near else f"the inputs are {', '.join(list(columns)[:_SHOWN])}"
        message = f"these transforms take the column `{absent[0]}`, which is no input of the data"
        more = f" (nor {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise RecipeError(Diagnostic("X241", message + more, help=there, key=KEY))
    extra = [name for name in listed or () if name not in loaded.columns]
    if extra:
        message = f"`data.inputs` names `{extra[0]}`, which these transforms do not take"
        advice = f"take it out: they take {', '.join(loaded.columns[:_SHOWN])}"
        raise RecipeError(Diagnostic("X241", message, help=advice, key=f"data.inputs {extra[0]}"))
    return loaded


def _shipped(folder: Path) -> Loaded:
    from titrant.runtime.data.saved_transforms import load_transforms

    try:
        transforms: Transforms = load_transforms(folder)
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        message = f"{folder.name} cannot be read as transforms: {type(error).__name__}"
        advice = "name a run that released a model, or the folder `outputs/transforms` of one"
        raise RecipeError(Diagnostic("X241", message, help=advice, key=KEY, said=str(error))) from None
    parts = {
        name: names[0] if name in transforms.unstacked else names
        for name, names in transforms.inputs.items()
        if name not in transforms.constants
    }
    columns = tuple(dict.fromkeys(name for names in transforms.inputs.values() for name in names))
    return Loaded(transforms.steps, parts, columns)


def _graph(file: Path, columns: Mapping[str, np.ndarray], listed: Sequence[str] | None) -> Loaded:
    from titrant.runtime.data.graph import graph_inputs

    data = file.read_bytes()
    taken: dict[str, list[str]] = {}
    inputs = graph_inputs(data, file.name)
    for item in inputs:
        if item.name in columns:
            taken[item.name] = [item.name]
        elif len(inputs) == 1 and item.width not in (None, 1):
            taken[item.name] = _stacked(item.name, item.width, columns, listed)
        else:
            near = nearest(item.name, tuple(columns))
            advice = f"call the column `{near}` so, or" if near else "call a column so, or"
            message = f"{file.name} takes an input `{item.name}`, and no column of the data is called so"
            raise RecipeError(
                Diagnostic(
                    "X242", message, help=f"{advice} convert the pipeline with an input for each column", key=KEY
                )
            )
    for item in inputs:
        _check_sort(item.dtype, item.name, taken[item.name], columns)
    names = tuple(dict.fromkeys(name for group in taken.values() for name in group))
    about = {"file": file.name, "digest": digest_bytes(data), "inputs": taken, "outputs": {}}
    return Loaded((Fitted(GRAPH, names, about, {"graph": np.frombuffer(data, np.uint8)}),), {}, names)


def _stacked(
    name: str, width: int | None, columns: Mapping[str, np.ndarray], listed: Sequence[str] | None
) -> list[str]:
    """Return the columns that a graph's only input has side by side: it has no names for them, the recipe must."""
    from titrant.schema.language.write import flow

    if listed is not None and len(listed) == width:
        return list(listed)
    if listed is not None:
        message = f"the graph's input `{name}` has {width} places, and `data.inputs` names {len(listed)} columns"
        raise RecipeError(
            Diagnostic("X242", message, help="name them all, in the order of the training", key="data.inputs")
        )
    message = f"the graph's input `{name}` has {width} places without names, so that their order cannot be known"
    some = [*list(columns)[: min(3, width or 3)], "…"]
    advice = f"data: {flow({'inputs': some})}, in the order of the training"
    raise RecipeError(Diagnostic("X242", message, help=advice, key=KEY))


def _check_sort(dtype: str, name: str, names: Sequence[str], columns: Mapping[str, np.ndarray]) -> None:
    for column in names:
        if column in columns and is_text(columns[column]) != (dtype == "object"):
            has, takes = ("text", "numbers") if is_text(columns[column]) else ("numbers", "text")
            message = f"the graph's input `{name}` takes {takes}, and the column `{column}` is {has}"
            advice = "convert the pipeline with the types of these columns, or read the column as the training did"
            raise RecipeError(Diagnostic("X242", message, help=advice, key=KEY))


def with_outputs(loaded: Loaded, model_inputs: Sequence[str]) -> Loaded:
    """Say which output of a graph each input of the model is: the only one, or the one of its name.

    Raises RecipeError X242 where names do not match.
    """
    from titrant.runtime.data.graph import graph_outputs

    [step] = loaded.steps
    given = graph_outputs(step)
    if len(model_inputs) == 1 and len(given) == 1:
        pairs = {model_inputs[0]: given[0]}
    else:
        pairs = {name: name for name in model_inputs}
        missing = [name for name in model_inputs if name not in given]
        if missing:
            message = f"the model takes {_listed(model_inputs)}, and {step.params['file']} gives {_listed(given)}"
            advice = f"name an output of the graph `{missing[0]}`, as the model's input is called"
            raise RecipeError(Diagnostic("X242", message, help=advice, key=KEY))
    named = Fitted(step.name, step.columns, {**step.params, "outputs": pairs}, step.arrays)
    return Loaded((named,), dict.fromkeys(model_inputs, loaded.columns), loaded.columns)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:_SHOWN]) or "nothing"
