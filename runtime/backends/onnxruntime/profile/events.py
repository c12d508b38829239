"""Read the events that onnxruntime's profiler writes: batches, and the nodes that ran in each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_KERNEL = "_kernel_time"
RUN = "model_run"
_MICROSECOND = 1e-6
_FORMATS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64", "uint8": "int8", "int8": "int8"}


@dataclass
class ProfiledNode:
    """One run of a node: when it began and what it took, in seconds; `own` is without the nodes inside it."""

    name: str
    operator: str
    begin: float
    seconds: float
    own: float
    read_bytes: int
    answer_bytes: int
    answer: str


@dataclass
class ProfiledBatch:
    """The nodes of a batch, and the seconds from its beginning to its end."""

    begin: float
    seconds: float = 0.0
    nodes: list[ProfiledNode] = field(default_factory=list)


def batches(events: Sequence[Mapping[str, Any]], count: int) -> Iterator[ProfiledBatch]:
    """Yield the batches of a profile: each is one run of the session or, of a file of a fixed size, several."""
    runs = [event for event in events if event["name"] == RUN]
    pieces = max(len(runs) // count, 1)
    nodes = [event for event in events if event["cat"] == "Node" and str(event["name"]).endswith(_KERNEL)]
    place = 0
    for first in range(0, len(runs) - pieces + 1, pieces):
        last = runs[first + pieces - 1]
        begin, end = int(runs[first]["ts"]), int(last["ts"]) + int(last["dur"])
        batch = ProfiledBatch(begin * _MICROSECOND, (end - begin) * _MICROSECOND)
        while place < len(nodes) and int(nodes[place]["ts"]) < end:
            batch.nodes.append(_node(nodes[place]))
            place += 1
        batch.nodes.sort(key=lambda node: (node.begin, -node.seconds))
        _without_inner(batch.nodes)
        yield batch


def _node(event: Mapping[str, Any]) -> ProfiledNode:
    said, seconds = event["args"], int(event["dur"]) * _MICROSECOND
    formats = [kind for answer in said.get("output_type_shape") or () for kind in answer]
    return ProfiledNode(
        str(event["name"]).removesuffix(_KERNEL),
        str(said.get("op_name", "")),
        int(event["ts"]) * _MICROSECOND,
        seconds,
        seconds,
        int(said.get("activation_size") or 0),
        int(said.get("output_size") or 0),
        _FORMATS.get(formats[0], "") if formats else "",
    )


def _without_inner(nodes: Sequence[ProfiledNode]) -> None:
    """Take from a branch or loop what the nodes inside it took."""
    around: list[ProfiledNode] = []
    for node in nodes:
        while around and node.begin >= around[-1].begin + around[-1].seconds:
            around.pop()
        if around and node.begin + node.seconds <= around[-1].begin + around[-1].seconds:
            around[-1].own -= node.seconds
        around.append(node)
