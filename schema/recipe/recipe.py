"""The whole recipe."""

from typing import Annotated, Literal

from pydantic import Field

from titrant.schema.recipe.batching import Batching
from titrant.schema.recipe.data import Data
from titrant.schema.recipe.export import Export, FileName
from titrant.schema.recipe.inspect import Inspect
from titrant.schema.recipe.memory import Memory
from titrant.schema.recipe.model import Model
from titrant.schema.recipe.profile import Profile
from titrant.schema.recipe.quantization import Quantization
from titrant.schema.recipe.reduction import Reduction
from titrant.schema.recipe.report import Report
from titrant.schema.recipe.reproducibility import Reproducibility
from titrant.schema.recipe.search import Search
from titrant.schema.recipe.target import Target
from titrant.schema.recipe.terms import Off, PathText, Section
from titrant.schema.recipe.tracking import Tracking
from titrant.schema.recipe.train import Train
from titrant.schema.recipe.validation import Validation

# The version of the recipe language that this titrant speaks.
LANGUAGE = 1

Level = Literal["auto", "minimal", "balanced", "aggressive", "medical_critical"]
Task = Literal[
    "binary_classification",
    "multiclass_classification",
    "multilabel_classification",
    "regression",
    "segmentation",
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
