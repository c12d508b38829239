"""The parameters of the steps that load, split and transform data and load the model: for inspection and plan."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.bind.check_files import FILE_SOURCES, INCLUDED, SHARDS
from titrant.compiler.bind.check_reduction import other_models
from titrant.compiler.facts.cache import DigestedFile
from titrant.schema.facts import DataFacts, InputPart, ModelFacts, TensorSpec
from titrant.schema.recipe.data import CsvFile, Data, ImageFolder, Source, TextFile
from titrant.schema.recipe.model import Model, WeightsFile
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import is_whole

DigestedFiles = Mapping[str, DigestedFile]  # by dotted recipe key, as in BoundRecipe.files

# The column that an image folder gives, and that of the documents of a text.
IMAGE, DOCUMENT = "image", "text"

# What the subfolders of an image folder become where the recipe does not name a label, and the tasks that need one.
FOLDER_LABEL, FOLDER_MASK = "label", "mask"
CLASSIFYING = ("binary_classification", "multiclass_classification")

# How many steps a random case of a model with recurrent state has.
RANDOM_STEPS = 8

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
    if section(recipe).label_names:
        params["label_parts"] = list(section(recipe).label_names)
    if not sources:
        params["random"] = [_cases(recipe, spec) for spec in model_inputs(recipe) if "value" not in spec]
    params["resize"] = TRANSFORM_FROM in files or _resizes(recipe)
    if section(recipe).id is not None:
        params["id"] = section(recipe).id
        if section(recipe).unlabeled is not None:
            params["id_optional"] = True
    return params


def data_split(bound: BoundRecipe) -> dict[str, Any]:
    """Say which role draws which fraction of which source."""
    recipe = bound.recipe
    split = section(recipe).split
    inputs, label = column_names(recipe)
    return {
        "roles": _roles(recipe),
        "by": split.by,
        "stratify": split.stratify and TASKS[recipe.task].label in ("class", "none"),
        "overlap": split.overlap,
        "inputs": inputs,
        "label": label,
    }


def data_unlabeled(bound: BoundRecipe, files: DigestedFiles) -> dict[str, Any]:
    """Say how rows without labels are read; {} where the recipe names none."""
    data = section(bound.recipe)
    if data.unlabeled is None:
        return {}
    return {
        "source": _source(data.unlabeled, "data.unlabeled", files),
        "by": unit_column(bound.recipe),
        "id": data.id,
        "overlap": data.split.overlap,
        "subgroups": {name: group.model_dump(mode="json", exclude_none=True) for name, group in data.groups.items()},
        "resize": _resizes(bound.recipe),
    }


def data_labels(bound: BoundRecipe, files: DigestedFiles) -> dict[str, Any]:
    """Say which file holds labels of them; {} where the recipe names none."""
    data = section(bound.recipe)
    return {} if data.labels is None else {"file": files["data.labels"].as_param(), "id": data.id}


def section(recipe: Recipe) -> Data:
    """Return the recipe's data section; without one, the default: no source, random inputs, the usual split."""
    return recipe.data if recipe.data is not None else Data.model_validate({})


def column_names(recipe: Recipe) -> tuple[list[str] | None, str | None]:
    """Return the names of inputs and label that every step uses: the section's, else the first source's own.

    The subfolders of an image folder are a label without a name, which is called `label`; its masks are called `mask`.
    Of a text its documents are the input.
    """
    data = section(recipe)
    inputs, label = data.input_columns, data.label_name
    sources = [*(data.sources or {}).values()]
    for source in sources:
        inputs, label = (source.inputs if inputs is None else inputs), (source.label if label is None else label)
    folders = [source.image_folder for source in (*sources, data.source) if source and source.image_folder]
    if label is None and folders:
        mask = next((FOLDER_MASK for folder in folders if folder.masks is not None), None)
        label = FOLDER_LABEL if recipe.task in CLASSIFYING else mask
    every = [source for source in (*sources, data.source) if source is not None]
    if inputs is None and every and all(source.text is not None for source in every):
        inputs = (DOCUMENT,)  # where a document stands is no input, whoever names it
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


def _resizes(recipe: Recipe) -> bool:
    return any(step.name == "resize" for step in section(recipe).transform)


def _cases(recipe: Recipe, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what random cases are made of: with recurrent state each is several steps."""
    if recipe.model.state is None or not spec["shape"]:
        return dict(spec)
    batch, *sizes = spec["shape"]
    return {**spec, "shape": [batch, RANDOM_STEPS, *sizes]}


def model_inputs(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the model's inputs where the recipe names them; the first dimension, where there is one, is the batch.

    Those of recurrent state are no part of the data; others are one step where there is such a state.
    """
    state = (recipe.model.state or {}).values()
    return [
        {
            "name": spec.name,
            "shape": ["batch", *spec.shape[1:]] if spec.shape else [],
            "dtype": spec.dtype,
            **({"value": spec.value} if spec.value is not None else {}),
        }
        for spec in recipe.model.inputs or ()
        if spec.name not in state
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
        if (named := source.file(kind)) is not None:
            # A folder without options is written as its path alone.
            place = ".".join((key, *named[0]))
            params[kind] = (files[place] if place in files else files[f"{key}.{kind}"]).as_param()
    if isinstance(source.text, TextFile):
        params["text_options"] = source.text.model_dump(mode="json", exclude_none=True, exclude={"path"})
    if isinstance(source.csv, CsvFile):
        params["csv_options"] = source.csv.model_dump(mode="json", exclude_none=True, exclude={"path"})
    if source.image_folder is not None:
        params["images"] = image_reading(source.image_folder)
        if source.image_folder.masks is not None:
            params["masks"] = files[f"{key}.image_folder.masks"].as_param()
    for name in ("sklearn", "factory", "inputs", "label"):
        value = getattr(source, name, None)
        if value is not None:
            params[name] = value
    if source.args:
        params["args"] = source.args
    if source.files:
        params["files"] = [files[f"{key}.files.{place}"].as_param() for place in range(len(source.files))]
    return params


def image_reading(folder: ImageFolder) -> dict[str, Any]:
    """Say how the images of a folder are read."""
    window = {} if folder.window is None else {"window": list(folder.window)}
    return {"color": folder.color, "background": folder.background, **window}


def _roles(recipe: Recipe) -> dict[str, dict[str, float]]:
    return {role: _shares(share) for role, share in section(recipe).split.roles.items()}


def _shares(share: float | str | Mapping[str, float]) -> dict[str, float]:
    if isinstance(share, str):
        return {share: 1.0}
    return dict(share) if isinstance(share, Mapping) else {ONLY: share}


def unit_column(recipe: Recipe) -> str | None:
    """Return the column whose rows stay together; None where none does."""
    by = section(recipe).split.by
    return None if by in ("row", "order") else by


def _kept_columns(recipe: Recipe) -> list[str]:
    """Columns that are not inputs but are needed: of subgroups, and the one whose rows stay together."""
    unit = unit_column(recipe)
    columns = [group.column for group in section(recipe).groups.values()] + ([unit] if unit else [])
    return list(dict.fromkeys(columns))


@dataclass(frozen=True)
class OtherLoad:
    """The parameters of model.load for a model beside the original, and what is known of it."""

    params: Mapping[str, Any]
    model: ModelFacts


@dataclass(frozen=True)
class OtherModel:
    """A model beside the original as inspected, and its factory's arguments, `auto` resolved."""

    facts: ModelFacts
    args: Mapping[str, Any] = field(default_factory=dict)


def other_loads(bound: BoundRecipe, files: DigestedFiles, inspected: Mapping[str, OtherModel]) -> dict[str, OtherLoad]:
    """Return how the models beside the original are loaded, as inspection found them: `student`, `teacher`."""
    loads = {}
    for key, params in other_params(bound, files).items():
        other = inspected[key]
        specs = {"inputs": other.facts.inputs, "outputs": other.facts.outputs}
        settled: dict[str, Any] = {name: [written_spec(spec) for spec in held] for name, held in specs.items()}
        if other.facts.weights is not None:
            settled |= {"key": other.facts.weights.key, "prefix": other.facts.weights.prefix}
        loads[key] = OtherLoad({**params, "args": dict(other.args), **settled}, other.facts)
    return loads


def other_params(bound: BoundRecipe, files: DigestedFiles) -> dict[str, dict[str, Any]]:
    """Return the parameters of model.load of each model beside the original, as the recipe has them."""
    every = {}
    for key, model in other_models(bound.recipe).items():
        place = f"reduction.distillation.{key}.weights"
        every[key] = {
            "factory": model.factory,
            "args": dict(model.args),
            **_weights_of(model, place, f"{place}.shards.", files),
            "inputs": _taken(bound.recipe),
        }
    return every


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
        onnx = {"onnx": files["model.onnx"].as_param(), **({"parts": parts} if parts else {})}
        return "model.load_onnx", onnx | _state(bound.recipe, facts)
    for key, path in (("torchscript", model.torchscript), ("exported", model.exported)):
        if path is not None:
            given = _taken(bound.recipe) if facts is None else [written_spec(spec) for spec in facts.inputs]
            outputs = [] if facts is None else [written_spec(spec) for spec in facts.outputs]
            return f"model.load_{key}", {key: files[f"model.{key}"].as_param(), "inputs": given, "outputs": outputs}
    params: dict[str, Any] = {
        "factory": model.factory,
        "args": dict(model.args if args is None else args),
        **_weights(bound, files, facts),
        "inputs": _taken(bound.recipe) if facts is None else [written_spec(spec) for spec in facts.inputs],
        **_state(bound.recipe, facts),
    }
    if facts is not None:
        params["outputs"] = [written_spec(spec) for spec in facts.outputs]
    if facts is not None and facts.state is not None:
        params["inputs"] += [written_spec(spec) for spec in facts.state.zeros]
        params["outputs"] = [{"name": name} for name in facts.state.outputs]
    return "model.load", params


def _state(recipe: Recipe, facts: ModelFacts | None) -> dict[str, Any]:
    """Say what the recurrent state is, and what one step takes: as the recipe says, or in a plan as was found."""
    if recipe.model.state is None:
        return {}
    one_step = model_inputs(recipe) if facts is None else [written_spec(spec) for spec in facts.inputs]
    one_step = [{key: spec[key] for key in ("name", "shape", "dtype")} for spec in one_step]
    answer = "steps" if recipe.task in ("unlabeled", "language_modeling") else "last"
    return {"state": {"feeds": dict(recipe.model.state), "answer": answer, "inputs": one_step}}


def _taken(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the inputs as the model of a factory takes them: a number in place of the batch is one it insists on."""
    return [
        {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
        | ({"value": spec.value} if spec.value is not None else {})
        for spec in recipe.model.inputs or ()
    ]


def _weights(bound: BoundRecipe, files: DigestedFiles, facts: ModelFacts | None) -> dict[str, Any]:
    """Say which file, its shards, and where in it: as the recipe says, or in a plan as inspection found."""
    params = _weights_of(bound.recipe.model, "model.weights", SHARDS, files)
    if facts is not None and facts.weights is not None and params["weights"] != INCLUDED:
        params |= {"key": facts.weights.key, "prefix": facts.weights.prefix}
    return params


def _weights_of(model: Model, place: str, shards_place: str, files: DigestedFiles) -> dict[str, Any]:
    written = model.weights
    if written is None or written == INCLUDED:
        return {"weights": written}
    shards = [file.as_param() for key, file in files.items() if key.startswith(shards_place)]
    said = {"key": written.key, "prefix": written.prefix} if isinstance(written, WeightsFile) else {}
    return {
        "weights": files[place].as_param(),
        **({"shards": shards} if shards else {}),
        **{name: text for name, text in said.items() if text is not None},
    }


def written_spec(spec: TensorSpec) -> dict[str, Any]:
    """Write an input or output as parameters hold it."""
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
