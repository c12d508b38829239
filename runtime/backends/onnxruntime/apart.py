"""Weights that stay in files beside an ONNX graph: read one at a time, and written one after the other.

While a graph is in memory such a tensor names its file in full, and `model.onnx.data` once it is written.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import external_data_helper, helper, numpy_helper  # noqa: TID253 - its very subject

# Weights in files of their own stay there above this size, and come inside below it.
APART_BYTES = 256 << 20
# Where weights are that a file does not hold, always under this name beside it; smaller tensors stay inside.
DATA = "model.onnx.data"
_LEAST_OUTSIDE = 1024
# What is read or written at once.
PIECE_BYTES = 16 << 20
_LOCATION, _OFFSET, _LENGTH, _TURNED = "location", "offset", "length", "turned"


def is_apart(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's numbers stand in a file beside the graph's."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def apart_bytes(graph: onnx.GraphProto, *, floating: bool = False) -> int:
    """Return what a graph's weights in other files take; of fp32 alone where `floating`."""
    tensors = (tensor for tensor in graph.initializer if is_apart(tensor))
    return sum(_bytes(each) for each in tensors if not floating or each.data_type == onnx.TensorProto.FLOAT)


def stays_apart(graph: onnx.GraphProto) -> bool:
    """Whether a graph's weights in other files are so large that they are not brought inside."""
    return apart_bytes(graph) > APART_BYTES


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor that a graph holds, those of `Constant` nodes and of graphs inside it included."""
    yield from graph.initializer
    for node in graph.node:
        for item in node.attribute:
            yield from (item.t, *item.tensors)
            for body in (item.g, *item.graphs):
                yield from tensors_of(body)


def settle(model: onnx.ModelProto, folder: Path, *, apart: bool) -> None:
    """Bring weights in from files in a folder, in place; where they may stay `apart`, those of a large model do.

    Raises OSError, ValueError or onnx's ValidationError where a file is not there, too short or outside the folder.
    """
    if apart and stays_apart(model.graph):
        for tensor in model.graph.initializer:
            if is_apart(tensor) and _bytes(tensor) >= _LEAST_OUTSIDE:
                said = _said(tensor)
                place = Path(said[_LOCATION])
                if place.is_absolute() or ".." in place.parts:
                    raise ValueError(f"{place} is outside the model's folder")
                _name(tensor, folder.absolute() / place, int(said.get(_OFFSET, 0)), _bytes(tensor))
    for tensor in tensors_of(model.graph):
        if is_apart(tensor) and not Path(_said(tensor)[_LOCATION]).is_absolute():
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            _inside(tensor)


def hide(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Make inputs of the weights that stand apart, in place, so that who opens the graph reads none; return them."""
    graph = model.graph
    hidden = [tensor for tensor in graph.initializer if is_apart(tensor)]
    names = {tensor.name for tensor in hidden}
    for values, kept in (
        (graph.initializer, [each for each in graph.initializer if each.name not in names]),
        (graph.input, [each for each in graph.input if each.name not in names]),
    ):
        del values[:]
        values.extend(kept)
    graph.input.extend(helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in hidden)
    return hidden


def show(model: onnx.ModelProto, hidden: list[onnx.TensorProto]) -> None:
    """Make weights of the inputs again that `hide` made of them."""
    names = {tensor.name for tensor in hidden}
    inputs = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(hidden)


def values(tensor: onnx.TensorProto) -> np.ndarray:
    """Return a tensor's numbers; of one that stands apart as a map of its file, which must not be written."""
    if not is_apart(tensor):
        return numpy_helper.to_array(tensor)
    said = _said(tensor)
    dtype, shape = helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims)
    is_turned = _TURNED in said
    array = np.memmap(said[_LOCATION], dtype, "r", int(said[_OFFSET]), shape[::-1] if is_turned else shape)
    return array.T if is_turned else array


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array (rows, …) in parts of a few rows, of 16 MiB or of one row."""
    if not array.ndim:
        yield array
        return
    step = max(1, PIECE_BYTES * len(array) // max(array.nbytes, 1))
    yield from (array[start : start + step] for start in range(0, len(array), step))


def turned(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """Return a matrix transposed, under another name; one that stands apart stays where it is."""
    if not is_apart(tensor):
        return numpy_helper.from_array(numpy_helper.to_array(tensor).T.copy(), name)
    new = onnx.TensorProto()
    new.CopyFrom(tensor)
    new.name = name
    new.dims[:] = tensor.dims[::-1]
    said = _said(tensor)
    _name(new, Path(said[_LOCATION]), int(said[_OFFSET]), _bytes(tensor), is_turned=_TURNED not in said)
    return new


def bring(tensor: onnx.TensorProto) -> None:
    """Bring a tensor's numbers inside, in place."""
    if is_apart(tensor):
        raw = b"".join(_raw(tensor))
        _inside(tensor)
        tensor.raw_data = raw


def put_apart(tensor: onnx.TensorProto, file: Path) -> onnx.TensorProto:
    """Move a tensor's numbers to the end of a file, in place, and return it; small ones stay."""
    if sys.getsizeof(tensor.raw_data) >= _LEAST_OUTSIDE:
        with file.open("ab") as target:
            start = target.tell()
            target.write(tensor.raw_data)
        _name(tensor, file, start, len(tensor.raw_data))
        tensor.ClearField("raw_data")
    return tensor


def write_weights(model: onnx.ModelProto, file: Path) -> None:
    """Write weights of 1 KiB and more into one file, in the order of the graph, which then names it, in place."""
    with file.open("wb") as target:
        for tensor in _initializers(model.graph):
            if not is_apart(tensor) and sys.getsizeof(tensor.raw_data) < _LEAST_OUTSIDE:
                continue
            start = target.tell()
            for part in _raw(tensor):
                target.write(part)
            _name(tensor, Path(file.name), start, target.tell() - start)
            tensor.ClearField("raw_data")


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for item in node.attribute:
            for body in (item.g, *item.graphs):
                yield from _initializers(body)


def _raw(tensor: onnx.TensorProto) -> Iterator[bytes]:
    """Yield a tensor's bytes, a few MiB at once where they stand apart; EOFError where its file is too short."""
    if not is_apart(tensor):
        yield tensor.raw_data
        return
    said = _said(tensor)
    if _TURNED in said:
        yield from (np.ascontiguousarray(part).tobytes() for part in pieces(values(tensor)))
        return
    left = _bytes(tensor)
    with Path(said[_LOCATION]).open("rb") as source:
        source.seek(int(said[_OFFSET]))
        while left:
            part = source.read(min(PIECE_BYTES, left))
            if not part:
                raise EOFError(f"{source.name} ends before {tensor.name} does")
            yield part
            left -= len(part)


def _said(tensor: onnx.TensorProto) -> dict[str, str]:
    return {item.key: item.value for item in tensor.external_data}


def _bytes(tensor: onnx.TensorProto) -> int:
    """Return what a tensor takes in its file; 0 where the graph does not say."""
    return int(_said(tensor).get(_LENGTH, 0))


def _name(tensor: onnx.TensorProto, file: Path, start: int, length: int, *, is_turned: bool = False) -> None:
    """Say where a tensor's numbers stand."""
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    said = {_LOCATION: str(file), _OFFSET: str(start), _LENGTH: str(length), **({_TURNED: "1"} if is_turned else {})}
    for key, value in said.items():
        tensor.external_data.add(key=key, value=value)


def _inside(tensor: onnx.TensorProto) -> None:
    """Take back that a tensor's numbers stand elsewhere, as in a file that held them all along."""
    tensor.ClearField("data_location")
    del tensor.external_data[:]
