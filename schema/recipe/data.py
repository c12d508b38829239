"""The `data` section: where rows come from, which role each has, and how they reach the model."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from titrant.schema.recipe.terms import Fraction, PathText, Ref, Scalar, Section, Text, mistake
from titrant.schema.recipe.transform import Transform

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.5, "tuning": 0.1, "calibration": 0.1, "evaluation": 0.3}
ROLES = tuple(DEFAULT_SHARES)
# What judges goes before what chooses, that before what fits.
PRECEDENCE = ("evaluation", "tuning", "calibration", "train")
# What `sklearn` can name.
BUNDLED = ("breast_cancer", "digits", "iris", "wine")
# The keys of which exactly one says what a source is.
DATA_SOURCES = ("sklearn", "csv", "parquet", "npz", "image_folder", "text", "huggingface", "factory")


ColumnNames = Annotated[tuple[Text, ...], Field(min_length=1)]


class Source(Section):
    """One source of rows; exactly one of its kinds."""

    sklearn: Text | None = Field(None, description="name of a data set that scikit-learn brings along")
    csv: PathText | None = Field(None, description="path of a comma-separated file with a header line")
    parquet: PathText | None = Field(None, description="path of a Parquet file")
    npz: PathText | None = Field(None, description="path of a NumPy .npz file of equally long arrays")
    image_folder: PathText | None = Field(None, description="folder of images; a subfolder is a class")
    text: PathText | None = Field(None, description="path of a text file")
    huggingface: Text | None = Field(None, description="path or id of a Hugging Face data set")
    factory: Ref | None = Field(None, description="`module:Name` that returns a DataFrame or {array name: array}")
    args: Mapping[str, Any] | None = Field(None, description="arguments of the factory")
    files: tuple[PathText, ...] | None = Field(None, description="files that the factory reads; a change reruns it")


class NamedSource(Source):
    """One of several sources, with its own inputs and label where they differ."""

    inputs: tuple[Text, ...] | None = Field(None, min_length=1, description="input columns of this source")
    label: Text | None = Field(None, description="label column of this source")


Share = Fraction | Text | Mapping[str, Fraction]
Overlap = Literal["error", "drop"]


class Split(Section):
    """Which rows have which role; a role left out has no rows."""

    train: Share | None = Field(None, description="fits: fraction of the source, source name, or {source: fraction}")
    tuning: Share | None = Field(None, description="chooses: early stopping, candidates, operating point")
    calibration: Share | None = Field(None, description="calibrates quantization")
    evaluation: Share | None = Field(None, description="judges; nothing is chosen on these rows")
    by: Text = Field(
        "row", description="what stays together: `row`, `order` (contiguous), or a column such as a patient"
    )
    stratify: bool = Field(True, description="keep the classes' shares equal in every role")
    overlap: Overlap = Field(
        "error", description="rows that stand in two sources: an error, or dropped from the role that does not judge"
    )

    @property
    def roles(self) -> dict[str, float | str | Mapping[str, float]]:
        """Every role that has rows, with its share."""
        shares = {role: getattr(self, role) for role in ROLES}
        return {role: share for role, share in shares.items() if share is not None}


def _with_shares(value: Any) -> Any:
    """Give a split that names no role the default shares."""
    if isinstance(value, dict) and not any(role in value for role in ROLES):
        return {**DEFAULT_SHARES, **value}
    return value


def _labelled(value: Any) -> Any:
    """Read a list of values as one group a value, and a single value as a list of one."""
    if isinstance(value, tuple):
        if any(isinstance(item, (dict, tuple)) or item is None for item in value):
            raise mistake("R014", "a value of a column is text, a number, true or false", "such as `values: [a, b]`")
        return {_name(item): (item,) for item in value}
    if isinstance(value, dict):
        return {key: item if isinstance(item, (tuple, dict)) else (item,) for key, item in value.items()}
    return value


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_OneEach = Annotated[tuple[Scalar, ...], Field(min_length=1)]
_ByLabel = Annotated[Mapping[str, Scalar | _OneEach], Field(min_length=1)]
Values = Annotated[
    Mapping[str, _OneEach],
    Field(min_length=1),
    BeforeValidator(_labelled, json_schema_input_type=_OneEach | _ByLabel),
]


class Subgroup(Section):
    """A partition of the rows, by cut points or by values of a column."""

    column: Text = Field(description="column that is cut into groups; it need not be an input")
    bins: tuple[float, ...] | None = Field(
        None, min_length=1, description="cut points, rising; a group holds its lower end: [a, b)"
    )
    values: Values | None = Field(None, description="values, one group each, or label → value or values")


class Data(Section):
    """The rows that train, tune, calibrate and judge."""

    source: Source | None = Field(None, description="the one source")
    sources: Mapping[str, NamedSource] | None = Field(
        None, min_length=1, description="several sources by name, in place of `source`"
    )
    inputs: ColumnNames | Annotated[Mapping[str, Text | ColumnNames], Field(min_length=1)] | None = Field(
        None,
        description="input columns or arrays, or model input → the column or array that it is, or the columns that are "
        "stacked into it; default: all but the label and the `split.by` column, each of several by the model's name",
    )
    label: Text | None = Field(None, description="label column or array")
    classes: tuple[Scalar, ...] | None = Field(
        None,
        min_length=1,
        description="the classes in the order of the model's outputs, by value or by the source's name, also those "
        "that the data does not show; default: sorted, where the model is trained here or they are whole numbers",
    )
    positive: Scalar | None = Field(None, description="the critical class, by value or by the source's name for it")
    split: Annotated[Split, BeforeValidator(_with_shares, json_schema_input_type=Split)] = Field(
        default_factory=lambda: Split.model_construct(**DEFAULT_SHARES),  # type: ignore[arg-type]
        description="role → share of the rows",
    )
    transform: tuple[Transform, ...] = Field(
        (), description="what is done to the columns, in order; without given figures fitted on train rows"
    )
    transform_from: Text | None = Field(
        None,
        description="transforms fitted elsewhere, in place of `transform`: a run (folder or id), the folder "
        "`transforms` that a run ships, or an ONNX file that takes columns and gives the model's inputs",
    )
    subgroups: Mapping[str, Subgroup] = Field(default_factory=dict, description="name → partition of the rows")

    @property
    def input_columns(self) -> tuple[str, ...] | None:
        """The columns and arrays that `inputs` names, each once; None where it names none."""
        if not isinstance(self.inputs, Mapping):
            return self.inputs
        parts = self.inputs.values()
        return tuple(dict.fromkeys(name for part in parts for name in ((part,) if isinstance(part, str) else part)))
