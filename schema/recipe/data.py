"""The `data` section: where rows come from, which role each has, and how they reach the model."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from titrant.schema.recipe.terms import Fraction, PathText, Ref, Scalar, Section, Text, mistake, unsaid
from titrant.schema.recipe.transform import Transform

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.5, "tuning": 0.1, "calibration": 0.1, "evaluation": 0.3}
ROLES = tuple(DEFAULT_SHARES)
# What the strata are called among the subgroups.
STRATA = "strata"
# Strata of fewer units are judged together: what holds on average over few cases says nothing of a variance.
LEAST_OF_A_STRATUM = 30
# What judges goes before what chooses, that before what fits.
PRECEDENCE = ("evaluation", "tuning", "calibration", "train")
# What `sklearn` can name.
BUNDLED = ("breast_cancer", "digits", "iris", "wine", "diabetes")
# The keys of which exactly one says what a source is.
DATA_SOURCES = ("sklearn", "csv", "parquet", "npz", "image_folder", "text", "huggingface", "factory")


ColumnNames = Annotated[tuple[Text, ...], Field(min_length=1)]


# Colors that have a name; any other is written `#rrggbb`.
COLORS = ("white", "black", "gray")
_WINDOW = "such as `window: [0, 4095]`"


def _color(value: Any) -> Any:
    if isinstance(value, str) and value not in COLORS and not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise mistake("R014", f"`{value}` is no color", f'write {", ".join(COLORS)}, or `"#rrggbb"` in quotes')
    return value


def _window(value: Any) -> Any:
    if not isinstance(value, tuple) or not all(type(end) in (int, float) for end in value):
        return value
    if len(value) != 2:
        count = "one number stands" if len(value) == 1 else f"{len(value)} numbers stand"
        raise mistake("R014", f"a window is a low number and a high one, and here {count}", _WINDOW)
    if value[0] >= value[1]:
        turned = f"write `window: [{value[1]:g}, {value[0]:g}]`" if value[0] > value[1] else _WINDOW
        raise mistake(
            "R014", f"a window goes from a low number to a high one, not from {value[0]:g} to {value[1]:g}", turned
        )
    return value


def _one_character(value: Any) -> Any:
    if isinstance(value, str) and (len(value) != 1 or value in '"\r\n'):
        raise mistake(
            "R014", "a separator is one character", r'such as `separator: ";"`, or `separator: "\t"` for a tab'
        )
    return value


class ImageFolder(Section):
    """A folder of images, and how their numbers become pixels in 0..1."""

    path: PathText = Field(description="the folder; a subfolder is a class, and without any there are no labels")
    color: Literal["rgb", "gray"] = Field("rgb", description="what the model is given: 3 channels, or 1")
    background: Annotated[Text, BeforeValidator(_color)] = Field(
        "white", description="what lies under transparent pixels: white, black, gray or `#rrggbb`"
    )
    window: Annotated[tuple[float, float] | None, BeforeValidator(_window)] = Field(
        None,
        description="the stored numbers that become 0 and 1, of DICOM after its rescaling; needed where a file does "
        "not say its range: rescaled or signed DICOM, float and signed TIFF",
    )
    masks: PathText | None = Field(
        None,
        exclude_if=unsaid,
        description="folder with a mask of the same name for each image, the class number of each pixel: the label",
    )


def _folder(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _known_encoding(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        "".encode(value)
    except (LookupError, ValueError):
        help = "such as utf-8, utf-16, cp1252, latin-1 or shift_jis"
        raise mistake("R014", f"no encoding is called `{value}`", help) from None
    return value


class CsvFile(Section):
    """A csv file and how it is written, where that cannot be found, or should not be looked for."""

    path: PathText = Field(description="path of the file")
    separator: Annotated[Text, BeforeValidator(_one_character)] | None = Field(
        None, description="what stands between two values; found: comma, semicolon, tab or bar"
    )
    encoding: Annotated[Text, BeforeValidator(_known_encoding)] | None = Field(
        None, description="as Python names it; found: UTF-8, UTF-16 with its mark, cp1252"
    )
    decimal: Literal[".", ","] | None = Field(None, description="what stands before the decimals; found")
    thousands: Literal[",", ".", " ", "'", "none"] | None = Field(
        None, description="what parts thousands; `none`: nothing does; found"
    )
    missing: tuple[Scalar, ...] | None = Field(
        None,
        description="texts that stand for a missing value in every column, besides the empty one; `[]`: none; found: "
        "NA, ?, - and their like among numbers, where no text can be a value",
    )


def _one_cut(value: Any) -> Any:
    if isinstance(value, dict) and value.get("documents") is not None and value.get("separator") is not None:
        raise mistake("R014", "`documents` and `separator` both say where a document ends", "take one of the two out")
    return value


class TextFile(Section):
    """A text file, or a folder of these, and where a document ends in it."""

    path: PathText = Field(description="path of the file, or of a folder of .txt files")
    documents: Literal["line", "paragraph", "file"] | None = Field(
        None,
        description="what a document is; found: a file of a folder; in a file what blank lines part, else a line",
    )
    separator: Text | None = Field(None, description="what stands between two documents, such as `<|endoftext|>`")


class Source(Section):
    """One source of rows; exactly one of its kinds."""

    sklearn: Text | None = Field(None, description="name of a data set that scikit-learn brings along")
    csv: PathText | CsvFile | None = Field(
        None,
        description="path of a delimited text file with a header line, or that and how it is written: encoding, "
        "separator and notation of numbers are found and said, or refused with the line to write",
    )
    parquet: PathText | None = Field(None, description="path of a Parquet file")
    npz: PathText | None = Field(None, description="path of a NumPy .npz file of equally long arrays")
    image_folder: Annotated[
        ImageFolder | None, BeforeValidator(_folder, json_schema_input_type=PathText | ImageFolder | None)
    ] = Field(None, description="folder of images, a subfolder is a class; or {path, color, background, window}")
    text: Annotated[PathText | TextFile, BeforeValidator(_one_cut)] | None = Field(
        None, description="path of a text file in UTF-8, or of a folder of these; or {path, documents, separator}"
    )
    huggingface: Text | None = Field(None, description="path or id of a Hugging Face data set")
    factory: Ref | None = Field(None, description="`module:Name` that returns a DataFrame or {array name: array}")
    args: Mapping[str, Any] | None = Field(None, description="arguments of the factory")
    files: tuple[PathText, ...] | None = Field(None, description="files that the factory reads; a change reruns it")

    def file(self, kind: str) -> tuple[tuple[str, ...], str] | None:
        """Return the keys under which the path of a kind stands, as ("csv", "path"), and the path; None without."""
        value = getattr(self, kind)
        if value is None or isinstance(value, str):
            return None if value is None else ((kind,), value)
        return (kind, "path"), value.path


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
    label: Text | ColumnNames | None = Field(
        None, description="label column or array; of multilabel_classification the columns of 0 and 1, one a label"
    )
    classes: tuple[Scalar, ...] | None = Field(
        None,
        min_length=1,
        description="the classes in the order of the model's outputs, by value or by the source's name, also those "
        "that the data does not show; of two, one number a case is about the second; default: sorted, where the model "
        "is trained here or they are whole numbers, and one number is about `positive`",
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
        exclude_if=unsaid,
        description="transforms fitted elsewhere, in place of `transform`: a run (folder or id), the folder "
        "`transforms` that a run ships, or an ONNX file that takes columns and gives the model's inputs",
    )
    subgroups: Mapping[str, Subgroup] = Field(default_factory=dict, description="name → partition of the rows")
    strata: Text | None = Field(
        None,
        exclude_if=unsaid,
        description="column of sites or devices: tests are stratified by it, and its values are the subgroup `strata`",
    )
    unlabeled: Source | None = Field(
        None,
        exclude_if=unsaid,
        description="one source of further rows like the evaluation rows, without labels: both models answer them, and "
        "only rows on which they differ need a label",
    )
    labels: PathText | None = Field(
        None, exclude_if=unsaid, description="a file that `titrant label` wrote and people filled in"
    )
    id: Text | None = Field(
        None,
        exclude_if=unsaid,
        description="column that names a row in files of rows (`report --rows`, `label`), no input; default: digests",
    )

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns that hold labels; () where none does."""
        return () if self.label is None else (self.label,) if isinstance(self.label, str) else self.label

    @property
    def label_name(self) -> str | None:
        """What the label is called among the columns that are loaded: several columns become one array."""
        return " + ".join(self.label_columns) or None

    @property
    def label_names(self) -> tuple[str, ...]:
        """What labels in several columns are called; () where one column holds them."""
        return self.label if isinstance(self.label, tuple) else ()

    @property
    def groups(self) -> Mapping[str, Subgroup]:
        """The subgroups, and the strata as one more, each of whose values is one."""
        return self.subgroups if self.strata is None else {**self.subgroups, STRATA: Subgroup(column=self.strata)}

    @property
    def input_columns(self) -> tuple[str, ...] | None:
        """The columns and arrays that `inputs` names, each once; None where it names none."""
        if not isinstance(self.inputs, Mapping):
            return self.inputs
        parts = self.inputs.values()
        return tuple(dict.fromkeys(name for part in parts for name in ((part,) if isinstance(part, str) else part)))
