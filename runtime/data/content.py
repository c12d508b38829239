"""Name a table's input columns, and hash each row's content, independent of the order of rows and of columns."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from titrant.runtime.data.columns import find, flat, is_ragged, is_text
from titrant.runtime.values import Table
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Numbers that are hashed at once: what is made of them stays in the processor's cache.
_CHUNK = 1 << 14


def row_hashes(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a 64-bit hash (rows,) uint64 of every row over all columns.

    Equal numbers hash alike whatever their dtype (1, 1.0, True); so do 0.0 and -0.0, and all NaN.
    """
    total: np.ndarray | None = None
    for name, column in columns.items():
        salted = mix(_value_hashes(column) + text_hash(name))
        # Sums commute, so the order of columns does not matter.
        total = salted if total is None else total + salted
    if total is None:
        raise ValueError("no columns to hash")
    return mix(total)


def at_common_precision(tables: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Round each column's numbers to the shortest float that any of the tables holds the column in.

    What a file in float32 kept of a row that another has in float64 would otherwise be another row. Columns that all
    tables hold alike, text and ragged arrays stay as they are.
    """
    floats: dict[str, np.dtype[Any]] = {}
    for columns in tables:
        for name, column in columns.items():
            if column.dtype.kind == "f":
                floats[name] = min(floats.get(name, column.dtype), column.dtype, key=lambda dtype: dtype.itemsize)
    with np.errstate(over="ignore"):  # what is too large for it is infinite there
        return [
            {name: _rounded(column, floats.get(name, column.dtype)) for name, column in columns.items()}
            for columns in tables
        ]


def _rounded(column: np.ndarray, dtype: "np.dtype[Any]") -> np.ndarray:
    return column.astype(dtype) if column.dtype.kind in "iuf" and column.dtype.itemsize > dtype.itemsize else column


def number_hashes(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Return a 64-bit hash (rows,) uint64 of what stands in every row, whatever the columns are called.

    Numbers are hashed in float32, as models take them, by their place among all numbers of the row: an array of four
    and four columns in its order hash alike.
    """
    total: np.ndarray | None = None
    first = 0
    for column in columns:
        if is_text(column) or is_ragged(column):
            hashes, width = mix(_value_hashes(column) + np.uint64(first)), 1
        else:
            width = math.prod(column.shape[1:])
            hashes = _sums(column, np.arange(first, first + width, dtype=np.uint64), short=True)
        first += width
        total = hashes if total is None else total + hashes
    if total is None:
        raise ValueError("no columns to hash")
    return mix(total)


def salted_order(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Return sort keys (rows,) uint64: the hashes, mixed with a seed."""
    return mix(hashes ^ mix(np.array([seed], dtype=np.uint64) + _GOLDEN))


def mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit integers one to one (the finalizer of SplitMix64, Steele, Lea and Flood 2014)."""
    return _scrambled(values + _GOLDEN)


def _scrambled(mixed: np.ndarray) -> np.ndarray:
    """Scramble in place."""
    shifted = mixed >> np.uint64(30)
    mixed ^= shifted
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= np.right_shift(mixed, np.uint64(27), out=shifted)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= np.right_shift(mixed, np.uint64(31), out=shifted)
    return mixed


def text_hash(text: str) -> np.uint64:
    """Hash text to 64 bits, the same in every process."""
    import hashlib

    return np.uint64(
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    )


def row_names(hashes: np.ndarray, key: bytes) -> list[str]:
    """Name rows for a file that leaves the home: BLAKE3 of each content hash, keyed with 32 bytes, as 32 digits.

    A hash of what stands in a row can be found by trying what may stand there; a keyed one only with the home's key
    (`titrant.runtime.store.home.row_key`).
    """
    from blake3 import blake3

    return [blake3(value.tobytes(), key=key).hexdigest(length=16) for value in hashes.astype("<u8")]


def _value_hashes(column: np.ndarray) -> np.ndarray:
    if is_text(column):
        values, index = np.unique(column, return_inverse=True)
        return np.array([text_hash(value) for value in values.tolist()], dtype=np.uint64)[index]
    if is_ragged(column):
        return np.concatenate([_array_hashes(image[None]) + text_hash(str(image.shape)) for image in column])
    return _array_hashes(column)


def _array_hashes(column: np.ndarray) -> np.ndarray:
    """Hash the numbers of each row; what stands at place j of a row is mixed with j."""
    width = math.prod(column.shape[1:])
    if width == 1:
        return mix(_bits(flat(column)[:, 0]))
    return mix(_sums(column, np.arange(width, dtype=np.uint64)))


def _sums(column: np.ndarray, numbers: np.ndarray, *, short: bool = False) -> np.ndarray:
    """Add up the hashes of each row's numbers, mixed with those of their places; `short` ones in float32."""
    width, places = len(numbers), mix(numbers) + _GOLDEN
    hashes = np.zeros(len(column), dtype=np.uint64)
    step = max(1, _CHUNK // max(1, width))
    for start in range(0, len(column), step):
        # Flattened in pieces: images that were transposed on loading would be copied whole.
        rows = flat(column[start : start + step])
        for first in range(0, width, _CHUNK):
            chosen = slice(first, first + _CHUNK)
            values = rows[:, chosen]
            if short and values.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    values = values.astype(np.float32)
            part = _scrambled(_bits(values) + places[chosen])
            hashes[start : start + step] += part.sum(axis=1, dtype=np.uint64)
    return hashes


def _bits(values: np.ndarray) -> np.ndarray:
    """Write numbers as 64-bit patterns; an integer beyond 2^53, which no float holds exactly, keeps its own bits."""
    floats = values.astype(np.float64)
    floats += 0.0  # -0.0 becomes 0.0
    if values.dtype.kind == "f" and (missing := np.isnan(values)).any():
        floats[missing] = np.nan
    bits = floats.view(np.uint64)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        return np.where(np.abs(floats) < 2.0**53, bits, values.astype(np.uint64))
    return bits


class Named(Protocol):
    """Parameters that say which columns are inputs and label."""

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """The input columns, or None for every column but the label and `by`."""

    @property
    def label(self) -> str | None:
        """The label column."""

    @property
    def by(self) -> str | None:
        """What stays together: "row", "order" or a column."""


def input_names(params: Named, table: Table) -> tuple[str, ...]:
    """List the input columns: those named, or every column but the label and the `split.by` column."""
    if params.inputs is not None:
        for name in params.inputs:
            find(table.columns, name, "the data", "data.inputs")
        return params.inputs
    apart = {params.label, None if params.by in ("row", "order") else params.by}
    names = tuple(name for name in table.columns if name not in apart)
    if not names:
        raise RecipeError(Diagnostic("X101", "the data has no column but the label", help="name `data.inputs`"))
    return names
