"""Measure one tensor of a layer: broken numbers, idle and equal channels, and what int8 would leave of it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from titrant.runtime.instruments.weights.layer_tensor import LayerTensor
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

# Codes of symmetric int8: -127 … 127.
_INT8 = 127
# What an exact signal-to-noise is given as: more is not to be told from rounding of float32.
MOST_DB = 120.0
# Squares of what is larger leave float64.
_MOST_SQUARED = 1e140
# Equal channels of fewer numbers than this are no surprise.
_LEAST_ALIKE = 4


@dataclass(frozen=True)
class TensorFigures:
    """What was counted and measured of one tensor.

    `zeros`, `denormal` count values, `idle` output channels that are zero throughout, `alike` those that repeat an
    earlier one. `minimum` … `deviation` are over finite values, None where there are none. `spread` is the largest
    range of a channel over the median one. `tensor_db`, `channel_db` are the signal-to-noise in decibels of symmetric
    int8 with one scale, or one a channel (10 log10 of squared weights over squared errors); None where the weights are
    no matrix, or not finite, or zero. Loud channels hide in `tensor_db` what quiet ones lose: `quiet_db` is the median
    over the channels of what one scale for all leaves of each. `smallest` is the smallest value that is not zero,
    without its sign.
    """

    name: str
    layer: str
    role: str
    kind: str
    stored: str
    shape: tuple[int, ...]
    count: int
    channels: int
    nan: int = 0
    infinite: int = 0
    zeros: int = 0
    denormal: int = 0
    smallest: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    deviation: float | None = None
    idle: int = 0
    alike: int = 0
    spread: float | None = None
    tensor_db: float | None = None
    channel_db: float | None = None
    quiet_db: float | None = None

    @property
    def largest(self) -> float:
        """The largest finite value without its sign; 0 where there is none."""
        return max(abs(self.minimum or 0.0), abs(self.maximum or 0.0))


def measure(tensor: LayerTensor) -> TensorFigures:
    """Read a tensor once for its values, and a weight once more for what int8 would leave of it."""
    import numpy as np

    sums = _Sums(weight=tensor.role == "weight")
    for block in tensor.blocks():
        sums.add(block)
    blank = TensorFigures(
        tensor.name, tensor.layer, tensor.role, tensor.kind, tensor.stored, tensor.shape, tensor.count, tensor.channels,
        sums.nan, sums.infinite, sums.zeros, sums.denormal,
    )  # fmt: skip
    if not sums.finite:
        return blank
    mean = sums.total / sums.finite
    ranges = np.concatenate(sums.ranges)
    active, weighs = ranges[ranges > 0], tensor.role == "weight"
    measurable = float(ranges.max()) < _MOST_SQUARED and abs(mean) < _MOST_SQUARED
    figures = replace(
        blank,
        smallest=sums.smallest if sums.smallest < np.inf else None,
        minimum=sums.minimum,
        maximum=sums.maximum,
        mean=mean,
        deviation=max(0.0, sums.squares / sums.finite - mean * mean) ** 0.5 if measurable else None,
        idle=int((ranges == 0).sum()) if weighs else 0,
        alike=sums.alike,
        spread=float(active.max() / np.median(active)) if weighs and len(active) else None,
    )
    if not weighs or not len(active) or sums.nan or sums.infinite or not measurable:
        return figures
    tensor_db, channel_db, quiet_db = _decibels(tensor, ranges)
    return replace(figures, tensor_db=tensor_db, channel_db=channel_db, quiet_db=quiet_db)


class _Sums:
    """What is added up over the blocks of a tensor."""

    def __init__(self, *, weight: bool) -> None:
        self._weight = weight
        self.nan = self.infinite = self.zeros = self.denormal = self.finite = self.alike = 0
        self.total = self.squares = 0.0
        self.minimum, self.maximum, self.smallest = float("inf"), float("-inf"), float("inf")
        self.ranges: list[np.ndarray] = []
        self._seen: set[int] = set()

    def add(self, block: "np.ndarray") -> None:
        """Add a block (channels, numbers)."""
        import numpy as np

        if not block.size:
            return
        sound = np.isfinite(block)
        bad = block.size - int(sound.sum())
        if bad:
            nan = int(np.isnan(block).sum())
            self.nan, self.infinite = self.nan + nan, self.infinite + bad - nan
        values = np.abs(block) if not bad else np.where(sound, np.abs(block), 0)
        self.ranges.append(values.max(axis=1).astype(np.float64))
        kept = block if not bad else block[sound]
        self.finite += kept.size
        if not kept.size:
            return
        self.minimum, self.maximum = min(self.minimum, float(kept.min())), max(self.maximum, float(kept.max()))
        self.total += float(kept.sum(dtype=np.float64))
        self.squares += float(np.square(kept, dtype=np.float64).sum())
        self.zeros += int((kept == 0).sum())
        positive = values[values > 0]
        if positive.size:
            self.smallest = min(self.smallest, float(positive.min()))
            tiny = float(np.finfo(block.dtype).tiny)
            if self.smallest < tiny:
                self.denormal += int((positive < tiny).sum())
        if self._weight and block.shape[1] >= _LEAST_ALIKE:
            self._count_alike(block, self.ranges[-1] > 0)

    def _count_alike(self, block: "np.ndarray", active: "np.ndarray") -> None:
        import numpy as np

        rows = np.ascontiguousarray(block)
        for place in np.flatnonzero(active):
            digest = hash(rows[place].tobytes())
            self.alike += digest in self._seen
            self._seen.add(digest)


def _decibels(tensor: LayerTensor, ranges: "np.ndarray") -> tuple[float, float, float]:
    """Round a weight to int8 with one scale, and with one a channel, and compare (Nagel et al. 2021, section 2)."""
    import numpy as np

    whole = np.asarray([[float(ranges.max()) / _INT8]])
    signal, of_tensor, of_channel = (np.zeros(len(ranges)) for _ in range(3))
    first = 0
    for block in tensor.blocks():
        places = slice(first, first + len(block))
        first += len(block)
        own = ranges[places, None] / _INT8
        own[own == 0] = 1.0
        signal[places] = np.square(block, dtype=np.float64).sum(axis=1)
        of_tensor[places], of_channel[places] = _noise(block, whole), _noise(block, own)
    active = signal > 0
    each = [decibels(*pair) for pair in zip(signal[active], of_tensor[active], strict=True)]
    whole_db, channel_db = (decibels(float(signal.sum()), float(noise.sum())) for noise in (of_tensor, of_channel))
    return whole_db, channel_db, float(np.median(each)) if each else MOST_DB


def _noise(block: "np.ndarray", scale: "np.ndarray") -> "np.ndarray":
    """Return the squared rounding errors of each channel of a block."""
    import numpy as np

    scale = scale.astype(block.dtype)
    steps = block / np.maximum(scale, np.finfo(block.dtype).tiny)
    steps -= np.rint(steps)
    steps *= scale
    squares: np.ndarray = np.square(steps, dtype=np.float64).sum(axis=1)
    return squares


def decibels(signal: float, noise: float) -> float:
    """Return 10 log10 of a ratio of powers, between -120 and 120."""
    import math

    if noise <= 0 or signal <= 0:
        return MOST_DB if noise <= 0 else -MOST_DB
    return max(-MOST_DB, min(MOST_DB, 10 * (math.log10(signal) - math.log10(noise))))
