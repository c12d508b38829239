"""The entries of `data.transform`: what is done to the raw columns before the model sees them."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from titrant.schema.recipe.terms import Count, PathText, Positive, Scalar, Section, Text, Whole, mistake, unsaid


def _per_channel(value: Any) -> Any:
    return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


_Means = Annotated[tuple[float, ...], Field(min_length=1)]
_Deviations = Annotated[tuple[Positive, ...], Field(min_length=1)]
PerChannel = Annotated[_Means, BeforeValidator(_per_channel, json_schema_input_type=float | _Means)]
PerChannelPositive = Annotated[
    _Deviations, BeforeValidator(_per_channel, json_schema_input_type=Positive | _Deviations)
]

# Figures by column: one number, or one for each place of an array or channel of an image.
MeanByColumn = Annotated[Mapping[str, PerChannel], Field(min_length=1)]
DeviationByColumn = Annotated[Mapping[str, PerChannelPositive], Field(min_length=1)]
ValueByColumn = Annotated[Mapping[str, Scalar], Field(min_length=1)]
ValuesByColumn = Annotated[Mapping[str, Annotated[tuple[Scalar, ...], Field(min_length=1)]], Field(min_length=1)]


class Standardize(Section):
    """Subtract the mean and divide by the standard deviation of each numeric column."""

    name: Literal["standardize"]
    columns: tuple[Text, ...] | None = Field(None, min_length=1, description="columns; default: every numeric input")
    mean: MeanByColumn | None = Field(
        None,
        exclude_if=unsaid,
        description="column → mean of the training, where the model was trained elsewhere; default: fitted",
    )
    std: DeviationByColumn | None = Field(
        None,
        exclude_if=unsaid,
        description="column → standard deviation of the training, above 0; default: fitted",
    )


class Normalize(Section):
    """Subtract a given mean and divide by a given standard deviation, one number or one a channel."""

    name: Literal["normalize"]
    columns: tuple[Text, ...] | None = Field(None, min_length=1, description="columns; default: every numeric input")
    mean: PerChannel = Field(description="mean, a number or one a channel")
    std: PerChannelPositive = Field(description="standard deviation, a number or one a channel, above 0")
    scale: Annotated[Literal[1, 255], Whole] = Field(1, description="pixel range that mean and std are given in")


KEEP: Final = "keep"
ImputeStrategy = Literal["median", "mean", "most_frequent", "keep"]


class Impute(Section):
    """Fill missing values."""

    name: Literal["impute"]
    columns: tuple[Text, ...] | None = Field(None, min_length=1, description="columns; default: those with gaps")
    strategy: ImputeStrategy = Field(
        "median",
        description="what a gap is filled with; `keep`: it stays a gap (NaN), for a model that was trained on gaps, "
        "such as boosted trees",
    )
    indicator: bool = Field(
        False,
        description="an input of 0 and 1 behind each column that says where a gap was filled: of the columns named, or "
        "of those with gaps in the rows that it is fitted on",
        exclude_if=lambda value: not value,
    )
    values: ValueByColumn | None = Field(
        None,
        exclude_if=unsaid,
        description="column → what its gaps are filled with, as in the training; default: by `strategy`",
    )


class OneHot(Section):
    """Turn each text column into one column a value; a value not seen when fitted gives zeros."""

    name: Literal["one_hot"]
    columns: tuple[Text, ...] | None = Field(None, min_length=1, description="columns; default: every text input")
    values: ValuesByColumn | None = Field(
        None,
        exclude_if=unsaid,
        description="column → its values in the order of the training; default: those seen, by alphabet",
    )


class Resize(Section):
    """Resize images."""

    name: Literal["resize"]
    columns: tuple[Text, ...] | None = Field(None, min_length=1, description="image arrays; default: every one")
    height: Count = Field(description="height in pixels")
    width: Count = Field(description="width in pixels")


# The tokenizer that is no file: each character is a token.
CHARACTERS = "characters"


class Tokenize(Section):
    """Turn text into token numbers of a fixed length: in language modeling windows of each document."""

    name: Literal["tokenize"]
    columns: tuple[Text, ...] | None = Field(None, min_length=1, description="text columns; default: every one")
    tokenizer: PathText = Field(
        description="`characters`, those of the train rows, or the path of a tokenizer.json or of llama2.c's .bin"
    )
    length: Count = Field(
        description="tokens a case; shorter ones are padded, longer ones cut, in language modeling into windows"
    )

    @property
    def file(self) -> str | None:
        """The path of the tokenizer; None for characters."""
        return None if self.tokenizer == CHARACTERS else self.tokenizer


TransformName = Literal["standardize", "normalize", "impute", "one_hot", "resize", "tokenize"]
TRANSFORMS: tuple[TransformName, ...] = get_args(TransformName)
# Those that learn something from rows.
FITTED: tuple[TransformName, ...] = ("standardize", "impute", "one_hot", "tokenize")


def is_given(step: "Transform") -> bool:
    """Whether a transform that could be fitted is given its figures instead."""
    return (
        (isinstance(step, Standardize) and step.mean is not None)
        or (isinstance(step, Impute | OneHot) and step.values is not None)
        or (isinstance(step, Impute) and step.strategy == KEEP)
        or (isinstance(step, Tokenize) and step.file is not None)
    )


def _named(value: Any) -> Any:
    """Read `standardize` and `{standardize: {columns: […]}}` as a mapping with the transform's name in it."""
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise mistake(
            "R011",
            f"a transform is one name with its options, and here stand {len(value)} keys",
            "write `- standardize` or `- normalize: {mean: 0.5, std: 0.5}`, one list entry a transform",
        )
    name, options = next(iter(value.items()))
    if not isinstance(options, dict):
        raise mistake("R011", f"the options of `{name}` are a mapping", f"write `- {name}` or `- {name}: {{…}}`")
    if "name" in options:
        raise mistake("R012", f"unknown option `name` in `{name}`")
    return {**options, "name": name}


class OneKey:
    """Marks the union of transforms as written `name` or `{name: {options}}`."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        named = handler.resolve_ref_schema(handler(core))["oneOf"]
        entries: list[dict[str, Any]] = []
        for name, reference in zip(TRANSFORMS, named, strict=True):
            model = handler.resolve_ref_schema(reference)
            model["properties"].pop("name", None)
            model["required"] = [key for key in model.get("required", []) if key != "name"]
            if not model["required"]:
                entries.append({"const": name, "description": model.get("description", "")})
            entries.append(
                {"type": "object", "properties": {name: reference}, "required": [name], "additionalProperties": False}
            )
        return {"anyOf": entries}


Transform = Annotated[
    Annotated[
        Standardize | Normalize | Impute | OneHot | Resize | Tokenize,
        Field(discriminator="name"),
    ],
    BeforeValidator(_named),
    OneKey(),
]
