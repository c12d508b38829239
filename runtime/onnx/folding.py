"""Let onnxruntime fold what can be folded: what is left is what will run, and so what should be quantized."""

from pathlib import Path

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.engines.onnxruntime_engine import load


def folded(graph: onnx.ModelProto, scratch: Path) -> Path:
    """Write the graph with constants, normalizations and biases folded, as `folded.onnx`.

    Only by the basic level, whose result does not depend on the processor.
    """
    source, target = scratch / "source.onnx", scratch / "folded.onnx"
    onnx.save(graph, str(source))
    load(source, threads=1, optimized="basic", written_to=target)
    source.unlink()
    return target
