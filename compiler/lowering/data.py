"""The parameters of data.load, data.split and data.transform, for inspection and for the plan alike."""

from collections.abc import Mapping
from typing import Any

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.file_digests import DigestedFile
from titrant.schema.recipe import Recipe

Files = Mapping[str, DigestedFile]  # by dotted recipe key, as in BoundRecipe.files

# The one source of a recipe that has no names for its sources.
ONLY = "source"
FILE_SOURCES = ("csv", "parquet", "npz", "image_folder")
DEFAULT_SPLIT = {"train": 0.5, "tuning": 0.1, "calibration": 0.1, "evaluation": 0.3}
ROLES = tuple(DEFAULT_SPLIT)


def data_load(bound: BoundRecipe, files: Files) -> dict[str, Any]:
    """Say what to read: every source with its files, and the columns that later steps need beside the inputs."""
    recipe = bound.recipe
    sources = _sources(recipe, files)
    inputs, label = column_names(recipe)
    params: dict[str, Any] = {"sources": sources, "inputs": inputs, "label": label, "keep": _kept_columns(recipe)}
    if not sources:
        params["random"] = model_inputs(recipe)
    params["resize"] = any(step["name"] == "resize" for step in transforms(recipe))
    return params


def data_split(bound: BoundRecipe) -> dict[str, Any]:
    """Say which role draws which fraction of which source."""
    recipe = bound.recipe
    split = recipe.data.split
    inputs, label = column_names(recipe)
    return {
        "roles": _roles(recipe),
        "by": split.by,
        "stratify": split.stratify,
        "overlap": split.overlap,
        "inputs": inputs,
        "label": label,
    }


def data_transform(bound: BoundRecipe) -> dict[str, Any]:
    """Say how columns become the model's inputs, labels and subgroups."""
    recipe = bound.recipe
    inputs, label = column_names(recipe)
    return {
        "task": recipe.task,
        "inputs": inputs,
        "label": label,
        "by": _unit_column(recipe),
        "positive": recipe.data.positive,
        "transforms": transforms(recipe),
        "subgroups": {name: group.model_dump(exclude_none=True) for name, group in recipe.data.subgroups.items()},
        "model_inputs": model_inputs(recipe),
    }
