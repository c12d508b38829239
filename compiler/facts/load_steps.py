"""The parameters of the steps that load, split and transform data and load the model: for inspection and plan."""

from collections.abc import Mapping
from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.bind.check_files import FILE_SOURCES, INCLUDED
from titrant.compiler.facts.cache import DigestedFile
from titrant.schema.facts import DataFacts, InputPart, ModelFacts, TensorSpec
from titrant.schema.recipe.data import Data, Source
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.values.text import is_whole

DigestedFiles = Mapping[str, DigestedFile]  # by dotted recipe key, as in BoundRecipe.files

# What the subfolders of an image folder become where the recipe does not name a label, and the tasks that need one.
FOLDER_LABEL = "label"
CLASSIFYING = ("binary_classification", "multiclass_classification")

# The one source of a recipe that has no names for its sources.
ONLY = "source"

# Transforms that were fitted elsewhere, among the recipe's files.
TRANSFORM_FROM = "data.transform_from"
# What the files beside an ONNX file, which hold its weights, are called among the recipe's files.
ONNX_PARTS = "model.onnx.parts."


def data_load(bound: BoundRecipe, files: DigestedFiles) -> dict[str, Any]:
    """Say what to read: every source with its files, and the columns that later steps need beside the inputs."""
    recipe = bound.recipe
    sources = _sources(recipe, files)
    inputs, label = column_names(recipe)
    params: dict[str, Any] = {"sources": sources, "inputs": inputs, "label": label, "keep": _kept_columns(recipe)}
    if not sources:
        params["random"] = [spec for spec in model_inputs(recipe) if "value" not in spec]
    params["resize"] = TRANSFORM_FROM in files or any(step["name"] == "resize" for step in transforms(recipe))
    return params


def data_split(bound: BoundRecipe) -> dict[str, Any]:
    """Say which role draws which fraction of which source."""
    recipe = bound.recipe
    split = section(recipe).split
    inputs, label = column_names(recipe)
    return {
        "roles": _roles(recipe),
        "by": split.by,
        "stratify": split.stratify,
        "overlap": split.overlap,
        "inputs": inputs,
        "label": label,
    }


def data_transform(bound: BoundRecipe, files: DigestedFiles, facts: DataFacts | None = None) -> dict[str, Any]:
    """Say how columns become the model's inputs, labels and subgroups.

    Inspection is told what the recipe says of the inputs; a plan, by `facts`, what was settled for each of them.
    """
    recipe = bound.recipe
    data = section(recipe)
    inputs, label = column_names(recipe)
    wiring = stated_parts(recipe) if facts is None else facts.wiring
    typed = [_spec(spec) for spec in facts.inputs] if facts is not None and facts.wiring else model_inputs(recipe)
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
        "by": _unit_column(recipe),
        "positive": data.positive,
        "classes": list(data.classes or (() if facts is None else facts.class_values)),
        "transforms": transforms(recipe),
        **({"transform_from": files[TRANSFORM_FROM].as_param()} if TRANSFORM_FROM in files else {}),
        "subgroups": {name: group.model_dump(mode="json", exclude_none=True) for name, group in data.subgroups.items()},
        "model_inputs": typed,
        **(settled if wiring else {}),
    }


def section(recipe: Recipe) -> Data:
    """Return the recipe's data section; without one, the default: no source, random inputs, the usual split."""
    return recipe.data if recipe.data is not None else Data.model_validate({})


def column_names(recipe: Recipe) -> tuple[list[str] | None, str | None]:
    """Return the names of inputs and label that every step uses: the section's, else the first source's own.

    The subfolders of an image folder are a label without a name, which is called `label`.
    """
    data = section(recipe)
    inputs, label = data.input_columns, data.label
    for source in (data.sources or {}).values():
        inputs = inputs if inputs is not None else source.inputs
        label = label if label is not None else source.label
    sources = [source for source in (data.source, *(data.sources or {}).values()) if source is not None]
    if label is None and recipe.task in CLASSIFYING and any(source.image_folder is not None for source in sources):
        label = FOLDER_LABEL
    return None if inputs is None else list(inputs), label


def stated_parts(recipe: Recipe) -> tuple[InputPart, ...]:
    """Return what the recipe says that each input of the model is made of; () where it lists columns, or nothing."""
    inputs = section(recipe).inputs
    if not isinstance(inputs, Mapping):
        return ()
    return tuple(InputPart(name, part) for name, part in inputs.items())


def assumes_order(recipe: Recipe, data: DataFacts) -> bool:
    """Whether nobody says which output is which class of a model that was trained elsewhere, whose classes have names.

    Classes that are whole numbers, or true and false, are in their own order; a model that is trained here learns it.
    """
    if recipe.data is None or recipe.data.classes is not None or not data.classes:
        return False
    label = column_names(recipe)[1]
    is_text = any(column.name == label and column.dtype == "text" for column in data.columns)
    trained_here = recipe.model.factory is not None and recipe.model.weights is None
    return is_text and not trained_here and not all(is_whole(name) for name in data.classes)


def transforms(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the transforms in order, each with its name and the options that are set."""
    return [step.model_dump(mode="json", exclude_none=True) for step in section(recipe).transform]


def model_inputs(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the model's inputs where the recipe names them; the first dimension, where there is one, is the batch."""
    return [
        {
            "name": spec.name,
            "shape": ["batch", *spec.shape[1:]] if spec.shape else [],
            "dtype": spec.dtype,
            **({"value": spec.value} if spec.value is not None else {}),
        }
        for spec in recipe.model.inputs or ()
    ]


def _sources(recipe: Recipe, files: DigestedFiles) -> dict[str, dict[str, Any]]:
    data = section(recipe)
    if data.sources is not None:
        return {name: _source(source, f"data.sources.{name}", files) for name, source in data.sources.items()}
    if data.source is None:
        return {}
    source = _source(data.source, "data.source", files)
    # A factory may return several sources: the roles say by which names.
    parts = sorted({name for shares in _roles(recipe).values() for name in shares} - {ONLY})
    return {part: {**source, "part": part} for part in parts} if parts else {ONLY: source}


def _source(source: Source, key: str, files: DigestedFiles) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for kind in FILE_SOURCES:
        if getattr(source, kind) is not None:
            params[kind] = files[f"{key}.{kind}"].as_param()
    for name in ("sklearn", "factory", "inputs", "label"):
        value = getattr(source, name, None)
        if value is not None:
            params[name] = value
    if source.args:
        params["args"] = source.args
    if source.files:
        params["files"] = [files[f"{key}.files.{place}"].as_param() for place in range(len(source.files))]
    return params


def _roles(recipe: Recipe) -> dict[str, dict[str, float]]:
    return {role: _shares(share) for role, share in section(recipe).split.roles.items()}


def _shares(share: float | str | Mapping[str, float]) -> dict[str, float]:
    if isinstance(share, str):
        return {share: 1.0}
    return dict(share) if isinstance(share, Mapping) else {ONLY: share}


def _unit_column(recipe: Recipe) -> str | None:
    by = section(recipe).split.by
    return None if by in ("row", "order") else by


def _kept_columns(recipe: Recipe) -> list[str]:
    """Columns that are not inputs but are needed: of subgroups, and the one whose rows stay together."""
    unit = _unit_column(recipe)
    columns = [group.column for group in section(recipe).subgroups.values()] + ([unit] if unit else [])
    return list(dict.fromkeys(columns))


def model_load(
    bound: BoundRecipe,
    files: DigestedFiles,
    args: Mapping[str, Any] | None = None,
    facts: ModelFacts | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return the operator that loads the original, and its parameters.

    Inspection gives neither `args` (the recipe's, with `auto` still in them) nor `facts` (what the recipe says of the
    inputs); a plan gives the resolved arguments and the inputs and outputs that were found.
    """
    model = bound.recipe.model
    if model.onnx is not None:
        parts = [file.as_param() for key, file in files.items() if key.startswith(ONNX_PARTS)]
        return "model.load_onnx", {"onnx": files["model.onnx"].as_param(), **({"parts": parts} if parts else {})}
    params: dict[str, Any] = {
        "factory": model.factory,
        "args": dict(model.args if args is None else args),
        "weights": _weights(bound, files),
        "inputs": _taken(bound.recipe) if facts is None else [_spec(spec) for spec in facts.inputs],
    }
    if facts is not None:
        params["outputs"] = [_spec(spec) for spec in facts.outputs]
    return "model.load", params


def _taken(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the inputs as the model of a factory takes them: a number in place of the batch is one it insists on."""
    pairs = zip(model_inputs(recipe), recipe.model.inputs or (), strict=True)
    return [{**written, "shape": list(spec.shape)} for written, spec in pairs]


def _weights(bound: BoundRecipe, files: DigestedFiles) -> dict[str, str] | str | None:
    written = bound.recipe.model.weights
    return files["model.weights"].as_param() if written not in (None, INCLUDED) else written


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
