"""Count what operations do that multiply by no weights: how many of each kind there are, and what they read and write.

Layers are priced by their weights; these are what else a forward pass spends its time on.
"""

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from titrant.schema.facts import OperationWork

if TYPE_CHECKING:
    import onnx
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from titrant.runtime.inspect.graph.activation_ranges import Dataflow

# The kinds of operations. view: reshapes, which move nothing; strided: transposes and slices, which torch leaves where
# they are and a graph's engine copies; clone: torch's copies of those; copy: concatenation, look-ups, padding;
# scattered: concatenation of so few numbers at a time that each is moved alone, as where pairs are turned;
# exponential: softmax, GELU, sigmoid and the like; batch_norm: what folds where something folds; product: of computed
# arrays, as in attention.
OPERATION_KINDS = (
    "view", "strided", "clone", "copy", "scattered", "elementwise", "exponential", "normalization", "batch_norm",
    "reduction", "pooling", "product",
)  # fmt: skip
# By kind, as torch's operations (aten) and as ONNX nodes are called; what stands nowhere is element by element.
_TORCH: Mapping[str, tuple[str, ...]] = {
    "view": (
        "view", "_unsafe_view", "unsqueeze", "squeeze", "expand", "alias", "detach", "_reshape_alias", "t",
        "view_as_real", "view_as_complex", "lift_fresh", "empty", "new_empty", "empty_like",
    ),
    "strided": (
        "transpose", "permute", "slice", "select", "split", "split_with_sizes", "unbind", "chunk", "as_strided",
        "unfold", "diagonal",
    ),
    "clone": ("clone", "copy", "contiguous"),
    "copy": (
        "cat", "stack", "constant_pad_nd", "reflection_pad2d", "index", "index_select", "gather", "embedding", "roll",
        "flip", "repeat", "index_put", "scatter", "pixel_shuffle", "upsample_nearest2d", "upsample_bilinear2d",
        "upsample_nearest1d", "im2col", "col2im", "tril", "triu", "where", "masked_fill",
    ),
    "exponential": (
        "gelu", "silu", "sigmoid", "tanh", "exp", "log", "erf", "elu", "selu", "celu", "softplus", "mish", "sin", "cos",
        "_softmax", "_log_softmax", "softmax", "glu", "log1p", "expm1", "log_sigmoid_forward", "logsumexp",
        "_safe_softmax",
    ),
    "normalization": ("native_layer_norm", "native_group_norm", "_fused_rms_norm", "linalg_vector_norm"),
    "batch_norm": ("native_batch_norm", "_native_batch_norm_legit_no_training", "batch_norm", "cudnn_batch_norm"),
    "reduction": (
        "mean", "sum", "amax", "amin", "max", "min", "argmax", "argmin", "cumsum", "topk", "sort", "var", "std",
        "var_mean", "prod", "any", "all",
    ),
    "pooling": (
        "max_pool2d_with_indices", "avg_pool2d", "avg_pool1d", "avg_pool3d", "max_pool3d_with_indices",
        "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d",
    ),
}  # fmt: skip
_ONNX: Mapping[str, tuple[str, ...]] = {
    "view": (
        "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Size", "Constant", "ConstantOfShape",
        "Range", "Dropout",
    ),
    "strided": ("Transpose", "Slice", "Split"),
    "copy": (
        "Concat", "Gather", "GatherElements", "GatherND", "Pad", "Tile", "Expand", "ScatterND", "ScatterElements",
        "Resize", "Upsample", "SpaceToDepth", "DepthToSpace", "Trilu", "Where",
    ),
    "exponential": (
        "Softmax", "LogSoftmax", "Erf", "Gelu", "FastGelu", "QuickGelu", "BiasGelu", "Tanh", "Sigmoid", "Exp", "Log",
        "Elu", "Selu", "Celu", "Softplus", "Mish", "Sin", "Cos", "Swish",
    ),
    "normalization": (
        "LayerNormalization", "InstanceNormalization", "GroupNormalization", "GroupNorm", "SkipLayerNormalization",
        "RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "LpNormalization",
        "MeanVarianceNormalization", "LRN", "EmbedLayerNormalization",
    ),
    "batch_norm": ("BatchNormalization",),
    "reduction": (
        "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ArgMax",
        "ArgMin", "CumSum", "TopK",
    ),
    "pooling": ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"),
}  # fmt: skip
_TORCH_KINDS = {name: kind for kind, names in _TORCH.items() for name in names}
_ONNX_KINDS = {name: kind for kind, names in _ONNX.items() for name in names}
# They read as many rows of a table as they write, not all of it.
_LOOK_UPS = ("embedding", "index", "index_select", "gather", "Gather", "GatherElements", "GatherND")
_FOUR_BYTES = 4
# Numbers that lie side by side from which on they are moved together: a cache line.
_TOGETHER = 16


class OperationTally:
    """Adds up operations by kind; `work` gives them for one of `cases`."""

    def __init__(self) -> None:
        self._sums: dict[str, list[int]] = {}

    def add(self, kind: str, read: int = 0, written: int = 0, flops: int = 0) -> None:
        """Count one operation of a kind, with its bytes and FLOPs."""
        sums = self._sums.setdefault(kind, [0, 0, 0, 0])
        for place, number in enumerate((1, read, written, flops)):
            sums[place] += number

    def work(self, cases: int) -> dict[str, OperationWork]:
        """Return the count of each kind, and bytes and FLOPs of one case."""
        return {
            kind: OperationWork(count, read // cases, written // cases, flops // cases)
            for kind, (count, read, written, flops) in sorted(self._sums.items())
        }


class TorchWork:
    """Notes the operations of a torch forward pass; what rests on weights alone is no work of a graph, and left out.

    `inputs` are the model's, `weights` its parameters and buffers. `counting` has a formula for each operation that
    multiplies, and knows in which modules one runs: `flops_in` are the FLOPs without weights by module, of all cases.
    `made` are arrays that were made of neither and read with an input, such as masks, by what a file can share them by.
    `flow` is told of every operation outside recurrent layers.
    """

    def __init__(
        self,
        inputs: "Iterable[torch.Tensor]",
        weights: "Iterable[torch.Tensor]",
        counting: "FlopCounterMode",
        flow: "Dataflow",
    ) -> None:
        self.flow = flow
        self.tally = OperationTally()
        self.flops_in: dict[str, int] = {}
        self.made: dict[tuple[object, ...], int] = {}
        self._made: set[int] = set()
        self._computed = {_storage(tensor)._cdata for tensor in inputs}
        self._weights = {_storage(tensor)._cdata for tensor in weights}
        self._counting = counting

    def note(
        self, function: Any, given: "list[torch.Tensor]", results: "list[torch.Tensor]", *arguments: Any, inside: bool
    ) -> None:
        """Note an operation of tensors `given` with `results`; `arguments` are its positional and its named ones.

        One `inside` a recurrent layer is that layer's, and only followed.
        """
        computed = [tensor for tensor in given if _storage(tensor)._cdata in self._computed]
        weighted = any(_storage(tensor)._cdata in self._weights for tensor in given)
        for tensor in results:
            self._follow(tensor, self._computed if computed else self._weights if weighted else self._made)
        for tensor in given if computed else ():
            if _storage(tensor)._cdata in self._made:
                self.made[tuple(tensor.shape), tensor.dtype] = min(_bytes(tensor), _storage(tensor).nbytes())
        name = function.overloadpacket.__name__.removesuffix("_")
        if not inside:
            self.flow.note(name, given, results)
        if inside or not computed or not results:
            return
        formula = self._counting.flop_registry.get(function.overloadpacket)
        written = sum(map(_bytes, results))
        if formula is not None:
            if not weighted:
                positional, named = arguments
                first = results[0] if len(results) == 1 else tuple(results)
                self._product(name, computed, written, formula(*positional, **named, out_val=first))
            return
        kind = _TORCH_KINDS.get(name, "elementwise")
        shapes = [tuple(tensor.shape) for tensor in given]
        if name in ("cat", "stack") and _joins_few(shapes, _axis(*arguments), stacked=name == "stack"):
            kind = "scattered"
        read = written if name in _LOOK_UPS else sum(map(_bytes, computed))
        self.tally.add(kind, read, written)

    def constant_bytes(self, cases: int) -> int:
        """Return the bytes of arrays of neither inputs nor weights, which a file holds; not those of a row a case."""
        return sum(size for (shape, _), size in self.made.items() if isinstance(shape, tuple) and shape[:1] != (cases,))

    def _product(self, name: str, given: "list[torch.Tensor]", written: int, flops: int) -> None:
        self.tally.add("product", sum(map(_bytes, given)), written, flops)
        for module in self._counting.mod_tracker.parents:
            self.flops_in[module] = self.flops_in.get(module, 0) + flops
        if "attention" in name:
            query, key = given[:2]
            scores = math.prod(query.shape[:-1]) * key.shape[-2] * query.element_size()
            self.tally.add("exponential", scores, scores)

    @staticmethod
    def _follow(tensor: "torch.Tensor", origin: set[int]) -> None:
        storage = _storage(tensor)
        if storage._cdata not in origin:
            origin.add(storage._cdata)
            weakref.finalize(storage, origin.discard, storage._cdata)


def _storage(tensor: "torch.Tensor") -> Any:
    return tensor.untyped_storage()


def _bytes(tensor: "torch.Tensor") -> int:
    return tensor.numel() * tensor.element_size()


def graph_work(
    counted: "Iterable[tuple[onnx.NodeProto, int | None]]",
    constants: Iterable[str],
    shapes: Mapping[str, tuple[int, ...]],
    cases: int,
) -> dict[str, OperationWork]:
    """Count the nodes of a graph that multiply by no weights, each with its FLOPs, which may be unknown.

    `constants` are tensors that the file holds; what rests on these alone is computed once. Numbers take four bytes.
    """
    tally, fixed = OperationTally(), set(constants)
    sizes = {name: _FOUR_BYTES * math.prod(shape) for name, shape in shapes.items()}
    for node, flops in counted:
        operator = node.op_type
        given = [name for name in node.input if name]
        computed = [name for name in given if name not in fixed]
        if not computed:
            fixed.update(node.output)
        elif not flops:
            written = sum([sizes.get(name, 0) for name in node.output])
            kind = _ONNX_KINDS.get(operator, "elementwise")
            if operator == "Concat":
                axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
                few = _joins_few([shapes[name] for name in given if name in shapes], axis)
                kind = "scattered" if few else kind
            read = written if operator in _LOOK_UPS else sum([sizes.get(name, 0) for name in computed])
            tally.add(kind, read, written)
        elif not any(_is_matrix(shapes.get(name)) for name in given if name in fixed):
            read, written = (sum(sizes.get(name, 0) for name in names) for names in (computed, node.output))
            tally.add("product", read, written, flops)
    return tally.work(cases)


def _axis(given: Sequence[Any], named: Mapping[str, Any]) -> int:
    """Return the axis that torch's cat or stack was called with."""
    return int(given[1] if len(given) > 1 else named.get("dim", 0))


def _joins_few(shapes: Sequence[Sequence[int]], axis: int, *, stacked: bool = False) -> bool:
    """Whether arrays that are joined, or stacked, along an axis have few numbers side by side there."""
    rank = len(shapes[0]) + stacked if shapes else 0
    place = axis + rank if axis < 0 else axis
    return rank > 1 and any(math.prod(shape[place:]) < _TOGETHER for shape in shapes)


def _is_matrix(shape: tuple[int, ...] | None) -> bool:
    return shape is None or len(shape) > 1
