"""Find where two values differ, and say how far apart two figures of the same thing may be.

The tolerances of reruns and of locks stand here and nowhere else.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from titrant.schema.contract.earlier import REGRESSION
from titrant.schema.language.spans import KeyPath, dotted
from titrant.schema.values.frozen import dataclass

# In the order in which one thing causes the next: where two runs part first is what the rest follows from.
# What stands `aside` can have caused nothing: a package that no step uses, the commit of files that are compared.
CAUSAL = ("recipe", "inputs", "environment", "decisions", "keys", "outputs", "metrics", "outcome", "aside")


# What a difference follows from: the step's own operator, version, parameters or seed; what it reads; its key; a file
# of the user's that stands in no key; the environment. "" where nothing is known.
CauseKind = Literal["", "own", "read", "key", "file", "environment"]


@dataclass(frozen=True)
class Difference:
    """One place where two JSON values differ; None on the side that does not have it.

    `layer` is what kind of thing it is: one of CAUSAL for runs; hardware, candidates, steps, contract, predictions and
    warnings besides for plans. `old_where` and `new_where` are `file:line:column`, "" where the value stands in no
    text. `cause` names what it follows from, "" where nothing is known, and `cause_kind` which kind of thing that is.
    `measured` marks what follows from measured values alone, which differ from run to run, `minor` a figure of a
    candidate that neither run judged. `unit` is the numbers'
    ("s", "B", "cases/s"; "" for what has none).
    """

    layer: str
    path: str
    old: Any
    new: Any
    old_where: str = ""
    new_where: str = ""
    cause: str = ""
    cause_kind: CauseKind = ""
    measured: bool = False
    unit: str = ""
    minor: bool = False

    @property
    def change(self) -> str:
        """Say whether it was added, removed or changed."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


def differences(old: Any, new: Any, layer: str, prefix: str = "") -> Iterator[Difference]:
    """Yield every place where two JSON values differ, as `places` finds them; `prefix` names the values themselves."""
    for path, left, right in places(old, new):
        text = dotted(path)
        joined = f"{prefix}.{text}" if prefix and text and not text.startswith("[") else prefix + text
        yield Difference(layer, joined, left, right)


def places(old: Any, new: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Yield (path, old, new) for every place where two JSON values differ, in the order of the older one.

    Mappings are compared key by key. Lists of one length that hold mappings are compared entry by entry, all others as
    one value: an entry put in front would otherwise change every place after it.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from places(old.get(key), new.get(key), (*path, key))
    elif _entries(old) and _entries(new) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from places(left, right, (*path, index))
    elif not same(old, new):
        yield path, old, new


def first_place(old: Any, new: Any) -> tuple[KeyPath, Any, Any] | None:
    """Return the first place where two JSON values differ, as `places` finds it; None where they do not."""
    return next(places(old, new), None)


def first_difference(old: Any, new: Any, prefix: str = "") -> str:
    """Say the first place where two JSON values differ, with both values; "" where they do not."""
    difference = next(differences(old, new, "", prefix), None)
    if difference is None:
        return ""
    return f"{difference.path} was {short(repr(difference.old))} and is {short(repr(difference.new))}"


def short(text: str, most: int = 80) -> str:
    """Cut a value's text to at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def named_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], layer: str, prefix: str = ""
) -> Iterator[Difference]:
    """Yield what differs between things with names: one line for one that came or went, each place of one that stays.

    Names are not walked into: a step's id may hold dots.
    """
    for name in [*old, *(name for name in new if name not in old)]:
        path = f"{prefix}{name}"
        if name in old and name in new:
            yield from differences(old[name], new[name], layer, path)
        else:
            yield Difference(layer, path, old.get(name), new.get(name))


def same(old: Any, new: Any) -> bool:
    """Whether two JSON values are the same: 1 and 1.0 are, a key with null and none too; true and 1 are not."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(same(old.get(key), new.get(key)) for key in {*old, *new})
    if _list(old) and _list(new):
        return len(old) == len(new) and all(map(same, old, new))
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


def _list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _entries(value: Any) -> bool:
    return _list(value) and len(value) > 0 and all(isinstance(item, Mapping) for item in value)


@dataclass(frozen=True)
class Tolerance:
    """Two figures agree when they differ by at most `absolute`, or by at most the share `relative` of the larger."""

    absolute: float
    relative: float

    def holds(self, old: float | None, new: float | None) -> bool:
        """Tell whether two figures agree; one that is missing agrees with nothing but another one that is missing."""
        if old is None or new is None:
            return old is new
        return abs(old - new) <= max(self.absolute, self.relative * max(abs(old), abs(new)))


# Quality: accuracies, losses, agreement; the absolute part is for losses near zero.
QUALITY = Tolerance(0.001, 0.01)
# Counted bytes.
SIZE = Tolerance(0.0, 0.01)
# Timings and peak memory: another process on a machine that does other work besides.
MEASURED = Tolerance(0.0, 0.5)
# How the figures begin that are read from timings.
TIMED = ("latency", "throughput", "peak_memory")
# A row beside an earlier release is called after the figure whose ratio it is.
_BESIDE = f"{REGRESSION}."


def is_timed(name: str) -> bool:
    """Whether a metric, or the gate named after it, is read from timings."""
    return name.removeprefix(_BESIDE).startswith(TIMED)


def tolerance_of(name: str) -> Tolerance:
    """Return the tolerance of a figure by its name: `latency_p50`, `gate latency.p95`, `size`, `quality` …"""
    own = name.rpartition(" ")[2].removeprefix(_BESIDE)
    if is_timed(own):
        return MEASURED
    return SIZE if own.startswith("size") else QUALITY
