"""Say how many steps of a stateful model a case holds, from the shape of one step and the shape of the data."""

from collections.abc import Iterable, Sequence

from titrant.schema.values.frozen import dataclass

_Size = int | str  # text is a free size


@dataclass(frozen=True)
class Steps:
    """How a case is taken apart: into `count` steps, 0 for an input that is the same at each; `shape` is one step's.

    With `axis` the steps have an axis of their own, after the batch; otherwise pieces of equal length follow each other
    on the first axis.
    """

    count: int
    shape: tuple[_Size, ...]
    axis: bool = False


def steps_of(step: Sequence[_Size], given: Sequence[_Size]) -> Steps | None:
    """Compare the shape of one step, batch first, with that of the data, batch first; None where they do not fit.

    The data have an axis more, of steps, or are as many times as long on the axis after the batch, or hold one step.
    """
    inner, case = tuple(step[1:]), tuple(given[1:])
    if not step:
        return Steps(0, ()) if not case else None
    if len(case) == len(inner) + 1 and _fits(inner, case[1:]) and isinstance(case[0], int):
        return Steps(case[0], (step[0], *case[1:]), axis=True)
    if len(case) != len(inner):
        return None
    if _fits(inner, case):
        return Steps(0, (step[0], *case))
    length, whole = (inner[0], case[0]) if inner else ("", "")
    if isinstance(length, int) and isinstance(whole, int) and whole % length == 0 and _fits(inner[1:], case[1:]):
        return Steps(whole // length, (step[0], length, *case[1:]))
    return None


def whole_lengths(step: Sequence[_Size], given: Sequence[_Size]) -> tuple[int, ...]:
    """Return the lengths nearest to the data's on the axis after the batch that hold whole steps; () without such."""
    if len(step) < 2 or len(step) != len(given):
        return ()
    length, whole = step[1], given[1]
    if not isinstance(length, int) or not isinstance(whole, int):
        return ()
    fewer = whole - whole % length
    return tuple(size for size in (fewer, fewer + length) if size > length)


def common_count(parts: Iterable[Steps]) -> int | None:
    """Return how many steps every input that has some holds: 1 where none has, None where they differ."""
    counts = {part.count for part in parts if part.count}
    return None if len(counts) > 1 else next(iter(counts), 1)


def _fits(sizes: Sequence[_Size], given: Sequence[_Size]) -> bool:
    pairs = zip(sizes, given, strict=False)
    return len(sizes) == len(given) and all(isinstance(size, str) or size == other for size, other in pairs)
