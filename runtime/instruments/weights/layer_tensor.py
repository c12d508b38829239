"""One tensor that a layer holds: what it is for, and its values in blocks of output channels."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

# weight: of a product, with output channels. table: rows that are looked up or added, such as positions. scale, mean
# and variance: of a normalization. bias: any other vector. other: what is counted only.
Role = Literal["weight", "table", "scale", "mean", "variance", "bias", "other"]
# Numbers that a block holds at most, unless one channel has more: 4 MiB in float32.
BLOCK_NUMBERS = 1 << 20
_MATRIX = 2
_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


@dataclass(frozen=True)
class LayerTensor:
    """A tensor by its name and that of its layer; `shape` is as it is stored, `channels` counts its output channels.

    `blocks` reads it: arrays (some channels, numbers of each), float32 or float64, in the order of the channels; a
    quantized one as the numbers that it stands for. `stored` is its dtype by torch's name.
    """

    name: str
    layer: str
    role: Role
    stored: str
    shape: tuple[int, ...]
    channels: int
    blocks: "Callable[[], Iterator[np.ndarray]]"
    kind: str = ""  # the class of the layer, or the operator that reads the tensor

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        total = 1
        for size in self.shape:
            total *= size
        return total


def steps(channels: int, numbers_each: int) -> Iterator[tuple[int, int]]:
    """Yield (first channel, channel behind the last) of each block."""
    size = max(1, BLOCK_NUMBERS // max(1, numbers_each))
    for first in range(0, channels, size):
        yield first, min(channels, first + size)


def short_format(dtype: str) -> str:
    """Name a number format as people do: fp32, bf16, int8; without a sign, and torch's quantized ones, as integers."""
    return _SHORT.get(dtype, dtype.replace("quint", "int").replace("qint", "int").replace("uint", "int"))


def role_of_name(name: str, dimensions: int) -> Role:
    """Tell what a tensor is for by the names that torch gives, where no module says it."""
    last = name.rpartition(".")[2]
    if last in ("running_mean", "running_var"):
        return "mean" if last == "running_mean" else "variance"
    if last == "num_batches_tracked":
        return "other"
    if dimensions < _MATRIX:
        return "scale" if last == "weight" else "bias"
    looked_up = any(part in name.lower() for part in ("embed", "wte", "wpe", "position", "pos_", "token", "cls"))
    return "weight" if last.startswith(("weight", "in_proj", "kernel")) and not looked_up else "table"
