"""What a step has to work on, as far as the facts tell before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from titrant.schema.facts import DataFacts


@dataclass(frozen=True)
class ModelUse:
    """A model that a step reads: by which method the original was reduced ("none": by none), its kind, its size."""

    method: str = "none"
    kind: str = "torch"  # torch, onnx, torchscript
    bytes: int | None = None


@dataclass(frozen=True)
class Work:
    """What is known of a step's inputs and of the plan around it.

    `rows` counts the rows at every port that holds some, `bytes` is the predicted size of what a port reads, `models`
    are the models there; of a port that takes many each is under its own name. `steps` and `candidates`
    count those of the whole plan, `values_bytes` is what all steps before write down as values.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, ModelUse] = field(default_factory=dict)
    data: DataFacts | None = None
    threads: int = 1
    steps: int = 0
    values_bytes: int = 0
    candidates: int = 1


NOTHING_KNOWN = Work()
