"""Fold a graph, run onnxruntime's quantization tools quietly, and turn what they raise into StepErrors."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.graph import read, upgraded
from titrant.runtime.backends.onnxruntime.normalize import Renamed, infer_types, inlined, name_nodes, normalize
from titrant.runtime.backends.onnxruntime.session import load
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line

Made = TypeVar("Made")


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


def prepared(path: Path, scratch: Path) -> tuple[onnx.ModelProto, Renamed]:
    """Read a graph, fold it and bring it to the form that the tools take; returns it, and what was renamed in it.

    Raises StepError X209 for a file that is no ONNX and X212 for one that onnxruntime cannot load, PreconditionError
    X211 for an operator set that cannot be raised.
    """
    graph = read(path)
    name_nodes(graph)  # by their places in the file, which is how its layers are called
    graph = inlined(upgraded(graph))
    name_nodes(graph)
    # What an exporter noted of shapes may be wrong, and would contradict what is inferred.
    del graph.graph.value_info[:]
    graph = folded(graph, scratch)
    name_nodes(graph)
    infer_types(graph, scratch)
    return graph, normalize(graph)


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
