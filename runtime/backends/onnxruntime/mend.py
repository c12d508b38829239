"""Put right in a file what keeps onnxruntime from opening it, or from answering batches, and nothing else."""

from collections import Counter
from collections.abc import Iterator
from functools import cache

import onnx  # noqa: TID253 - its very subject
from onnx import helper, version_converter  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.batch import free_batch
from titrant.runtime.backends.onnxruntime.graph import STANDARD, opset


def mend(model: onnx.ModelProto, *, batches: bool = True) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Return the graph as onnxruntime takes it, and what was put right; a graph that needs nothing is the same object.

    Node names that stand twice are numbered, weights are no inputs. A file that is newer than onnxruntime is brought
    to the versions that it reads where every operator in it allows that; else it stays as it is, and onnxruntime
    refuses it. Without `batches` it is not looked whether a batch size is written into it.
    """
    notes = []
    if repeated := rename_nodes(model):
        notes.append(f"{repeated:,} nodes whose names stood before are renamed")
    if fixed := fix_weights(model):
        notes.append(f"{fixed} weights are no longer inputs too, which kept engines from folding them")
    version = opset(model)
    ir_version, newest = _OLDEST_READS
    if model.ir_version > ir_version or version > newest:
        ir_version, newest = reads()
    lowered = _converted(model, newest) if version > newest else model
    if lowered is not None:
        if version > newest:
            notes.append(f"opset {version} is brought to {newest}, the newest that onnxruntime knows")
        model = lowered
    if model.ir_version > ir_version and opset(model) <= newest:
        notes.append(f"IR version {model.ir_version} is brought to {ir_version}, the newest that onnxruntime reads")
        model.ir_version = ir_version
    return model, (*notes, *(free_batch(model) if batches else ()))


# The newest IR version and operator set that the oldest onnxruntime reads with which titrant runs.
_OLDEST_READS = (10, 21)
# The first IR version in which a weight need not be an input too.
_APART = 4


def fix_weights(model: onnx.ModelProto) -> int:
    """Take the weights out of the graph's inputs, in place; returns how many there were.

    Who lists them as inputs may be given others, so that onnxruntime folds nothing into them and lays nothing out anew:
    a file of 2019 ran 2.7 times as long.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    fed = [value for value in model.graph.input if value.name not in weights]
    fixed = len(model.graph.input) - len(fed)
    if fixed:
        del model.graph.input[:]
        model.graph.input.extend(fed)
        model.ir_version = max(model.ir_version, _APART)
    return fixed


def rename_nodes(model: onnx.ModelProto) -> int:
    """Number the nodes whose name stood before, in place; returns how many there were."""
    taken = Counter(node.name for node in model.graph.node)
    seen, renamed = set[str](), 0
    for node in model.graph.node:
        if node.name in seen and node.name:
            node.name = next(name for name in _numbered(node.name) if name not in taken)
            taken[node.name] += 1
            renamed += 1
        seen.add(node.name)
    return renamed


def _numbered(name: str) -> Iterator[str]:
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _converted(model: onnx.ModelProto, version: int) -> onnx.ModelProto | None:
    try:
        return version_converter.convert_version(model, version)
    except (version_converter.ConvertError, RuntimeError):
        return None


@cache
def reads() -> tuple[int, int]:
    """Return the newest IR version and the newest standard operator set that the installed onnxruntime opens.

    It says neither, so that it is asked with a graph of one node.
    """
    newest = onnx.defs.onnx_opset_version()
    ir_version = next(number for number in range(onnx.IR_VERSION, 0, -1) if _opens(number, 1))
    version = next(number for number in range(newest, 0, -1) if _opens(ir_version, number))
    return ir_version, version


def _opens(ir_version: int, version: int) -> bool:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", ends[:1], ends[1:])
    imports = [helper.make_opsetid(STANDARD[0], version)]
    probe = helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except (state.Fail, state.InvalidGraph, state.NotImplemented, state.InvalidArgument):
        return False
    return True
