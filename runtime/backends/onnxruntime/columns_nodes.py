"""Write fitted transforms as ONNX nodes: raw columns in by name, what each transform makes of them out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.values import Fitted
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

ML = "ai.onnx.ml"
# What names of nodes and tensors begin with, so that they meet none of the model's.
PREFIX = "transforms/"


@dataclass
class ColumnState:
    """A column on its way: the tensor that holds it, its sort, and what its gaps were filled with.

    A `number` stands in float64, (batch, 1), or (batch,) where it is `flat`, as it came; `text` is as it was given,
    (batch,), until it is encoded; an `array` has a dtype of its own and any shape.
    """

    tensor: str
    sort: str  # number, text, whole, array
    dtype: str
    shape: tuple[int | str, ...]  # of a row
    fill: str | None = None
    flat: bool = False


@dataclass
class Nodes:
    """The nodes and constants that are written so far."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    _count: int = 0

    def add(self, operator: str, inputs: Sequence[str], *, output: str = "", domain: str = "", **options: Any) -> str:
        """Add a node with one output; returns the output's name."""
        self._count += 1
        name = f"{PREFIX}{operator}_{self._count}"
        made = output or f"{name}_output"
        self.nodes.append(helper.make_node(operator, inputs, [made], name=name, domain=domain, **options))
        return made

    def constant(self, array: np.ndarray) -> str:
        """Add a constant; returns its name."""
        self._count += 1
        name = f"{PREFIX}constant_{self._count}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def cast(self, tensor: str, dtype: str, output: str = "") -> str:
        """Cast a tensor; what was cast to float32 and then wider is that again."""
        inner = self._narrow(tensor) if dtype == "float32" else None
        if inner is not None:
            return self.add("Identity", [inner], output=output) if output else inner
        return self.add("Cast", [tensor], output=output, to=onnx_type(dtype))

    def _narrow(self, tensor: str) -> str | None:
        """Return the tensor in float32 that this one was cast from, or that it is; None where it is neither."""
        maker = next((node for node in self.nodes if tensor in node.output), None)
        if maker is None or maker.op_type != "Cast":
            return None
        to = maker.attribute[0].i
        if to == onnx_type("float32"):
            return tensor
        return self._narrow(maker.input[0]) if to == onnx_type("float64") else None


def onnx_type(dtype: str) -> int:
    """Return ONNX's number of a NumPy dtype; "object" is text."""
    return TensorProto.STRING if dtype == "object" else int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def refused(message: str, advice: str = "write `transforms: beside`") -> StepError:
    """Refuse what cannot stand inside a file."""
    return StepError(Diagnostic("X243", message, help=advice))


def apply_nodes(steps: Sequence[Fitted], columns: dict[str, ColumnState], nodes: Nodes) -> None:
    """Write every transform, in order, as nodes on the columns that it works on, which are changed in place.

    Columns of single numbers are worked on together. Raises StepError X243 for what ONNX operators have no equal for.
    """
    for fitted in steps:
        numbers = [name for name in fitted.columns if name in columns and columns[name].sort == "number"]
        if fitted.name in _ON_NUMBERS and numbers:
            places = [fitted.columns.index(name) for name in numbers]
            _together(fitted, places, [columns[name] for name in numbers], nodes)
        for place, name in enumerate(fitted.columns):
            if name not in columns or (fitted.name in _ON_NUMBERS and name in numbers):
                continue
            if fitted.name not in _ON_ONE:
                raise refused(f"the transform {fitted.name} has no equal among ONNX operators")
            if columns[name].sort == "whole":
                raise refused(f"{fitted.name} works on {name}, which the model takes as whole numbers")
            _ON_ONE[fitted.name](fitted, place, name, columns[name], nodes)


def _together(fitted: Fitted, places: Sequence[int], columns: Sequence[ColumnState], nodes: Nodes) -> None:
    """Do one transform to several columns of single numbers, side by side in one tensor, and part them again."""
    block = numbers_beside(columns, nodes)
    made = _ON_NUMBERS[fitted.name](fitted, places, columns, block, nodes)
    for column, tensor in zip(columns, _parted(made, len(columns), nodes), strict=True):
        column.tensor, column.flat, column.dtype = tensor, False, "float64"


def numbers_beside(columns: Sequence[ColumnState], nodes: Nodes) -> str:
    """Put columns of numbers side by side, (batch, columns); those that all came flat take one turn together."""
    if len(columns) > 1 and all(column.flat for column in columns):
        end_to_end = nodes.add("Concat", [column.tensor for column in columns], axis=0)
        lines = nodes.add("Reshape", [end_to_end, nodes.constant(np.array([len(columns), -1], np.int64))])
        return nodes.add("Transpose", [lines], perm=[1, 0])
    return side_by_side([upright(column, nodes) for column in columns], nodes)


def upright(column: ColumnState, nodes: Nodes) -> str:
    """Return a column of numbers as (batch, 1)."""
    if not column.flat:
        return column.tensor
    return nodes.add("Unsqueeze", [column.tensor, nodes.constant(np.array([1], np.int64))])


def side_by_side(tensors: Sequence[str], nodes: Nodes) -> str:
    """Concatenate along the second axis; what was parted from one tensor, whole and in order, is that tensor."""
    if len(tensors) == 1:
        return tensors[0]
    for node in nodes.nodes:
        if node.op_type == "Split" and list(node.output) == list(tensors):
            return str(node.input[0])
    return nodes.add("Concat", tensors, axis=1)


def _parted(tensor: str, count: int, nodes: Nodes) -> list[str]:
    if count == 1:
        return [tensor]
    name = f"{tensor}_parts"
    parts = [f"{name}_{place}" for place in range(count)]
    sizes = nodes.constant(np.ones(count, np.int64))
    nodes.nodes.append(helper.make_node("Split", [tensor, sizes], parts, name=name, axis=1))
    return parts


def _numbers(fitted: Fitted, places: Iterable[int], key: str) -> np.ndarray:
    """Return one number a column, (columns,) float64."""
    return np.array([np.asarray(fitted.arrays[f"{place}{key}"]).reshape(-1)[0] for place in places], np.float64)


def _impute(fitted: Fitted, places: Sequence[int], columns: Sequence[ColumnState], block: str, nodes: Nodes) -> str:
    values = nodes.constant(_numbers(fitted, places, ""))
    return nodes.add("Where", [nodes.add("IsNaN", [block]), values, block])


def _standardize(
    fitted: Fitted, places: Sequence[int], columns: Sequence[ColumnState], block: str, nodes: Nodes
) -> str:
    mean, spread = (nodes.constant(_numbers(fitted, places, key)) for key in (".mean", ".spread"))
    return _rounded(nodes.add("Div", [nodes.add("Sub", [block, mean]), spread]), nodes)


def _rounded(block: str, nodes: Nodes) -> str:
    """Round to float32 as the transform does, and go on in float64."""
    return nodes.cast(nodes.cast(block, "float32"), "float64")


def _normalize(fitted: Fitted, places: Sequence[int], columns: Sequence[ColumnState], block: str, nodes: Nodes) -> str:
    mean, spread = (_numbers(fitted, places, key) for key in (".mean", ".spread"))
    scale = float(fitted.params["scale"])
    factors = np.array([scale / 255 if column.dtype == "uint8" else scale for column in columns])
    return nodes.cast(_scaled(nodes.cast(block, "float32"), factors, mean, spread, nodes), "float64")


def _scaled(tensor: str, factor: Any, mean: np.ndarray, spread: np.ndarray, nodes: Nodes) -> str:
    """Multiply and add in float32, as `apply_normalize` does."""
    product = nodes.add("Mul", [tensor, nodes.constant((factor / spread).astype(np.float32))])
    return nodes.add("Sub", [product, nodes.constant((mean / spread).astype(np.float32))])


def _standardize_array(fitted: Fitted, place: int, name: str, column: ColumnState, nodes: Nodes) -> None:
    wide = nodes.cast(column.tensor, "float64")
    mean, spread = (nodes.constant(fitted.arrays[f"{place}.{key}"]) for key in ("mean", "spread"))
    _become(column, nodes.cast(nodes.add("Div", [nodes.add("Sub", [wide, mean]), spread]), "float32"))


def _normalize_array(fitted: Fitted, place: int, name: str, column: ColumnState, nodes: Nodes) -> None:
    scale = float(fitted.params["scale"])
    factor = scale / 255 if column.dtype == "uint8" else scale
    mean, spread = fitted.arrays[f"{place}.mean"], fitted.arrays[f"{place}.spread"]
    _become(column, _scaled(nodes.cast(column.tensor, "float32"), factor, mean, spread, nodes))


def _become(column: ColumnState, tensor: str) -> None:
    column.tensor, column.dtype, column.sort, column.flat = tensor, "float32", "array", False


def _impute_text(fitted: Fitted, place: int, name: str, column: ColumnState, nodes: Nodes) -> None:
    """Keep in mind what gaps are filled with: text is encoded later, and the gap with it."""
    if column.sort != "text":
        raise refused(f"impute works on {name}, which is an array")
    column.fill = column.fill or str(fitted.arrays[str(place)][0])


def _one_hot(fitted: Fitted, place: int, name: str, column: ColumnState, nodes: Nodes) -> None:
    values = [str(value) for value in fitted.arrays[str(place)].tolist()]
    if not values:
        raise refused(f"one_hot knows no value of {name}, and ONNX has no columns of nothing")
    column.shape = (len(values),)
    if column.sort == "number":
        written = nodes.constant(np.array([[_number(value) for value in values]], np.float64))
        _become(column, nodes.cast(nodes.add("Equal", [upright(column, nodes), written]), "float32"))
    elif column.sort == "text" and column.fill is None:
        _become(column, nodes.add("OneHotEncoder", [column.tensor], domain=ML, cats_strings=values, zeros=1))
    elif column.sort == "text":
        _become(column, _filled_one_hot(values, str(column.fill), column.tensor, nodes))
    else:
        raise refused(f"one_hot works on {name}, which is an array")


def _filled_one_hot(values: Sequence[str], fill: str, tensor: str, nodes: Nodes) -> str:
    """Look the row of zeros and ones up by the number of the value; a gap has that of what fills it."""
    numbers = {value: place for place, value in enumerate(values)}
    other = len(values)
    table = nodes.constant(np.vstack([np.eye(other), np.zeros((1, other))]).astype(np.float32))
    coded = nodes.add(
        "LabelEncoder",
        [tensor],
        domain=ML,
        keys_strings=[*values, ""],
        values_int64s=[*numbers.values(), numbers.get(fill, other)],
        default_int64=other,
    )
    return nodes.add("Gather", [table, coded], axis=0)


def _number(text: str) -> float:
    """Read a value as recipes write it; what is no number is met by none."""
    try:
        return float({"true": "1", "false": "0"}.get(text, text))
    except ValueError:
        return float("nan")


def _resize(fitted: Fitted, place: int, name: str, column: ColumnState, nodes: Nodes) -> None:
    """Resize images of one size as the transform does: two products with the weights of its filter, in float64.

    ONNX's own Resize averages otherwise over the pixels that are left out.
    """
    sizes = [size for size in column.shape[-2:] if isinstance(size, int)]
    if column.sort != "array" or len(column.shape) not in (2, 3) or len(sizes) < 2:
        raise refused(f"resize works on {name}, which is no image of one size")
    height, width = int(fitted.params["height"]), int(fitted.params["width"])
    if sizes == [height, width]:
        return
    wide = nodes.cast(column.tensor, "float64")
    rows, columns = nodes.constant(filter_weights(sizes[0], height)), nodes.constant(filter_weights(sizes[1], width).T)
    if sizes[1] != width:
        wide = _rounded(nodes.add("MatMul", [wide, columns]), nodes)
    if sizes[0] != height:
        wide = _rounded(nodes.add("MatMul", [rows, wide]), nodes)
    column.shape = (*column.shape[:-2], height, width)
    if column.dtype == "uint8":
        column.tensor = nodes.cast(nodes.add("Round", [nodes.cast(wide, "float32")]), "uint8")
    else:
        column.tensor, column.dtype = nodes.cast(wide, "float32"), "float32"


def filter_weights(given: int, made: int) -> np.ndarray:
    """Return what each pixel of a line contributes to each of a resized line, (made, given) float64, as Pillow does.

    A triangle as wide as two pixels of the coarser of both lines, over the pixels that it covers, summing to 1.
    """
    scale = given / made
    reach = max(scale, 1.0)
    weights = np.zeros((made, given))
    for place in range(made):
        center = (place + 0.5) * scale
        first, last = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), given)
        covered = np.maximum(1.0 - np.abs((np.arange(first, last) - center + 0.5) / reach), 0.0)
        weights[place, first:last] = covered / covered.sum()
    return weights


_ON_NUMBERS: Mapping[str, Any] = {"impute": _impute, "standardize": _standardize, "normalize": _normalize}
_ON_ONE: Mapping[str, Any] = {
    "impute": _impute_text,
    "standardize": _standardize_array,
    "normalize": _normalize_array,
    "one_hot": _one_hot,
    "resize": _resize,
}
