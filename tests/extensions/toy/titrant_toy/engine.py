"""Run a toy box: a zlib stream of an ONNX graph behind four letters, computed by ONNX's reference evaluator."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from titrant.runtime.backends.backend import ExecutedLayer
from titrant.runtime.backends.session import checked, insisted_batch
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

MAGIC = b"TOY1"


@dataclass(frozen=True)
class ToyModel:
    """A toy box on disk."""

    path: Path
    kind = "toybox"


def write(graph, path):
    """Write a graph: the same bytes for the same graph."""
    Path(path).write_bytes(MAGIC + zlib.compress(graph.SerializeToString(deterministic=True), 9))
    return ToyModel(Path(path))


def read(path):
    """Read a graph; StepError X212 for what is no toy box."""
    import onnx

    path = Path(path)
    try:
        data = path.read_bytes()
        if data[:4] != MAGIC:
            raise ValueError("it does not begin with TOY1")
        return onnx.load_from_string(zlib.decompress(data[4:]))
    except (OSError, ValueError, zlib.error) as error:
        text = " ".join(str(error).split())
        message = f"toy cannot load {path.name}: {text}"
        raise StepError(Diagnostic("X212", message, help="export it again")) from None


def open_session(model, *, threads, device="cpu"):
    """Load a toy box."""
    return ToySession(read(model.path))


class ToySession:
    """A toy box that answers."""

    def __init__(self, graph):
        import onnx
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(graph)
        self.specs = tuple(
            (
                item.name,
                tuple(size.dim_value or size.dim_param or "any" for size in item.type.tensor_type.shape.dim),
                np.dtype(onnx.helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type)).name,
            )
            for item in graph.graph.input
        )
        self.input_names = tuple(name for name, _, _ in self.specs)
        self.output_names = tuple(item.name for item in graph.graph.output)
        self.fixed_batch = insisted_batch(self.specs)

    def run(self, inputs):
        """Answer one batch."""
        answers = self._evaluator.run(None, checked(self.specs, inputs))
        return dict(zip(self.output_names, answers, strict=True))

    def close(self):
        """Free the graph."""
        self._evaluator = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def executed(model, layers):
    """Return every product: what is unpacked before it is multiplied in fp32; weights keep the names of modules."""
    products = (node for node in read(model.path).graph.node if node.op_type in ("Conv", "Gemm", "MatMul"))
    return tuple(
        ExecutedLayer(_layer(node, layers), node.name or f"{node.op_type}_{place}", "fp32", node.op_type)
        for place, node in enumerate(products)
    )


def _layer(node, layers):
    if node.name in layers:
        return node.name
    return next((name for weight in node.input if (name := weight.rpartition(".")[0]) in layers), "")
