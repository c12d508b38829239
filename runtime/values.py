"""The values that flow between operators, one class a kind."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.schema.frozen import dataclass

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Table:
    """One source as loaded: columns or arrays of equal length, and the names of label values where it has them."""

    columns: Mapping[str, np.ndarray]
    label_names: Mapping[str, str] = field(default_factory=dict)  # label value as text → name
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True)
class Tables:
    """Every source by its name; a recipe with one `data.source` has it under "source"."""

    sources: Mapping[str, Table]


@dataclass(frozen=True)
class Split:
    """Which rows have which role: role → source → sorted row indices (int64)."""

    roles: Mapping[str, Mapping[str, np.ndarray]]
    units: Mapping[str, np.ndarray]  # source → unit id of every row (int64): what `split.by` keeps together
    notes: tuple[str, ...] = ()
    dropped: int = 0


@dataclass(frozen=True)
class Rows:
    """One role, ready for the model.

    `inputs`: name → (rows, …) float32 or int64. `labels`: (rows,) int64 index into `classes`, or None. `units`:
    (rows,) int64. `ids`: (rows,) uint64, of the row's content. `subgroups`: name → (rows,) int64 index into
    `subgroup_values[name]`, -1 for a row that belongs to none.
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

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Fitted:
    """One fitted transform: its name, the columns it works on, its parameters and its fitted arrays."""

    name: str
    columns: tuple[str, ...]
    params: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Transforms:
    """The fitted transforms in order, and how raw columns become the model's inputs.

    `inputs` maps a model input to the raw columns that are stacked into it (several scalar columns become
    (rows, columns) float32) and the dtype it ends in.
    """

    steps: tuple[Fitted, ...]
    inputs: Mapping[str, tuple[str, ...]]
    dtypes: Mapping[str, str]
    classes: tuple[str, ...] = ()
    positive: int | None = None


@dataclass(frozen=True)
class Rewrite:
    """A structural change that an operator made, replayed when the artifact is loaded."""

    operator: str
    version: int
    record: Mapping[str, Any]


@dataclass
class TorchModel:
    """A live module and how to build it again; operators return a new one and leave what they do not consume as is."""

    module: "torch.nn.Module"
    factory: str  # module:Name
    args: Mapping[str, Any]
    source_digest: str
    inputs: tuple[tuple[str, tuple[int | str, ...], str], ...]  # name, shape with "batch", dtype
    outputs: tuple[str, ...]
    rewrites: tuple[Rewrite, ...] = ()


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file without external data."""

    path: Path


@dataclass(frozen=True)
class TorchScriptModel:
    """A TorchScript file; inputs and outputs as in TorchModel, kept in the file's `titrant.json` extra file."""

    path: Path


@dataclass(frozen=True)
class Outputs:
    """What a model answered for one role: output name → (rows, …) float32."""

    role: str
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ReportFiles:
    """A folder that holds report.html, report.md and report.json."""

    folder: Path
