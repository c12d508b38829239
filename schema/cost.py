"""What steps need and cost: the needs of a plan, what a machine has, what was observed, and what a step works on."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import field

from titrant.schema.facts import DataFacts, HardwareIdentity, ModelFacts
from titrant.schema.plan import ModelCost
from titrant.schema.values.frozen import dataclass

# What a worker holds that is its own before its first step: 147 MiB with torch 2.13 for the CPU, onnxruntime not yet
# loaded; other builds of torch take more. Counted low, so that it refuses nothing that could run.
WORKER_BYTES = 128 << 20


@dataclass(frozen=True)
class Unmet:
    """Something that an operator needs and a machine, a model or a recipe lacks, and what would make it possible.

    `remedy` is "" where nothing would. What is `unasked` is of no interest to a recipe that does not ask for it:
    another device, format, kind or width. `at` is the key of the recipe that it comes from, where that is another one
    than what asks for the operator.
    """

    cause: str
    remedy: str = ""
    unasked: bool = False
    at: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.cause}: {self.remedy}" if self.remedy else self.cause


@dataclass(frozen=True)
class Need:
    """What one step cannot do without, in bytes counted from below.

    `memory_bytes` holds the worker; `device_bytes` lie on `device` (cuda:0), an accelerator with memory of its own.
    Both hold the largest batch that a recipe asks the step to answer at once: `batch` cases of `case_bytes` each.
    """

    memory_bytes: int
    output_bytes: int = 0
    device: str = "cpu"
    device_bytes: int = 0
    batch: int = 0
    case_bytes: int = 0

    def largest_batch(self, demand: int, supply: int) -> int:
        """Return the largest batch with which a demand that holds this one fits; 0 where none does."""
        if not self.batch or not self.case_bytes:
            return 0
        beside = demand - self.batch * self.case_bytes
        return max(0, min(self.batch, (supply - beside) // self.case_bytes))


@dataclass(frozen=True)
class Capacity:
    """What there is to take, None or left out where it is not known.

    `free` tells what is free at this moment from what a machine has at all; disk is always what is free.
    """

    memory_bytes: int | None = None
    disk_bytes: int | None = None
    devices: Mapping[str, int] = field(default_factory=dict)  # cuda:0 → bytes
    free: bool = False


@dataclass(frozen=True)
class Observation:
    """What one step cost beside what its operator's formula had said; `shape` is that of its prediction.

    `loads` are the libraries that were loaded for it, in seconds; `models` and `formula_models` the median seconds of
    the smallest batch of each model that it timed, and what the formula had said.
    """

    operator: str
    shape: str
    seconds: float
    peak_bytes: int
    output_bytes: int
    formula_seconds: float | None = None
    formula_peak_bytes: int | None = None
    loads: Mapping[str, float] = field(default_factory=dict)
    models: Mapping[str, float] = field(default_factory=dict)
    formula_models: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"  # cpu, cuda, mps: what is wrong with a formula for one says nothing of another


def machine_key(identity: HardwareIdentity) -> str:
    """Digest what makes two machines equally fast, as far as one can tell: what was learned on one holds for it."""
    from titrant.schema.values.canonical import plain, sha256

    names = ("system", "machine", "cpu", "instructions", "cores", "memory_bytes")
    parts = {name: getattr(identity, name) for name in names}
    return sha256(plain({**parts, "gpus": [[gpu.kind, gpu.name] for gpu in identity.gpus]}))[:16]


def smallest_batch(cost: ModelCost) -> float:
    """Return the seconds of the smallest batch."""
    return cost.seconds[min(cost.seconds, key=int)]


# What `Speedup.layers` can name; recurrent is an LSTM, gru a GRU or a plain recurrent layer, for which kernels differ.
LAYER_CLASSES = ("convolution", "depthwise", "product", "embedding", "recurrent", "gru")


@dataclass(frozen=True)
class Speedup:
    """How many times faster than in fp32, in the same engine, layers compute; below 1 they become slower.

    `layers` are some of LAYER_CLASSES. `by_rows` maps rows of a layer's product (batch x tokens, of a convolution
    batch x places, of a recurrent layer the batch) to the factor: between two it follows the logarithm of the rows,
    beyond the last it stays. `on` are instruction sets of which the processor needs one; none: it holds anywhere.
    """

    layers: tuple[str, ...]
    by_rows: Mapping[int, float]
    on: tuple[str, ...] = ()

    def holds(self, layer_class: str, instructions: Collection[str]) -> bool:
        """Whether it tells of a class of layers on a processor."""
        return layer_class in self.layers and (not self.on or any(name in instructions for name in self.on))

    def factor(self, rows: float) -> float:
        """Return the factor at a number of rows."""
        points = sorted(self.by_rows.items())
        low, at_low = max((point for point in points if point[0] <= rows), default=points[0])
        high, at_high = min((point for point in points if point[0] > rows), default=points[-1])
        if rows <= low or low == high:
            return at_low
        return at_low + math.log(rows / low) / math.log(high / low) * (at_high - at_low)


@dataclass(frozen=True)
class Arithmetic:
    """How a reduced model computes, as far as its cost goes; by itself: as in fp32.

    `speedups` say how layers fare by class, rows and instruction set: the first that holds for a layer counts, and a
    layer for which none does stays as it is, or goes by `products` and `others`, the shares of the bench's int8
    products that matrix products and other layers reach, 0 for those that stay. A method that gives `speedups` leaves
    those two out. `around` counts the passes over its fp32 output that quantizing and dequantizing costs a layer with a
    speedup, `layer_seconds` what each such layer takes besides, `weights` the share of the bytes of its fp32 weights
    that are read. `half` says that layers compute in 16 bits where an accelerator can, `held` what share of the
    activations of fp32 is held.

    Eight bits that pay in products and ruin convolutions, for example:

        Arithmetic(
            speedups=(
                Speedup(("product",), {1: 3.1, 32: 4.7, 256: 4.5}, on=("amx_int8",)),
                Speedup(("product",), {1: 2.2, 32: 1.9}),
                Speedup(("convolution", "depthwise"), {1: 0.1}),
            ),
            weights=0.25,
        )
    """

    products: float = 0.0
    others: float = 0.0
    half: bool = False
    held: float = 1.0
    speedups: tuple[Speedup, ...] = ()
    around: float = 0.0
    layer_seconds: float = 0.0
    weights: float = 1.0
    work: float = 1.0

    def speedup(self, layer_class: str, rows: float, instructions: Collection[str]) -> float | None:
        """Return how many times faster than in fp32 a layer is; None where nothing is said of its class."""
        for speedup in self.speedups:
            if speedup.holds(layer_class, instructions):
                return speedup.factor(max(rows, 1.0))
        return None

    def then(self, later: "Arithmetic") -> "Arithmetic":
        """Return how a model computes that was reduced once more."""
        return Arithmetic(
            later.products or self.products,
            later.others or self.others,
            later.half or self.half,
            min(self.held, later.held),
            (*later.speedups, *self.speedups),
            max(self.around, later.around),
            max(self.layer_seconds, later.layer_seconds),
            min(self.weights, later.weights),
            self.work * later.work,
        )


FP32 = Arithmetic()


def nothing_against(model: ModelFacts) -> str:
    """Answer that nothing speaks against it."""
    return ""


@dataclass(frozen=True)
class Variant:
    """Options of a method that `auto` offers as a candidate of their own, called `method.suffix`.

    `against` says why they gain nothing for a model, "" where they may. `arithmetic` is what they do to the cost of a
    forward pass, None where that is the same. `smaller` says that they make the file smaller: where size comes first in
    the objective nothing speaks against them.
    """

    suffix: str
    options: Mapping[str, object]
    against: Callable[[ModelFacts], str] = nothing_against
    arithmetic: Arithmetic | None = None
    smaller: bool = False


@dataclass(frozen=True)
class ModelUse:
    """A model that a step reads: by which methods the original was reduced, its kind, its size, how it computes.

    `method` joins the methods with +, "none" where there is none. `arithmetic` is None where a method does not say.
    `facts` are those of what a method made of the model, None where they are the original's.
    """

    method: str = "none"
    kind: str = ""
    bytes: int | None = None
    arithmetic: Arithmetic | None = FP32
    facts: ModelFacts | None = None
    made_by: str = ""  # digest of the reductions that made the network smaller, with their parameters


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
