"""One layer of a model: what it takes in an engine, what of it is counted, and how that is written."""

import re
from collections.abc import Sequence

from titrant.schema.values.frozen import dataclass

OTHER = "(no layer)"
_MOST_NAME = 30


@dataclass(frozen=True)
class LayerFigures:
    """One layer of the original, as an engine runs it in one batch; `name` is "" for all that is no layer.

    `seconds` are by the wall clock; `cpu_seconds` are CPU time where one thread of the processor computes and the engine
    tells it, else None; `share` is that of all rows, 0..1. `parameter_bytes` are those of the weights as they are kept, saved buffers included;
    `activation_bytes` those of what it answers, `moved_bytes` all that it must at least read and write. FLOPs are two
    per multiply-add, None where an operation has no known count. `precision` is what is executed. `joined` are layers
    of the original that run inside it.
    """

    name: str
    kind: str
    block: str  # the part of the model that it stands in, "" for none
    seconds: float
    cpu_seconds: float | None
    share: float
    calls: int
    parameters: int
    parameter_bytes: int
    activation_bytes: int | None
    moved_bytes: int | None
    flops: int | None
    precision: str
    engine_op: str
    joined: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name, and how many layers run inside it."""
        more = f" +{len(self.joined)}" if self.joined else ""
        return (self.name or OTHER) + more

    @property
    def time(self) -> float:
        """The seconds that stand for it: CPU time where that is known, in which nobody else's work is."""
        return self.seconds if self.cpu_seconds is None else self.cpu_seconds

    @property
    def intensity(self) -> float | None:
        """FLOPs for each byte that it must move; None where either is not known, or nothing is multiplied."""
        return self.flops / self.moved_bytes if self.flops and self.moved_bytes else None


def shortened_name(label: str, most: int = _MOST_NAME) -> str:
    """Shorten a name in its middle: its beginning says where it stands, its end what it is."""
    if len(label) <= most:
        return label
    kept = most - 1
    return f"{label[: kept - kept * 2 // 3]}…{label[-(kept * 2 // 3) :]}"


def short_number(number: float | None) -> str:
    """Write a count with a unit: 12.3 M; "–" for None, and for nothing."""
    return "–" if not number else _short(number).strip()


def _short(number: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size * 0.9995:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g} "


_NUMBERED = re.compile(r"\d+")


def block_of(name: str) -> str:
    """Return the block that a layer stands in: up to the first number in its name, else its first part; "" for none.

    Such as `layer1.0` of `layer1.0.conv1`, `encoder.layers.3` of `encoder.layers.3.attn.out`.
    """
    parts = _parts(name)
    for place, part in enumerate(parts[:-1]):
        if _NUMBERED.fullmatch(part):
            return ".".join(parts[: place + 1])
    return parts[0] if len(parts) > 1 else ""


def _parts(name: str) -> Sequence[str]:
    """Split a module's name, or that of a node, whose path repeats what holds a number: /layer1/layer1.0/conv1/Conv."""
    if not name.startswith("/"):
        return name.split(".")
    way = name[1:].split("/")
    kept = [part for part, after in zip(way, (*way[1:], ""), strict=True) if not after.startswith(f"{part}.")]
    return ".".join(kept[:-1]).split(".") + kept[-1:]
