"""The values that flow between operators, one class a kind, and the memory layout that their arrays get.

The shape alone decides the layout, so that equal numbers give equal sums.
"""

from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Table:
    """One source as loaded: columns or arrays of equal length, and the names of label values where it has them.

    `marks` are the texts of a column that were read as missing; they are told while data are loaded, and not kept.
    """

    columns: Mapping[str, np.ndarray]
    label_names: Mapping[str, str] = field(default_factory=dict)  # label value as text → name
    notes: tuple[str, ...] = ()
    deep_whites: tuple[int, ...] = ()  # of image files with more than 8 bits: the numbers that are white in them
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_names: np.ndarray | None = None  # (rows,) text, what people call each row by; no content of it

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True)
class Tables:
    """Every source by its name; a recipe with one `data.source` has it under "source"."""

    sources: Mapping[str, Table]


@dataclass(frozen=True)
class RowSplit:
    """Which rows have which role: role → source → sorted row indices (int64)."""

    roles: Mapping[str, Mapping[str, np.ndarray]]
    units: Mapping[str, np.ndarray]  # source → unit id of every row (int64): equal inputs, or one value of `split.by`
    notes: tuple[str, ...] = ()
    dropped: int = 0


@dataclass(frozen=True)
class Rows:
    """One role, ready for the model.

    `inputs`: name → (rows, …) float32 or int64; of rows that are raw columns also float64, uint8 and text (objects).
    `labels`: (rows,) int64 index into `classes`, or None. `targets`: (rows, …), labels that are no classes: numbers
    (float64), tokens or groups (int64), or None. `units`: (rows,) int64. `ids`: (rows,) uint64, of the row's content.
    `numbers`: (rows,) uint64, of its content without names, of rows that judge.
    `ordered`: the recipe states the order of the classes.
    `subgroups`: name → (rows,) int64 index into `subgroup_values[name]`, -1 for a row that belongs to none.
    """

    role: str
    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    units: np.ndarray
    ids: np.ndarray
    classes: tuple[str, ...] = ()
    positive: int | None = None
    subgroups: Mapping[str, np.ndarray] = field(default_factory=dict)
    subgroup_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    targets: np.ndarray | None = None
    ordered: bool = False
    numbers: np.ndarray | None = None

    @property
    def scored(self) -> int:
        """Which of two classes a single number a row is about: of a stated order the second, else the positive one."""
        return 1 if self.ordered or self.positive is None else self.positive

    def __len__(self) -> int:
        return len(self.ids)

    def some(self, places: np.ndarray) -> "Rows":
        """Return some of the rows, without their subgroups."""
        inputs = {name: array[places] for name, array in self.inputs.items()}
        labels, targets = (None if held is None else held[places] for held in (self.labels, self.targets))
        picked = {"units": self.units[places], "ids": self.ids[places], "labels": labels, "targets": targets}
        return replace(self, inputs=inputs, subgroups={}, subgroup_values={}, **picked)


# The name of a fitted transform that is a whole ONNX graph, which takes columns and gives the model's inputs.
GRAPH = "graph"


@dataclass(frozen=True)
class Fitted:
    """One fitted transform: its name, the columns it works on, its parameters and its fitted arrays.

    That called "graph" is alone: its `graph` are the bytes of an ONNX file, and its `outputs` say which of the graph's
    outputs each input of the model is.
    """

    name: str
    columns: tuple[str, ...]
    params: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ImageReading:
    """How the numbers of image files become pixels in 0..1, in training and when the released model answers.

    `background` lies under transparent pixels: white, black, gray or #rrggbb. `window` are the stored numbers (of DICOM
    after its rescaling) that become 0 and 1. `deep_whites` are the numbers that were white in the data's images of more
    than 8 bits, which says what an array of uint16 holds.
    """

    color: Literal["rgb", "gray"] = "rgb"
    background: str = "white"
    window: tuple[float, float] | None = None
    deep_whites: tuple[int, ...] = ()


@dataclass(frozen=True)
class Transforms:
    """The fitted transforms in order, and how raw columns become the model's inputs.

    `inputs` maps a model input to the raw columns that are stacked into it (several scalar columns become
    (rows, columns) float32) and the dtype it ends in. Those in `unstacked` are one column each that stays (rows,).
    `class_kind` says what a class is in the label: "text", "integer" or "boolean". `constants` are inputs that are one
    number in every row, (rows,), and no columns. `images` says how columns that are read from image files are read.
    `ordered`: the recipe states the order of the classes, of two of which a single number is about the second.
    """

    steps: tuple[Fitted, ...]
    inputs: Mapping[str, tuple[str, ...]]
    dtypes: Mapping[str, str]
    classes: tuple[str, ...] = ()
    positive: int | None = None
    unstacked: frozenset[str] = frozenset()
    class_kind: Literal["text", "integer", "boolean"] = "text"
    constants: Mapping[str, bool | int | float] = field(default_factory=dict)
    images: Mapping[str, ImageReading] = field(default_factory=dict)
    ordered: bool = False

    @property
    def by_graph(self) -> bool:
        """Whether one ONNX graph makes the model's inputs of the columns."""
        return any(step.name == GRAPH for step in self.steps)


@dataclass(frozen=True)
class Rewrite:
    """A structural change that an operator made, replayed when the artifact is loaded."""

    operator: str
    version: int
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Recurrence:
    """Recurrent state of a model: which output is fed to which input, and what a case answers with.

    `answer` is "last" (that of the last step) or "steps" (those of all); `inputs` are name, shape and dtype of one step
    of every other input.
    """

    feeds: Mapping[str, str]
    answer: str
    inputs: tuple[tuple[str, tuple[int | str, ...], str], ...]


@dataclass
class TorchModel:
    """A live module and how to build it again; operators return a new one and leave what they do not consume as is."""

    kind = "torch"
    module: "torch.nn.Module"
    factory: str  # module:Name
    args: Mapping[str, Any]
    source_digest: str
    inputs: tuple[tuple[str, tuple[int | str, ...], str], ...]  # name, shape with "batch", dtype
    outputs: tuple[str, ...]
    rewrites: tuple[Rewrite, ...] = ()
    recurrence: Recurrence | None = None  # `inputs` and `outputs` hold its state too


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file; weights that it does not hold stand in `model.onnx.data` beside it."""

    kind = "onnx"
    path: Path


@dataclass(frozen=True)
class TorchScriptModel:
    """A TorchScript file; inputs and outputs as in TorchModel, kept in the file's `titrant.json` extra file."""

    kind = "torchscript"
    path: Path


@dataclass(frozen=True)
class ExportedModel:
    """A torch.export file (.pt2); inputs and outputs as in TorchModel, kept in the file's `titrant.json` extra file."""

    kind = "exported"
    path: Path


@dataclass(frozen=True)
class CompiledModel:
    """A package of machine code that AOTInductor compiled (.pt2); what it takes and gives is in its `titrant.json`."""

    kind = "aoti"
    path: Path


@dataclass(frozen=True)
class Outputs:
    """What a model answered for one role: output name → (rows, …) float32."""

    role: str
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ReportFiles:
    """A folder that holds report.html, report.md and report.json, or those of them that were asked for."""

    folder: Path


def laid_out(array: np.ndarray) -> np.ndarray:
    """Return an array in C order with the strides that its shape alone gives, as reading it from a file would.

    Sums and kernels choose their order by strides, also by those of dimensions of size one, which NumPy lets be
    anything. Memory is shared where it already has that layout. Of an array of objects, each array in it is laid out.
    """
    if array.dtype == object:
        made = np.empty(array.size, dtype=object)
        for place, item in enumerate(array.ravel()):
            made[place] = laid_out(item) if isinstance(item, np.ndarray) else item
        return made.reshape(array.shape)
    return np.ascontiguousarray(array).reshape(-1).reshape(array.shape)


def with_layout(value: Any) -> Any:
    """Return a value with every array in it laid out: in dataclasses, mappings and tuples."""
    if isinstance(value, np.ndarray):
        return laid_out(value)
    if isinstance(value, Mapping):
        return {key: with_layout(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(with_layout(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{member.name: with_layout(getattr(value, member.name)) for member in fields(value)})
    return value
