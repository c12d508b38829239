"""What is asked of a library of arrays, and what it answers."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Moments:
    """What the numbers of an array are; of complex ones their magnitudes.

    Mean, deviation (of the whole, not a sample), minimum and maximum are over the `finite` values, and NaN where there
    are none. `subnormal` counts numbers that are smaller than their dtype holds at full precision, and not 0.
    """

    finite: int = 0
    nan: int = 0
    infinite: int = 0
    zero: int = 0
    subnormal: int = 0
    mean: float = math.nan
    deviation: float = math.nan
    minimum: float = math.nan
    maximum: float = math.nan


@dataclass(frozen=True)
class ArrayForm:
    """The form of an array; `unread` says why its numbers cannot be read, "" where they can.

    A parameter that gets its shape in the first forward pass is `shapeless`, and (0,) here.
    """

    shape: tuple[int, ...]
    dtype: str
    bytes: int
    floating: bool
    unread: str = ""
    shapeless: bool = False

    @property
    def count(self) -> int:
        """How many numbers the array has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class ModulePart:
    """A parameter or saved buffer of a module, by its name; `tied` names the part before it that it is, or is "".

    `count` is how many numbers are packed in it, 0 where each is one of its own.
    """

    name: str
    array: Any
    parameter: bool
    trainable: bool
    tied: str = ""
    count: int = 0


@dataclass(frozen=True)
class ArrayLibrary:
    """What is asked of a library; arrays that are given together are read together, with one transfer a device.

    `extremes` gives the largest magnitude of each array: NaN with a NaN, infinity with an infinity, 0 of none. `norms`
    are L2, in single precision at least. `moments` reads pieces of bounded size. `to_numpy` copies numbers to float64.
    """

    arrays: tuple[type, ...]
    modules: tuple[type, ...]
    form: Callable[[Any], ArrayForm]
    parts: Callable[[Any], Iterator[ModulePart]]
    detach: Callable[[Any], Any]
    norms: Callable[[Sequence[Any]], list[float]]
    extremes: Callable[[Sequence[Any]], list[float]]
    moments: Callable[[Sequence[Any]], list[Moments]]
    to_numpy: Callable[[Any], "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class MomentsPiece:
    """The moments of some of an array's numbers, ready to be added up; `squares` sums those of what is off the mean.

    Source of the sum: T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979).
    """

    finite: float
    nan: float
    infinite: float
    zero: float
    subnormal: float
    mean: float
    squares: float
    minimum: float
    maximum: float


def added(pieces: Sequence[MomentsPiece]) -> Moments:
    """Add up the pieces of an array."""
    finite = sum(piece.finite for piece in pieces)
    counts = Moments(
        finite=int(finite),
        nan=int(sum(piece.nan for piece in pieces)),
        infinite=int(sum(piece.infinite for piece in pieces)),
        zero=int(sum(piece.zero for piece in pieces)),
        subnormal=int(sum(piece.subnormal for piece in pieces)),
    )
    full = [piece for piece in pieces if piece.finite]
    if not full:
        return counts
    mean = math.fsum(piece.mean * (piece.finite / finite) for piece in full)
    squares = math.fsum(piece.squares + piece.finite * (piece.mean - mean) ** 2 for piece in full)
    return replace(
        counts,
        mean=mean,
        deviation=math.sqrt(squares / finite),
        minimum=min(piece.minimum for piece in full),
        maximum=max(piece.maximum for piece in full),
    )
