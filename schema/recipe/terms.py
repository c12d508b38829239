"""The kinds of value that recipe keys hold: sizes, times, fractions, references, patterns."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import SIZES, TIMES, QuantityError, parse_size, parse_time


class Section(BaseModel):
    """Base of every recipe model: frozen, strict, no unknown keys, built when first used."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Added:
    """Notes on a choice of names that installed packages may add others, of a group and the families of operators."""

    group: str
    families: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return what is added, as recipes name it."""
        from titrant.schema.values.extensions import extensions

        added = extensions(self.group)
        if not self.families:
            return tuple(added)
        parts = (name.partition(".") for name in added)
        return tuple(file.replace("_", ".") for family, _, file in parts if family in self.families)


def installed(group: str, *families: str) -> WrapValidator:
    """Let a name of the language also be one that an installed package adds: a backend, format or operator.

    An operator is named without its family, with dots where its own name has underscores.
    """

    def accept(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        from titrant.schema.values.extensions import extensions

        if isinstance(value, str) and not (families and "_" in value):
            names = [f"{family}.{value.replace('.', '_')}" for family in families] or [value]
            if any(name in extensions(group) for name in names):
                return value
        return handler(value)

    return WrapValidator(accept)


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
    except QuantityError as error:
        raise mistake("R015", error.message, error.advice) from None


def _time(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    if not isinstance(value, str):
        raise mistake("R015", f"a time needs a unit, and `{value}` has none", f"such as `{value} ms`")
    try:
        return parse_time(value)
    except QuantityError as error:
        raise mistake("R015", error.message, error.advice) from None


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole(value: Any) -> Any:
    if isinstance(value, (bool, float)):
        raise ValueError("not a whole number")  # to Python, `True` is 1 and 8.0 is 8
    return value


@dataclass(frozen=True)
class CountedIn:
    """Marks a number as one of units of time, which is written without them; `seconds` is one of them."""

    unit: str
    seconds: float


@dataclass(frozen=True)
class Written:
    """Marks a type as written with a unit in the text."""

    unit: Literal["size", "time"]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number = r"[0-9]{1,18}(\.[0-9]{1,18})? ?"
        if self.unit == "time":  # not all zeros
            return _written(rf"(?=[0-9.]*[1-9]){number}({'|'.join(TIMES)})", "250 ms")
        # At least one byte, and at least a thousandth of a larger unit, as `parse_size` has it.
        larger = "|".join(unit for unit in SIZES if unit != "B")
        byte, other = rf"(?=0*[1-9]){number}B", rf"(?=0*[1-9]|0+\.0{{0,2}}[1-9]){number}({larger})"
        return _written(f"({byte}|{other})", "12 GiB")


def _written(pattern: str, example: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$", "examples": [example]}


@dataclass(frozen=True)
class Form:
    """Says in words what a text must look like; `words` are the plain words that it may be.

    `plural` is the phrase for several of them, "" where it is the same. `kind` is "name" or "slice" for a form for
    which a text that misses it can be mended.
    """

    phrase: str
    words: tuple[str, ...] = ()
    kind: Literal["", "name", "slice"] = ""
    plural: str = ""


class OffMarker:
    """Reads `none` in the text as None, for a key that then has no value."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: None if value == "none" else value, handler(source)
        )

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"const": "none"}]}


Size = Annotated[int, Field(ge=1), BeforeValidator(_size), Written("size")]
Time = Annotated[float, Field(gt=0), BeforeValidator(_time), Written("time")]
Fraction = Annotated[float, Field(ge=0, le=1)]
# Libraries take counts in 32 bits; thousands of threads would only fill the memory.
MOST_COUNT, MOST_THREADS = 2**31 - 1, 1024
Count = Annotated[int, Field(ge=1, le=MOST_COUNT)]
CountOrNone = Annotated[int, Field(ge=0, le=MOST_COUNT)]
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
PathText = Annotated[str, Field(min_length=1), Form("a path", plural="paths")]
Pattern = Annotated[str, Field(min_length=1), Form("a module name pattern", plural="module name patterns")]
REF = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
REFERENCE = "a reference such as `my_code:Net`"
Ref = Annotated[str, Field(pattern=REF), Form(REFERENCE)]
# Beside a choice of whole numbers.
Whole = BeforeValidator(_whole)
# A value of a column: integral floats are held as integers, as they are written.
Scalar = Annotated[
    str | int | float | bool, BeforeValidator(_integral, json_schema_input_type=str | int | float | bool)
]


def unsaid(value: Any) -> bool:
    """Whether a key says nothing: then it is in no digest of a recipe, as before there was such a key."""
    return value is None


# `none` in the text for a key that has no value of its own: held as None.
Off = OffMarker()
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
    "macro_f1",
    "label_accuracy",
    "exact_match",
    "auroc",
    "brier",
    "net_benefit",
    "calibration_slope",
    "calibration_intercept",
    "mae",
    "rmse",
    "r2",
    "error_p50",
    "error_p95",
    "error_p99",
    "dice",
    "iou",
    "surface_distance",
    "hausdorff_95",
    "average_precision",
    "average_precision_50",
    "box_f1",
    "perplexity",
    "token_agreement",
    "cosine",
    "neighbor",
    "recall_at_1",
    "agreement",
]
# What early stopping and checkpoints read; all of tuning rows.
Watched = Literal["tuning loss", "tuning accuracy"]
