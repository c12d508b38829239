"""How many bytes data take as titrant keeps them, counted from the facts: every array is kept whole in one file."""

import math

from titrant.schema.facts import Column, DataFacts, TensorSpec

# A safetensors header spends this on each array, and the description beside it on each name.
_ARRAY_BYTES = 90
_ABOUT_BYTES = 200
_ITEM_BYTES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "uint32": 4,
    "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip
# Text is kept as JSON; its length is not among the facts.
_TEXT_BYTES = 10


def case_bytes(data: DataFacts) -> int:
    """Return the bytes of one case as the model takes it."""
    return sum(spec_bytes(spec) for spec in data.inputs)


def spec_bytes(spec: TensorSpec, unknown: int = 8) -> int:
    """Return the bytes of one case of a model's input or output; `unknown` stands for a dtype that is not known."""
    return _items(spec.shape[1:]) * item_bytes(spec.dtype, unknown)


def rows_bytes(data: DataFacts, role: str) -> int:
    """Return what one role's model-ready rows take: inputs, ids, units, labels and subgroups."""
    facts = data.roles.get(role)
    rows = facts.rows if facts is not None else 0
    subgroups = len(facts.subgroups) if facts is not None else _subgroups(data)
    beside = 2 + bool(data.classes) + subgroups
    arrays = len(data.inputs) + beside
    return rows * (case_bytes(data) + 8 * beside) + _ARRAY_BYTES * arrays + _ABOUT_BYTES


def tables_bytes(data: DataFacts) -> int:
    """Return what the data as loaded take; text is an estimate."""
    columns = sum(column_bytes(column) for column in data.columns)
    return data.rows * columns + (_ARRAY_BYTES + 20) * len(data.columns) + _ABOUT_BYTES


def has_text(data: DataFacts) -> bool:
    """Say whether a column is text, whose size is not among the facts."""
    return any(column.dtype == "text" for column in data.columns)


def split_bytes(data: DataFacts) -> int:
    """Return what the split takes: the place of every row that has a role, and every row's unit."""
    return 8 * (sum(facts.rows for facts in data.roles.values()) + data.rows) + 4 * _ARRAY_BYTES + _ABOUT_BYTES


def column_bytes(column: Column) -> int:
    """Return the bytes of one row's value in a column."""
    if column.dtype == "text":
        return _TEXT_BYTES
    return _items(column.shape) * item_bytes(column.dtype)


def item_bytes(dtype: str, unknown: int = 8) -> int:
    """Return the bytes of one number; `unknown` where the dtype is not known."""
    return _ITEM_BYTES.get(dtype, unknown)


def _items(shape: tuple[int | str, ...]) -> int:
    return math.prod(size for size in shape if isinstance(size, int))


def _subgroups(data: DataFacts) -> int:
    return max((len(facts.subgroups) for facts in data.roles.values()), default=0)
