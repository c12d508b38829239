"""Facts about machine, model and data, known before anything runs, and how many bytes the data take, kept whole."""

import math
from collections.abc import Mapping
from dataclasses import field

from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Gpu:
    """One accelerator; None where the driver does not say."""

    index: int
    name: str
    kind: str  # cuda, mps
    memory_bytes: int | None = None
    capability: str | None = None
    driver: str | None = None
    mig: bool | None = None  # a slice of a GPU that is divided


@dataclass(frozen=True)
class HardwareIdentity:
    """Facts that decide what is planned and what a result is worth elsewhere; they enter the plan digest."""

    system: str  # linux, darwin, windows
    machine: str  # x86_64, aarch64, arm64
    cpu: str
    # Sorted: avx2, avx512f, avx512_vnni, avx_vnni, amx_int8, neon, i8mm …; then what is set of the variables that make
    # libraries compute as on another processor, as ATEN_CPU_CAPABILITY=default.
    instructions: tuple[str, ...]
    cores: int  # usable: affinity and cgroup quota
    memory_bytes: int | None  # total under the cgroup limit
    gpus: tuple[Gpu, ...]
    python: str
    packages: Mapping[str, str]  # installed library → version, for the libraries that can change a result


@dataclass(frozen=True)
class GpuState:
    """What moves on one accelerator; None where the driver does not say."""

    index: int
    memory_free_bytes: int | None = None
    utilization: float | None = None  # 0..1, of the last sampling period


@dataclass(frozen=True)
class HardwareVolatile:
    """Facts that change from moment to moment; checked as feasibility when a plan runs, never part of its digest."""

    memory_available_bytes: int | None = None
    disk_free_bytes: int | None = None
    gpus: tuple[GpuState, ...] = ()


@dataclass(frozen=True)
class GpuSpeed:
    """What one accelerator does in a second; None where unknown.

    `measured` says that `titrant hardware --bench` measured it here; else they are the vendor's peaks, out of reach.
    """

    fp32_flops_per_second: float | None = None
    half_flops_per_second: float | None = None  # fp16 or bf16, without sparsity
    memory_bytes_per_second: float | None = None  # of its own memory
    transfer_bytes_per_second: float | None = None  # from an array of the machine's to the device
    launch_seconds: float | None = None  # handing over one small operation, in a row of many
    call_seconds: float | None = None  # a few numbers there and back again
    measured: bool = False


@dataclass(frozen=True)
class Bench:
    """What `titrant hardware --bench` measured on this machine, or a profile states; one thread; None where unknown.

    Predictions use it and nothing else does: it is no part of a plan's identity. `gpus` holds what is known of
    accelerators by their name as a device (cuda:0), measured here or published.
    """

    fp32_flops_per_second: float | None = None
    int8_flops_per_second: float | None = None
    memory_bytes_per_second: float | None = None  # reading what no cache holds
    disk_write_bytes_per_second: float | None = None  # with fsync, where the store lives
    disk_read_bytes_per_second: float | None = None
    import_seconds: float | None = None  # starting a worker, torch included
    gpus: Mapping[str, GpuSpeed] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether the machine itself was measured: published figures of its accelerators are none of it."""
        return self.fp32_flops_per_second is not None


@dataclass(frozen=True)
class Hardware:
    """A machine to plan for; `source` is "detected" or the name of a profile."""

    identity: HardwareIdentity
    volatile: HardwareVolatile = HardwareVolatile()
    source: str = "detected"
    bench: Bench | None = None


@dataclass(frozen=True)
class TensorSpec:
    """A model's input or output; the first dimension is the batch, "batch" where it is free; () has none."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str  # float32, int64 …


@dataclass(frozen=True)
class Layer:
    """One leaf module or graph node; FLOPs count one case, two per multiply-add, of a module those with its weights."""

    name: str
    type: str
    parameters: int
    weight_bytes: int
    weight_shape: tuple[int, ...] = ()
    flops: int | None = None
    trainable: int = 0  # of the parameters
    dtype: str = ""  # of the weights, "" without any
    groups: int = 1  # of a convolution
    weight_operand: int = 0  # the place of the weights among a graph node's operands
    custom: bool = False  # defined outside torch or ONNX's operator sets, or never called while others read its weights
    shared_with: str = ""  # a layer of another type that has the same weights
    unread: bool = False  # its weights are read by no operation of a forward pass, so that an exported file lacks them
    excitation: bool = False  # it computes, with another one, the gates of a squeeze and excitation

    @property
    def has_weights(self) -> bool:
        """Whether it holds weights, or multiplies by those that an earlier layer counts as its own (tied)."""
        return self.weight_bytes > 0 or len(self.weight_shape) > 1


@dataclass(frozen=True)
class LoadedWeights:
    """How a weights file fits its model: where in it the tensors stand, and what was adjusted or left out.

    `prefix` was taken off the file's names, `added` is what only the model's have in front, `wrappers` are parts of
    names that were dropped. `casts` are (dtype in the file, in the model, tensors), `left_out` (key or name, tensors)
    of what is not the model's, `others` keys without tensors. `counters` start at 0, `tied` are held once.
    """

    file: str
    tensors: int
    elements: int
    key: str = ""  # with dots
    prefix: str = ""
    added: str = ""
    wrappers: tuple[str, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    others: tuple[str, ...] = ()
    casts: tuple[tuple[str, str, int], ...] = ()
    counters: int = 0
    tied: int = 0
    shards: int = 0  # 0: one whole file
    values_read: bool = True  # False: names and shapes were compared alone, so far


@dataclass(frozen=True)
class OperationWork:
    """How many operations of one kind run that multiply by no weights, and the bytes and FLOPs of one case."""

    count: int
    read_bytes: int = 0
    written_bytes: int = 0
    flops: int = 0


_MODULES = ("factory", "weights")  # the sources of a model that is made of modules


@dataclass(frozen=True)
class RecurrentState:
    """State that a model hands from step to step within a case: (output, input) pairs, zero at a case's start.

    `zeros` are the inputs, in which text is the batch; `answer` is "last" or "steps": what a case answers with.
    """

    feeds: tuple[tuple[str, str], ...]
    answer: str
    zeros: tuple[TensorSpec, ...]
    steps: int  # of a case
    outputs: tuple[str, ...]  # all of the model's, in its order


@dataclass(frozen=True)
class ModelFacts:
    """A model as inspected, without running it on data."""

    source: str  # factory, onnx, torchscript, exported, weights
    digest: str  # of what defines it: factory source digests, arguments, weights file
    parameters: int
    trainable: int
    weight_bytes: int
    layers: tuple[Layer, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    flops: int | None = None  # one case
    activation_bytes: int | None = None  # one case
    notes: tuple[str, ...] = ()  # what was adjusted on loading, such as a removed `module.` prefix
    reads_values: bool = False  # its code decides on tensor values, so that a trace of it is one of several paths
    weights: LoadedWeights | None = None  # of a factory that is given a file
    state: RecurrentState | None = None  # `inputs`, FLOPs and bytes are then those of one step, without its state
    operations: int = 0  # on tensors in a forward pass of modules, about a node of an exported file each; 0: not known
    graph_bytes: int = 0  # of an ONNX file beside its weights; 0: not known
    apart_bytes: int = 0  # of its weights in files beside it that stay there, since they are large
    exported_nodes: int = 0  # of the simplified graph that OpenVINO gets, constants included, estimated; 0: not known
    file_nodes: int = 0  # of the ONNX file that modules are exported to, estimated; 0: not known
    selections: int = 0  # in that forward pass, of one place of a dimension
    activation_ranges: int = 0  # of activations, in that graph as NNCF quantizes it
    mask_bytes: int = 0  # of masks and other arrays that it makes of neither inputs nor weights
    work: Mapping[str, OperationWork] = field(default_factory=dict)  # by kind, what multiplies by no weights
    repeated_bytes: int = 0  # of a graph's weights: constants that repeat another's numbers, added or multiplied
    blocks: tuple[str, ...] = ()  # modules that an identity can stand for, as they are called

    @property
    def is_graph(self) -> bool:
        """Whether it is an exported file, whose layers are the nodes of its graph, rather than somebody's modules."""
        return self.source not in _MODULES


@dataclass(frozen=True)
class RoleFacts:
    """The rows of one role (train, tuning, calibration, evaluation).

    `classes` counts rows by class; `subgroups` by subgroup and value; `positives` likewise, of the positive class only.
    `units` counts what `split.by` keeps together, or different inputs, as do the five that end in `_units`, empty where
    every row is a unit: by class, by class those with rows of others, by value, of the positive class and not.
    """

    rows: int
    units: int
    classes: Mapping[str, int] = field(default_factory=dict)
    subgroups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    positives: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    class_units: Mapping[str, int] = field(default_factory=dict)
    other_units: Mapping[str, int] = field(default_factory=dict)
    subgroup_units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    positive_units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    negative_units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A column or array of the source, as loaded."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()  # of one row
    missing: int = 0
    distinct: int | None = None


@dataclass(frozen=True)
class InputPart:
    """One input of the model, and the column or array that it is, or the columns that are stacked into it, in order.

    One that is no part of the data has the recipe's `value`, and no columns.
    """

    name: str
    part: str | tuple[str, ...]
    value: bool | int | float | None = None


@dataclass(frozen=True)
class LabelLeak:
    """A column that alone tells the classes apart: by which measure, how well (0..1), and on how many rows."""

    column: str
    measure: str  # AUROC, balanced accuracy
    score: float
    rows: int


@dataclass(frozen=True)
class StandIn:
    """A number that may stand for a missing one: it lies far from all others of its column."""

    column: str
    number: int
    rows: int


@dataclass(frozen=True)
class TransformFacts:
    """One transform of the data, and where its figures come from.

    `origin` is "fitted" on the `rows` rows of a `role`, "given" in the recipe, "kept" where gaps stay, "loaded" from a
    file, or "" for one that has nothing to learn. `values` are those of each column that one_hot makes columns of;
    `unlisted` counts the rows, of any role, whose value is another. `vocabulary` counts the tokens of `tokenize`.
    """

    name: str
    origin: str
    role: str = ""
    rows: int = 0
    columns: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unlisted: Mapping[str, int] = field(default_factory=dict)
    vocabulary: int = 0


@dataclass(frozen=True)
class DataFacts:
    """The data as inspected: what there is, how the split falls, and the seconds that each part of looking took.

    `seconds` are of "load", "split" and "transform", without loading libraries; predictions use them and nothing else.
    `wiring` says of each input of the model what it is made of; () where the model has one input that takes all, under
    the data's own name. `class_values` are the classes where the model has more of them than the label shows: the
    places of its outputs, which the label's whole numbers are; () elsewhere. `leaks` were found on train and tuning
    rows, none on those that judge; `indicators` are the columns behind which an input says where a gap was filled.
    """

    digest: str
    rows: int
    columns: tuple[Column, ...]
    classes: tuple[str, ...]  # in the order of the label index; () without labels
    positive: str | None
    inputs: tuple[TensorSpec, ...]  # after transforms
    roles: Mapping[str, RoleFacts]
    notes: tuple[str, ...] = ()  # identical rows kept together, copies dropped …
    seconds: Mapping[str, float] = field(default_factory=dict)
    wiring: tuple[InputPart, ...] = ()
    class_values: tuple[str, ...] = ()
    leaks: tuple[LabelLeak, ...] = ()
    stand_ins: tuple[StandIn, ...] = ()
    indicators: tuple[str, ...] = ()
    transforms: tuple[TransformFacts, ...] = ()


# A safetensors header spends this on each array, and the description beside it on each name.
_ARRAY_BYTES, _ABOUT_BYTES = 90, 200
_ITEM_BYTES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "uint32": 4,
    "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip
_TEXT_BYTES = 10  # as JSON: its length is not among the facts


def case_bytes(data: DataFacts) -> int:
    """Return the bytes of one case as the model takes it."""
    return sum(spec_bytes(spec) for spec in data.inputs)


def spec_bytes(spec: TensorSpec, unknown: int = 8) -> int:
    """Return the bytes of one case of a model's input or output; `unknown` stands for a dtype that is not known."""
    return _items(spec.shape[1:]) * item_bytes(spec.dtype, unknown)


def rows_bytes(data: DataFacts, role: str) -> int:
    """Return what one role's model-ready rows take: inputs, ids, units, labels and subgroups."""
    facts = data.roles.get(role)
    rows = facts.rows if facts is not None else 0
    subgroups = len(facts.subgroups) if facts is not None else _subgroups(data)
    beside = 2 + bool(data.classes) + subgroups
    arrays = len(data.inputs) + beside
    return rows * (case_bytes(data) + 8 * beside) + _ARRAY_BYTES * arrays + _ABOUT_BYTES


def tables_bytes(data: DataFacts) -> int:
    """Return what the data as loaded take; text is an estimate."""
    columns = sum(column_bytes(column) for column in data.columns)
    return data.rows * columns + (_ARRAY_BYTES + 20) * len(data.columns) + _ABOUT_BYTES


def has_text(data: DataFacts) -> bool:
    """Say whether a column is text, whose size is not among the facts."""
    return any(column.dtype == "text" for column in data.columns)


def split_bytes(data: DataFacts) -> int:
    """Return what the split takes: the place of every row that has a role, and every row's unit."""
    return 8 * (sum(facts.rows for facts in data.roles.values()) + data.rows) + 4 * _ARRAY_BYTES + _ABOUT_BYTES


def column_bytes(column: Column) -> int:
    """Return the bytes of one row's value in a column."""
    if column.dtype == "text":
        return _TEXT_BYTES
    return _items(column.shape) * item_bytes(column.dtype)


def item_bytes(dtype: str, unknown: int = 8) -> int:
    """Return the bytes of one number; `unknown` where the dtype is not known."""
    return _ITEM_BYTES.get(dtype, unknown)


def _items(shape: tuple[int | str, ...]) -> int:
    return math.prod(size for size in shape if isinstance(size, int))


def _subgroups(data: DataFacts) -> int:
    return max((len(facts.subgroups) for facts in data.roles.values()), default=0)
