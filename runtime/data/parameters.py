"""Parameter models that the data and model operators share."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Params
from titrant.schema.recipe.transform import KEEP, ImputeStrategy, TransformName

if TYPE_CHECKING:
    from titrant.runtime.values import ImageReading, Recurrence

# JSON has lists only, so a list is taken where the model holds a tuple; what is in it stays strict.
Names = Annotated[tuple[str, ...], Field(strict=False)]
Shape = Annotated[tuple[int | str, ...], Field(strict=False)]
PlainValue = bool | int | float | str
PlainValues = Annotated[tuple[PlainValue, ...], Field(strict=False)]


class File(Params):
    """A file or folder that a step reads; only the digest enters the step's key."""

    path: str = Field(description="absolute path")
    digest: str = Field(description="BLAKE3 of the content, hexadecimal; of a folder: of its sorted names and digests")


Files = Annotated[tuple[File, ...], Field(strict=False)]


class TensorParams(Params):
    """One model input or output."""

    name: str
    shape: Shape = Field(
        (),
        description='with the batch dimension, written "batch"; () for one number a batch, and outputs not known yet',
    )
    dtype: str = "float32"
    value: bool | int | float | None = Field(
        None, description="the number of an input of shape ()", exclude_if=lambda value: value is None
    )


InputSpecs = Annotated[tuple[TensorParams, ...], Field(strict=False)]


class StateParams(Params):
    """Recurrent state: output → input, what a case answers with, and one step of every other input, where known."""

    feeds: dict[str, str]
    answer: Literal["last", "steps"]
    inputs: InputSpecs = ()

    @property
    def recurrence(self) -> "Recurrence":
        """The same as a model holds it."""
        from titrant.runtime.values import Recurrence

        return Recurrence(self.feeds, self.answer, tuple((spec.name, spec.shape, spec.dtype) for spec in self.inputs))


class InputPartParams(Params):
    """One input of the model: the array or column that it is by itself, or the columns that are stacked into it.

    With a `value` it is that number for every row.
    """

    name: str
    part: str | Names = ()
    value: bool | int | float | None = None


InputParts = Annotated[tuple[InputPartParams, ...], Field(strict=False)]


class ImageParams(Params):
    """How image files become pixels in 0..1."""

    color: Literal["rgb", "gray"] = "rgb"
    background: str = "white"
    window: Annotated[tuple[float, float], Field(strict=False)] | None = None

    @property
    def reading(self) -> "ImageReading":
        """The same, as the transforms keep it."""
        from titrant.runtime.values import ImageReading

        return ImageReading(self.color, self.background, self.window)


class CsvOptions(Params):
    """How a csv file is written, where the recipe says so; None: found in the file.

    `thousands` is "none" where nothing parts thousands; `missing` are the texts, besides the empty one, that stand for
    a missing value in every column: () for none.
    """

    separator: str | None = None
    encoding: str | None = None
    decimal: Literal[".", ","] | None = None
    thousands: str | None = None
    missing: PlainValues | None = None


class TextOptions(Params):
    """Where a document ends in a text file; None: found in the file."""

    documents: Literal["line", "paragraph", "file"] | None = None
    separator: str | None = None


class SourceParams(Params):
    """One source: exactly one of the eight kinds, and which of its columns are the inputs and the label.

    `inputs` and `label` are this source's own names; they are loaded under the step's `inputs` and `label`, position
    by position, so that every later step sees one set of names.
    """

    sklearn: str | None = None
    csv: File | None = None
    csv_options: CsvOptions | None = Field(
        None, description="how the csv file is written", exclude_if=lambda value: value is None
    )
    parquet: File | None = None
    npz: File | None = None
    image_folder: File | None = None
    images: ImageParams | None = Field(None, description="how they are read", exclude_if=lambda value: value is None)
    masks: File | None = Field(
        None, description="folder of their masks, which are the label", exclude_if=lambda value: value is None
    )
    text: File | None = Field(None, description="a file or folder", exclude_if=lambda value: value is None)
    text_options: TextOptions | None = Field(
        None, description="where a document ends", exclude_if=lambda value: value is None
    )
    factory: str | None = Field(None, description="module:Name of a function that returns the data")
    part: str | None = Field(None, description="which source of a factory that returns several")
    args: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the factory")
    files: Files = Field((), description="files that the factory reads")
    inputs: Names | None = None
    label: str | None = None


class SubgroupColumn(Params):
    """A subgroup: a column cut into bins [a, b), or some of its values, under labels.

    `values` is a list of values, or label → value or list of values. Neither: every value is a subgroup value.
    """

    column: str
    bins: Annotated[tuple[float, ...], Field(strict=False)] | None = None
    values: list[PlainValue] | dict[str, PlainValue | list[PlainValue]] | None = None


GivenFigures = float | Annotated[tuple[float, ...], Field(strict=False)]


class TransformStep(Params):
    """One entry of `data.transform`; `columns` None means every input column that the transform can work on."""

    name: TransformName
    columns: Names | None = None
    mean: GivenFigures | dict[str, GivenFigures] | None = Field(None, description="by column for standardize")
    std: GivenFigures | dict[str, GivenFigures] | None = Field(None, description="by column for standardize")
    scale: Literal[1, 255] = 1
    strategy: ImputeStrategy = "median"
    values: dict[str, PlainValue | PlainValues] | None = Field(
        None,
        description="by column: what impute fills gaps with, or what one_hot makes columns of",
        exclude_if=lambda value: value is None,
    )
    indicator: bool = Field(False, exclude_if=lambda value: not value)
    height: int | None = Field(None, ge=1)
    width: int | None = Field(None, ge=1)
    tokenizer: File | Literal["characters"] | None = Field(None, exclude_if=lambda value: value is None)
    length: int | None = Field(None, ge=1, exclude_if=lambda value: value is None)
    windows: bool = Field(
        False, description="tokenize cuts a text into windows, each a row", exclude_if=lambda value: not value
    )

    @property
    def given(self) -> bool:
        """Whether a transform that could be fitted is given its figures, or its tokenizer, instead."""
        figures = self.values is not None or (self.name == "standardize" and self.mean is not None)
        return figures or self.keeps_gaps or isinstance(self.tokenizer, File)

    @property
    def keeps_gaps(self) -> bool:
        """Whether gaps of its columns stay what they are."""
        return self.name == "impute" and self.strategy == KEEP


TransformSteps = Annotated[tuple[TransformStep, ...], Field(strict=False)]


def source_words(name: str) -> str:
    """Name a source as messages do: by its name, or as the data where it is the only one."""
    return "the data" if name == "source" else f"source {name}"
