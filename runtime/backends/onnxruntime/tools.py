"""Fold a graph, run onnxruntime's quantization tools quietly, and turn what they raise into StepErrors."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.apart import apart_bytes, hide, pieces, show, values
from titrant.runtime.backends.onnxruntime.graph import LOOKUPS, WEIGHTED, read, upgraded
from titrant.runtime.backends.onnxruntime.normalize import (
    Renamed,
    infer_types,
    inlined,
    keep_weights_apart,
    name_nodes,
    normalize,
)
from titrant.runtime.backends.onnxruntime.session import load
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError
from titrant.schema.values.text import first_line

Made = TypeVar("Made")
_RECURRENT = ("LSTM", "GRU", "RNN")
_FEW_BITS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT4, onnx.TensorProto.UINT4)


@contextlib.contextmanager
def quiet(scratch: Path) -> Iterator[None]:
    """Silence prints, warnings and log lines up to errors, and send temporary files to `scratch`.

    The quantization tools print progress, log advice on the root logger, and write next to the system's other
    temporary files; none of that can be configured. Say nothing of one's own within.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    folder, level = tempfile.tempdir, logging.root.manager.disable
    tempfile.tempdir = str(scratch)
    logging.disable(max(level, logging.ERROR))
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        tempfile.tempdir = folder


def apply_tool(
    kind: str, nodes: Sequence[str], make: Callable[[Sequence[str]], Made], *, sees_rows: bool = False
) -> Made:
    """Let a tool of onnxruntime quantize some nodes; where it raises, find the node that it fails on.

    `make` is called with the nodes to quantize. Raises StepError X211. What a tool says of a graph is told; where it
    `sees_rows`, an operation may name a value that it could not take.
    """
    try:
        return make(nodes)
    except _failures() as error:
        node = _failing(nodes, make)
        where = f"the node {node}" if node else "this graph"
        reason = type(error).__name__ if sees_rows else first_line(error)
        other = {"static": "ort.dynamic", "dynamic": "ort.static"}[kind]
        raise StepError(
            Diagnostic(
                "X211",
                f"onnxruntime cannot quantize {where} ({kind}): {reason}",
                help=f"use quantization.method {other}, or write {where} with other operators",
                said=first_line(error) if sees_rows else "",
            )
        ) from error


def _failing(nodes: Sequence[str], make: Callable[[Sequence[str]], object]) -> str:
    """Halve the nodes until one is left that the tool fails on; "" where it fails without that one as well."""
    left = list(nodes)
    while len(left) > 1:
        half = left[: len(left) // 2]
        left = half if _fails(half, make) else left[len(half) :]
    rest = [node for node in nodes if node not in left]
    return left[0] if left and rest and not _fails(rest, make) else ""


def _fails(nodes: Sequence[str], make: Callable[[Sequence[str]], object]) -> bool:
    try:
        make(nodes)
    except _failures():
        return True
    return False


def _failures() -> tuple[type[Exception], ...]:
    """List what the tools raise."""
    from onnx.shape_inference import InferenceError
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        ValueError, RuntimeError, TypeError, AttributeError, KeyError, IndexError, AssertionError, InferenceError,
        state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented, state.RuntimeException,
    )  # fmt: skip


def prepared(path: Path, scratch: Path, *, apart: bool = False) -> tuple[onnx.ModelProto, Renamed]:
    """Read a graph, fold it and bring it to the form that the tools take; returns it, and what was renamed in it.

    Raises what `typed` does.
    """
    graph = typed(path, scratch, apart=apart)
    return graph, normalize(graph)


def typed(path: Path, scratch: Path, *, apart: bool = False) -> onnx.ModelProto:
    """Read a graph and fold it; every node has a name of its own, and every tensor's type and shape are noted.

    Where they may stay `apart`, large weights of products and tables beside the file are not read: onnxruntime gets the
    graph with inputs in their place.

    Raises StepError X209 for a file that is no ONNX and X212 for one that onnxruntime cannot load, PreconditionError
    X211 for an operator set that cannot be raised, X260 for weights that are not finite, X261 for few bits.
    """
    graph = read(path, apart=apart)
    name_nodes(graph)  # by their places in the file, which is how its layers are called
    _check_unquantized(graph)
    hidden = []
    if apart_bytes(graph.graph):
        keep_weights_apart(graph)
        hidden = hide(graph)
    graph = inlined(upgraded(graph))
    name_nodes(graph)
    # What an exporter noted of shapes may be wrong, and would contradict what is inferred.
    del graph.graph.value_info[:]
    graph = folded(graph, scratch)
    name_nodes(graph)
    infer_types(graph, scratch)
    if hidden:
        show(graph, hidden)
    _check_finite(graph)
    return graph


def _check_unquantized(graph: onnx.ModelProto) -> None:
    """Raise PreconditionError X261 where a graph holds weights of few bits: the tools would quantize around them."""
    whole = {
        tensor.name for tensor in graph.graph.initializer if tensor.data_type in _FEW_BITS and len(tensor.dims) > 1
    }
    nodes = [node for node in graph.graph.node if whole.intersection(node.input)]
    if nodes:
        message = f"{len(nodes)} nodes of the graph have weights of 8 bits or fewer, the first {nodes[0].name}"
        advice = "give the model in fp32, or use quantization.method none"
        raise PreconditionError(Diagnostic("X261", f"{message} ({nodes[0].op_type})", help=advice))


def _check_finite(graph: onnx.ModelProto) -> None:
    """Raise PreconditionError X260 for the first weight of a product, convolution or table that is NaN or infinite.

    No scale fits such numbers. A bias may be infinite: it is a mask that was added, and folded into a product.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    for node in graph.graph.node:
        for name in node.input if node.op_type in (*WEIGHTED, *LOOKUPS, *_RECURRENT) else ():
            array = values(tensors[name]) if name in tensors else np.zeros(1)
            nan = sum(int(np.isnan(part).sum()) for part in pieces(array))
            infinite = sum(int(np.isinf(part).sum()) for part in pieces(array)) if array.ndim > 1 else 0
            if nan or infinite:
                counts = " and ".join([f"{nan:,} NaN"] * bool(nan) + [f"{infinite:,} infinite"] * bool(infinite))
                message = f"the weight {name} of {node.name} holds {counts} among {array.size:,} numbers"
                advice = "export it again from weights that trained well"
                raise PreconditionError(Diagnostic("X260", message, help=advice))


def folded(graph: onnx.ModelProto, scratch: Path) -> onnx.ModelProto:
    """Return the graph with constants, normalizations and biases folded.

    Only by the basic level, whose result does not depend on the processor. What is left is what will run, and so what
    should be quantized.
    """
    source, target = scratch / "source.onnx", scratch / "folded.onnx"
    onnx.save(graph, str(source))
    load(source, threads=1, optimized="basic", written_to=target)
    result = read(target)
    source.unlink()
    target.unlink()
    return result
