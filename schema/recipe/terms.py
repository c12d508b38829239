"""The kinds of value that recipe keys hold: sizes, times, fractions, references, patterns."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from titrant.schema.units import parse_size, parse_time


class Section(BaseModel):
    """Base of every recipe model: frozen, strict, no unknown keys, built when first used."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True, allow_inf_nan=False)


def mistake(code: str, message: str, help: str = "") -> PydanticCustomError:
    """Make the error that a validator raises; it becomes a diagnostic with this code, message and help."""
    return PydanticCustomError("mistake", "{message}", {"code": code, "message": message, "help": help})


def _size(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    if not isinstance(value, str):
        raise mistake("R015", f"a size needs a unit, and `{value}` has none", f"such as `{value} MiB`")
    try:
        return parse_size(value)
    except ValueError as error:
        raise mistake("R015", *_halves(error)) from None


def _time(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    if not isinstance(value, str):
        raise mistake("R015", f"a time needs a unit, and `{value}` has none", f"such as `{value} ms`")
    try:
        return parse_time(value)
    except ValueError as error:
        raise mistake("R015", *_halves(error)) from None


def _halves(error: ValueError) -> tuple[str, str]:
    message, _, advice = str(error).partition("; ")
    return message, advice


def _off(value: Any) -> Any:
    return None if value == "none" else value


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Written:
    """Marks a field's type as written with a unit in the text: "size" or "time"."""

    def __init__(self, unit: Literal["size", "time"]) -> None:
        self.unit = unit


Size = Annotated[int, Field(ge=1), BeforeValidator(_size, json_schema_input_type=str), Written("size")]
Time = Annotated[float, Field(gt=0), BeforeValidator(_time, json_schema_input_type=str), Written("time")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
PathText = Annotated[str, Field(min_length=1)]
Pattern = Annotated[str, Field(min_length=1)]
REF = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
Ref = Annotated[str, Field(pattern=REF)]
# A value of a column: integral floats are held as integers, as they are written.
Scalar = Annotated[
    str | int | float | bool, BeforeValidator(_integral, json_schema_input_type=str | int | float | bool)
]
# `none` in the text for a key that has no value of its own: held as None.
Off = BeforeValidator(_off)
# `none` in the text for a preset: held as it stands, because it switches off what a level supplies.
SwitchedOff = Literal["none"]
Auto = Literal["auto"]

Metric = Literal[
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "auroc",
    "brier",
    "mae",
    "rmse",
    "dice",
    "perplexity",
    "agreement",
]
# What early stopping and checkpoints read; all of tuning rows.
Watched = Literal["tuning loss", "tuning accuracy"]
