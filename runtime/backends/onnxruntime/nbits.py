"""Weights of 4 or 8 bits in blocks, as onnxruntime's MatMulNBits and GatherBlockQuantized hold them.

Each column of a matrix, or row of a table, is cut into blocks that have a scale and a zero point each. Rounding is that
of onnxruntime's compiled kernels. Its MatMulNBitsQuantizer is not used: it writes a weight that two products share
twice, and needs a package that onnxruntime does not bring.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.apart import pieces, put_apart, values
from titrant.runtime.backends.onnxruntime.graph import MICROSOFT, STANDARD, reads
from titrant.runtime.backends.onnxruntime.normalize import MATRIX, constants_of, setting
from titrant.schema.values.frozen import dataclass

NONE_CHOSEN: Mapping[str, np.ndarray] = MappingProxyType({})
# Blocks have 16, 32, 64, 128 or 256 numbers.
LEAST_BLOCK = 16
# Half-quadratic quantization: norm, first weight of the penalty and its growth, steps (Badri and Shaji 2023).
_NORM, _PENALTY, _GROWTH, _STEPS = 0.7, 10.0, 1.01, 20
# k-quant tries this many scales, so far apart, from this many steps below the plain one (llama.cpp, ggml-quants.c).
_TRIES, _APART, _BELOW = 20, 0.1, -1.0


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded: `algorithm` is rtn, hqq or k_quant; `symmetric` leaves the zero points out."""

    bits: int
    block: int
    algorithm: str
    symmetric: bool
    accuracy_level: int


@dataclass(frozen=True)
class Grid:
    """What a weight (out, in) may be rounded to: scale and zero point of each number, and the largest whole number."""

    scales: np.ndarray
    zeros: np.ndarray
    top: int


def grid_of(rows: np.ndarray, how: Rounding) -> Grid:
    """Return the grid on which a weight (out, in) is rounded to the nearest."""
    length = rows.shape[1]
    block = block_of(length, how.block)
    _, scales, *zeros = _product_parts(rows, block, how)
    middle = np.full(scales.shape, 1 << (how.bits - 1))
    whole = _unpack(zeros[0], how.bits)[:, : scales.shape[1]] if zeros else middle
    spread = [np.repeat(each.astype(np.float32), block, axis=1)[:, :length] for each in (scales, whole)]
    return Grid(np.where(spread[0] == 0, np.float32(1), spread[0]), spread[1], 2**how.bits - 1)


def block_of(inputs: int, block: int) -> int:
    """Return the block of a row of numbers: no longer than the next power of two."""
    return min(block, max(LEAST_BLOCK, 1 << (inputs - 1).bit_length()))


def round_weights(
    model: onnx.ModelProto,
    products: Iterable[str],
    tables: Iterable[str],
    how: Rounding,
    numbers: Mapping[str, np.ndarray] = NONE_CHOSEN,
    *,
    file: Path | None = None,
) -> None:
    """Round the weights of some MatMul and Gather nodes, in place; one that several read is rounded once.

    `numbers` are the whole numbers (out, in) of weights of products that are chosen already, by name. What is made is
    added to a `file` where there is one, and stands apart there.
    """
    constants, chosen_products, chosen_tables = constants_of(model), set(products), set(tables)
    made: dict[tuple[str, str], tuple[list[str], dict[str, int]]] = {}
    nodes = []
    for node in model.graph.node:
        if node.name in chosen_products:
            weight, rest, operation = node.input[1], [node.input[0]], "MatMulNBits"
        elif node.name in chosen_tables:
            weight, rest, operation = node.input[0], [node.input[1]], "GatherBlockQuantized"
        else:
            nodes.append(node)
            continue
        if (weight, operation) not in made:
            parts, settings = _packed(values(constants[weight]), operation, how)
            if operation == "MatMulNBits" and weight in numbers:
                parts[0] = _with_numbers(parts[0], numbers[weight], how.bits)
            names = [f"{weight}{ending}" for ending in _endings(operation, how.bits)[: len(parts)]]
            tensors = [numpy_helper.from_array(part, name) for part, name in zip(parts, names, strict=True)]
            model.graph.initializer.extend(tensors if file is None else [put_apart(each, file) for each in tensors])
            made[weight, operation] = (names, settings)
        names, settings = made[weight, operation]
        inputs = [rest[0], *names] if operation == "MatMulNBits" else [names[0], rest[0], *names[1:]]
        new = helper.make_node(operation, inputs, list(node.output), node.name, domain=MICROSOFT, **settings)  # type: ignore[arg-type]
        nodes.append(new)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unread(model, {weight for weight, _ in made})
    if made and MICROSOFT not in {item.domain for item in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))


def _endings(operation: str, bits: int) -> tuple[str, ...]:
    part = "" if operation == "MatMulNBits" else "_rows"
    return tuple(f"{part}{ending}" for ending in (f"_Q{bits}", "_scales", "_zero_points"))


def _drop_unread(model: onnx.ModelProto, names: set[str]) -> None:
    read = {name for node in model.graph.node for name in reads(node)} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in names or tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _packed(weight: np.ndarray, operation: str, how: Rounding) -> tuple[list[np.ndarray], dict[str, int]]:
    """Return weights, scales and zero points as the operation takes them, and its attributes.

    A matrix (in, out) is cut along `in`, a table (rows, numbers) along its last axis.
    """
    rows = weight.T if operation == "MatMulNBits" else weight
    count, length = rows.shape
    block = block_of(length, how.block)
    if operation == "MatMulNBits":
        settings = {"K": length, "N": count, "bits": how.bits, "block_size": block}
        if how.accuracy_level:
            settings["accuracy_level"] = how.accuracy_level
        return _in_pieces(_product_parts, rows, block, how), settings
    settings = {"gather_axis": 0, "quantize_axis": 1, "bits": how.bits, "block_size": block}
    return _in_pieces(_table_parts, rows, block, how), settings


def _in_pieces(
    parts: Callable[[np.ndarray, int, Rounding], list[np.ndarray]], rows: np.ndarray, block: int, how: Rounding
) -> list[np.ndarray]:
    """Round some rows after the others, which are independent: what is worked on stays small."""
    made = [parts(np.ascontiguousarray(piece), block, how) for piece in pieces(rows)]
    return [np.concatenate(part) for part in zip(*made, strict=True)]


def _product_parts(rows: np.ndarray, block: int, how: Rounding) -> list[np.ndarray]:
    """Return (out, blocks, bytes), (out, blocks) and, where not symmetric, (out, bytes)."""
    from onnxruntime.capi import _pybind_state as kernels

    count, length = rows.shape
    blocks = -(-length // block)
    if how.algorithm != "rtn":
        numbers, scales, zeros = _rounded(_blocks(rows, block), how)
        packed = _pack(numbers.reshape(count, -1), how.bits).reshape(count, blocks, -1)
        return [packed, scales, _pack(zeros, how.bits)]
    kernel = {4: kernels.quantize_matmul_4bits, 8: kernels.quantize_matmul_8bits}[how.bits]
    packed = np.zeros((count, blocks, block * how.bits // 8), np.uint8)
    scales = np.zeros((count, blocks), np.float32)
    zeros = np.zeros((count, -(-blocks * how.bits // 8)), np.uint8)
    padded = np.zeros((blocks * block, count), np.float32)
    padded[:length] = rows.T
    kernel(packed, padded, scales, zeros, block, count, length, how.symmetric)
    return [packed, scales] if how.symmetric else [packed, scales, zeros]


def _table_parts(rows: np.ndarray, block: int, how: Rounding) -> list[np.ndarray]:
    """Return (rows, bytes), (rows, blocks) and (rows, bytes of zero points): rounded to nearest whatever is asked for.

    The kernel that looks rows up takes whole zero points only.
    """
    count, length = rows.shape
    cut = _blocks(rows, block)
    low, high = np.minimum(cut.min(-1), 0), np.maximum(cut.max(-1), 0)
    top = 2**how.bits - 1
    scales = ((high - low) / top).astype(np.float32)
    safe = np.where(scales > 0, scales, 1)
    zeros = np.clip(np.round(-low / safe), 0, top)
    numbers = np.clip(np.round(cut / safe[..., None]) + zeros[..., None], 0, top).astype(np.uint8)
    flat = numbers.reshape(count, -1)[:, :length]
    return [_pack(flat, how.bits), scales, _pack(zeros.astype(np.uint8), how.bits)]


def _blocks(rows: np.ndarray, block: int) -> np.ndarray:
    """Return rows (count, length) as (count, blocks, block), the last filled up with zeros."""
    count, length = rows.shape
    blocks = -(-length // block)
    padded = np.zeros((count, blocks * block), np.float32)
    padded[:, :length] = rows
    return padded.reshape(count, blocks, block)


def _pack(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Put two numbers of 4 bits into a byte, the first into its lower half; (rows, n) → (rows, bytes)."""
    if bits == 8:
        return np.ascontiguousarray(numbers, np.uint8)
    if numbers.shape[1] % 2:
        numbers = np.pad(numbers, ((0, 0), (0, 1)))
    return np.ascontiguousarray(numbers[:, ::2] | (numbers[:, 1::2] << 4), np.uint8)


def _unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    """Undo `_pack`; (…, bytes) → (…, numbers)."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)


def _with_numbers(packed: np.ndarray, numbers: np.ndarray, bits: int) -> np.ndarray:
    """Put whole numbers (out, in) in the place of those of (out, blocks, bytes); what fills the last block up stays."""
    flat = _unpack(packed, bits).reshape(len(packed), -1)
    flat[:, : numbers.shape[1]] = numbers
    return _pack(flat, bits).reshape(packed.shape)


def _rounded(cut: np.ndarray, how: Rounding) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return whole numbers (…, block), scales (…,) and zero points (…,)."""
    fit = {"hqq": _half_quadratic, "k_quant": _k_quant}[how.algorithm]
    numbers, scales, zeros = fit(cut, 2**how.bits - 1)
    return numbers.astype(np.uint8), scales[..., 0].astype(np.float32), zeros[..., 0].astype(np.uint8)


def _half_quadratic(cut: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit scale and zero point so that the error's norm of 0.7 is least (Badri and Shaji 2023, by half-quadratics).

    There the zero points are fractions and alone are fitted. MatMulNBits multiplies by such at a sixteenth of the speed
    (onnxruntime 1.31), so that these are whole, and the scale is fitted besides. Block by block the best step is kept,
    the plain rounding included.
    """
    low, high = np.minimum(cut.min(-1, keepdims=True), 0), np.maximum(cut.max(-1, keepdims=True), 0)
    scales = np.where(high > low, high - low, 1.0) / top
    zeros = np.round(-low / scales)
    kept, best, penalty = (scales, zeros), np.full_like(low, np.inf), _PENALTY
    for _ in range(_STEPS):
        numbers = np.clip(np.round(cut / scales) + zeros, 0, top)
        error = cut - (numbers - zeros) * scales
        size = (np.abs(error) ** _NORM).mean(-1, keepdims=True)
        better = size < best
        kept = (np.where(better, scales, kept[0]), np.where(better, zeros, kept[1]))
        best = np.minimum(size, best)
        # In steps, so that the penalty is the same for weights of any size.
        steps = np.abs(error) / scales
        shrunk = np.sign(error) * scales * np.maximum(steps - (steps + 1e-8) ** (_NORM - 1) / penalty, 0)
        centered = numbers - zeros
        length = (centered**2).sum(-1, keepdims=True)
        fitted = (centered * (cut - shrunk)).sum(-1, keepdims=True) / np.where(length > 0, length, 1)
        scales = np.where(fitted > 0, fitted, scales)
        zeros = np.clip(np.round(np.mean(numbers - (cut - shrunk) / scales, -1, keepdims=True)), 0, top)
        penalty *= _GROWTH
    scales, zeros = kept
    return np.clip(np.round(cut / scales) + zeros, 0, top), scales, zeros


def _k_quant(cut: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit scale and least value of a block by weighted least squares around several roundings (llama.cpp's k-quants).

    A number's weight is its size and the block's root mean square. Block by block the best is kept, as it is written:
    with a whole zero point.
    """
    weights = np.sqrt(np.mean(cut**2, -1, keepdims=True)) + np.abs(cut)
    low, high = np.minimum(cut.min(-1, keepdims=True), 0), np.maximum(cut.max(-1, keepdims=True), 0)
    span = np.where(high > low, high - low, 1.0)
    total, product = weights.sum(-1, keepdims=True), (weights * cut).sum(-1, keepdims=True)

    def lost(scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        numbers = np.clip(np.round(cut / scale) + zero, 0, top)
        error: np.ndarray = (weights * ((numbers - zero) * scale - cut) ** 2).sum(-1, keepdims=True)
        return error

    scales = span / top
    zeros = np.round(-low / scales)
    best = lost(scales, zeros)
    for step in range(_TRIES):
        numbers = np.clip(np.round((cut - low) * (top + _BELOW + _APART * step) / span), 0, top)
        first = (weights * numbers).sum(-1, keepdims=True)
        second = (weights * numbers**2).sum(-1, keepdims=True)
        crossed = (weights * numbers * cut).sum(-1, keepdims=True)
        spread = total * second - first**2
        scale = (total * crossed - product * first) / np.where(spread > 0, spread, 1)
        least = (second * product - first * crossed) / np.where(spread > 0, spread, 1)
        solvable = (spread > 0) & (scale > 0)
        scale = np.where(solvable, scale, scales)
        zero = np.where(solvable, np.clip(np.round(-least / scale), 0, top), zeros)
        error = lost(scale, zero)
        better = error < best
        scales, zeros, best = np.where(better, scale, scales), np.where(better, zero, zeros), np.minimum(error, best)
    return np.clip(np.round(cut / scales) + zeros, 0, top), scales, zeros


def roundable(model: onnx.ModelProto, operation: str, least_inputs: int = LEAST_BLOCK) -> list[str]:
    """Name the nodes whose weight is a constant fp32 matrix of enough inputs.

    A `MatMul` has it on its right, a `Gather` looks rows up in it.
    """
    matrices = {
        name: tuple(tensor.dims)
        for name, tensor in constants_of(model).items()
        if len(tensor.dims) == MATRIX and tensor.data_type == onnx.TensorProto.FLOAT
    }
    place, axis = (0, 1) if operation == "Gather" else (1, 0)
    return [
        node.name
        for node in model.graph.node
        if node.op_type == operation
        and node.domain in STANDARD
        and node.input[place] in matrices
        and matrices[node.input[place]][axis] >= least_inputs
        and (operation != "Gather" or setting(node, "axis", 0) in (0, -MATRIX))
    ]
