"""The whole recipe, and the recipe as plain JSON: with every default for its digest, or only what was written."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from titrant.schema.recipe.data import Data, ImageFolder
from titrant.schema.recipe.deploy import Batching, Export, FileName, Memory, Target
from titrant.schema.recipe.level import Level
from titrant.schema.recipe.model import Model
from titrant.schema.recipe.observe import Inspect, Profile, Report, Tracking
from titrant.schema.recipe.reduce import Quantization, Reduction, Search
from titrant.schema.recipe.terms import Off, PathText, Section, Written
from titrant.schema.recipe.train import Reproducibility, Train
from titrant.schema.recipe.transform import Impute, Normalize, OneHot, Resize, Standardize, Tokenize
from titrant.schema.recipe.validation import Validation
from titrant.schema.values.units import write_size, write_time

# The version of the recipe language that this titrant speaks.
LANGUAGE = 1

Task = Literal[
    "binary_classification",
    "multiclass_classification",
    "multilabel_classification",
    "regression",
    "segmentation",
    "detection",
    "language_modeling",
    "embedding",
    "unlabeled",
]


class Recipe(Section):
    """What a user asks for; a section that is not written holds its defaults, or None where it then does nothing."""

    titrant: int = Field(description="version of the recipe language, 1")
    name: FileName = Field(description="letters, digits, `-`, `_`, `.`; at most 100")
    description: Annotated[str | None, Off] = Field(None, description="what the recipe is for")
    extends: Annotated[PathText | None, Off] = Field(None, description="path of the recipe that this one changes")
    level: Level = Field("auto", description="how far optimization may go, and the thresholds that come with it")
    preserve: Literal["none", "medical"] = Field(
        "none", description="medical: medical_critical's safeguards on any level"
    )
    task: Task = Field(description="what the model does")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(42, description="governs every random choice, 0 or more")
    reproducibility: Reproducibility = Field(
        default_factory=Reproducibility.model_construct, description="what keeps bytes equal"
    )
    model: Model = Field(description="the network to optimize")
    data: Data | None = Field(None, description="rows; default: none, for unlabeled with `model.inputs`")
    target: Target = Field(default_factory=Target.model_construct, description="what the model must fit")
    train: Annotated[Train | None, Off] = Field(None, description="how weights are fitted")
    reduction: Annotated[Reduction | None, Off] = Field(None, description="pruning, distillation, factorization")
    quantization: Quantization = Field(
        default_factory=Quantization.model_construct, description="fewer bits for numbers"
    )
    search: Search = Field(default_factory=Search.model_construct, description="what is looked for")
    memory: Memory = Field(default_factory=Memory.model_construct, description="how memory is saved")
    batching: Annotated[Batching | None, Off] = Field(None, description="how requests become batches")
    export: tuple[Export, ...] = Field(
        default_factory=lambda: (Export.model_construct(),), min_length=1, description="files to release"
    )
    validation: Validation = Field(default_factory=Validation.model_construct, description="the contract")
    profile: Profile = Field(default_factory=Profile.model_construct, description="what is measured")
    inspect: Annotated[Inspect | None, Off] = Field(None, description="what is looked at inside the model")
    report: Report = Field(default_factory=Report.model_construct, description="what is written about the run")
    tracking: Annotated[Tracking | None, Off] = Field(None, description="experiment trackers")

    @property
    def strata(self) -> str | None:
        """The column that tests are stratified by."""
        return None if self.data is None else self.data.strata


# Keys that say nothing about what is done.
_WORDS_ONLY = ("extends", "description")
_TRANSFORMS = (Standardize, Normalize, Impute, OneHot, Resize, Tokenize)


def recipe_value(recipe: Recipe) -> dict[str, Any]:
    """Return every key of a recipe with its value, defaults included, sizes in bytes and times in seconds.

    The recipe's digest is of this value. `extends` and `description` are left out: they change nothing.
    """
    return {key: _plain(getattr(recipe, key)) for key in Recipe.model_fields if key not in _WORDS_ONLY}


def written(recipe: Recipe) -> dict[str, Any]:
    """Return the keys that stand in the text as they are written there: with units, without defaults."""
    return _keys(recipe)


def _plain(value: Any) -> Any:
    if isinstance(value, ImageFolder) and value == ImageFolder(path=value.path):
        return value.path  # as before a folder had options
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        items = ((info, info.alias or key, getattr(value, key)) for key, info in fields)
        return {
            name: _plain(item) for info, name, item in items if info.exclude_if is None or not info.exclude_if(item)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _keys(model: BaseModel) -> dict[str, Any]:
    fields = type(model).model_fields.items()
    return {info.alias or key: _text(model, key, info) for key, info in fields if key in model.model_fields_set}


def _text(model: BaseModel, key: str, info: FieldInfo) -> Any:
    """Write one key's value as text has it; None can only have been written as `none`."""
    value = getattr(model, key)
    if value is None:
        return "none"
    unit = next((note.unit for note in notes(info) if isinstance(note, Written)), None)
    return as_text(value, unit)


def as_text(value: Any, unit: Literal["size", "time"] | None = None) -> Any:
    """Return a value of a recipe as its text has it: sections as mappings of what was given, a quantity with its unit.

    Bytes and seconds are written with a unit; a text, such as `250 ms`, is its own.
    """
    if unit is not None and isinstance(value, (int, float)) and not isinstance(value, bool):
        return write_size(int(value)) if unit == "size" else write_time(value)
    if isinstance(value, _TRANSFORMS):
        options = {key: item for key, item in _keys(value).items() if key != "name"}
        return {value.name: options} if options else value.name
    if isinstance(value, BaseModel):
        return _keys(value)
    if isinstance(value, Mapping):
        return {str(key): as_text(item) for key, item in value.items()}
    return [as_text(item) for item in value] if isinstance(value, (list, tuple)) else value


def notes(info: FieldInfo) -> tuple[Any, ...]:
    """Return what is noted on a field's type, also inside `… | None`."""
    alternatives = getattr(info.annotation, "__args__", ())
    return (*info.metadata, *(note for branch in alternatives for note in getattr(branch, "__metadata__", ())))
