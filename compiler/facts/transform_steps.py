"""The parameters of the step that makes the model's inputs of columns: for inspection and plan."""

from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.bind.check_files import tokenizer_key
from titrant.compiler.facts.load_steps import (
    IMAGE,
    TRANSFORM_FROM,
    DigestedFiles,
    column_names,
    image_reading,
    model_inputs,
    section,
    stated_parts,
    unit_column,
    written_spec,
)
from titrant.schema.facts import DataFacts
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recipe.transform import Tokenize, Transform


def data_transform(bound: BoundRecipe, files: DigestedFiles, facts: DataFacts | None = None) -> dict[str, Any]:
    """Say how columns become the model's inputs, labels and subgroups.

    Inspection is told what the recipe says of the inputs; a plan, by `facts`, what was settled for each of them.
    """
    recipe = bound.recipe
    data = section(recipe)
    inputs, label = column_names(recipe)
    wiring = stated_parts(recipe) if facts is None else facts.wiring
    typed = (
        [written_spec(spec) for spec in facts.inputs] if facts is not None and facts.wiring else model_inputs(recipe)
    )
    settled = {
        "wiring": [
            {"name": item.name, "value": item.value}
            if item.value is not None
            else {"name": item.name, "part": item.part if isinstance(item.part, str) else list(item.part)}
            for item in wiring
        ]
    }
    return {
        "task": recipe.task,
        "inputs": inputs,
        "label": label,
        "by": unit_column(recipe),
        "positive": data.positive,
        "classes": list(data.classes or data.label_names or (() if facts is None else facts.class_values)),
        "transforms": transforms(recipe, files),
        **({"transform_from": files[TRANSFORM_FROM].as_param()} if TRANSFORM_FROM in files else {}),
        "subgroups": {name: group.model_dump(mode="json", exclude_none=True) for name, group in data.groups.items()},
        "model_inputs": typed,
        **(settled if wiring else {}),
        **({"stepped": True} if recipe.model.state is not None else {}),
        **({"images": images} if (images := _image_columns(recipe)) else {}),
    }


def transforms(recipe: Recipe, files: DigestedFiles) -> list[dict[str, Any]]:
    """Return the transforms in order, each with its name and the options that are set."""
    return [_transform(recipe, place, step, files) for place, step in enumerate(section(recipe).transform)]


def _transform(recipe: Recipe, place: int, step: Transform, files: DigestedFiles) -> dict[str, Any]:
    params: dict[str, Any] = step.model_dump(mode="json", exclude_none=True)
    if isinstance(step, Tokenize):
        if step.file is not None:
            params["tokenizer"] = files[tokenizer_key(place)].as_param()
        if recipe.task == "language_modeling":
            params["windows"] = True
    return params


def _image_columns(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Say how every column of images is read, under the name that later steps use."""
    data = section(recipe)
    common = column_names(recipe)[0]
    columns = {}
    for source in (data.source, *(data.sources or {}).values()):
        if source is None or source.image_folder is None:
            continue
        own = getattr(source, "inputs", None) or common or (IMAGE,)
        name = (common or own)[own.index(IMAGE)] if IMAGE in own else IMAGE
        columns[name] = image_reading(source.image_folder)
    return columns
