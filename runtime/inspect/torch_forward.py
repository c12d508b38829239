"""Run a torch model on two cases of its inputs' shapes, and record its outputs, FLOPs and activation memory.

FLOPs are two per multiply-add, fused kernels included; operations that have no known count are noted, and so are the
weights that the forward pass does not read.
"""

import math
import re
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch  # noqa: TID253 - the file defines a torch dispatch mode
from torch.nn.modules.module import register_module_forward_pre_hook  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253
from torch.utils._pytree import tree_leaves  # noqa: TID253
from torch.utils.flop_counter import FlopCounterMode  # noqa: TID253
from torch.utils.hooks import RemovableHandle  # noqa: TID253

from titrant.runtime.backends.session import insisted_batch
from titrant.runtime.backends.torch.arguments import arguments_of
from titrant.runtime.backends.torch.call import raised_by_torch
from titrant.runtime.backends.torch.determinism import uncompiled
from titrant.runtime.backends.torch.reduced.blocks import watched
from titrant.runtime.inspect.exported_graph import ExportedGraph, causal_mask_bytes, exported_graph
from titrant.runtime.inspect.graph.activation_ranges import Dataflow
from titrant.runtime.inspect.graph.flops import TensorShape
from titrant.runtime.inspect.operation_work import TorchWork
from titrant.runtime.inspect.recurrent import check_name
from titrant.runtime.user_code import RaisedError, call, call_unforked, reason_of
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import OperationWork, TensorSpec
from titrant.schema.values.text import first_line

# Two cases, so that an output's batch dimension can be told from one that happens to be 1.
CASES = 2
MISFIT = "check `model.args` and `data.inputs`: the model must take the data's shape, and the `dtype` of `model.inputs`"


@dataclass(frozen=True)
class ForwardPass:
    """What a forward pass of two cases showed; FLOPs and bytes are those of one case."""

    outputs: tuple[TensorSpec, ...]
    flops: int | None
    flops_by_module: Mapping[str, int]  # of products with weights
    activation_bytes: int | None
    uncounted: tuple[str, ...] = ()  # operations that may multiply matrices and have no known FLOPs
    unread: frozenset[str] = frozenset()  # parts with weights of their own of which none was read
    uncalled: frozenset[str] = frozenset()  # parts whose weights were read without calling them, or at fixed places
    excitations: frozenset[str] = frozenset()  # layers that compute the gates of a squeeze and excitation
    operations: int = 0  # that an exported file has a node or more for
    exported: ExportedGraph = field(default_factory=ExportedGraph)
    work: Mapping[str, OperationWork] = field(default_factory=dict)  # by kind, what multiplies by no weights
    blocks: tuple[str, ...] = ()  # parts that an identity can stand for

    @property
    def notes(self) -> tuple[str, ...]:
        """Say why the FLOPs are unknown, where they are."""
        names = ", ".join(self.uncounted)
        return (f"FLOPs are not known: titrant has no count of {names}",) if self.uncounted else ()


NO_STATE: Mapping[str, str] = {}
NOT_RUN = ForwardPass((), None, {}, None)


def run_forward(
    name: str,
    module: torch.nn.Module,
    specs: Sequence[TensorSpec],
    task: str,
    advice: str = MISFIT,
    *,
    feeds: Mapping[str, str] = NO_STATE,
) -> ForwardPass:
    """Run a module in evaluation mode on two cases, without gradients; errors call it `name` and give `advice`.

    A model that insists on a batch size gets that many cases. `feeds` are output → input of recurrent state, in which
    the batch need not be first.

    Whether tensors have values is the caller's choice, by the mode that it enters first. Raises StepError X156 when the
    forward pass fails, or returns anything but tensors whose first dimension is the batch, X223 when the forward has no
    inputs of these names.
    """
    place = next((tensor.device for tensor in module.parameters()), None)
    state = feeds.values()
    cases = insisted_batch([(spec.name, spec.shape, spec.dtype) for spec in specs if spec.name not in state]) or CASES
    sizes = [_sizes(spec, cases, is_state=spec.name in state) for spec in specs]
    inputs = [
        torch.zeros(size, dtype=getattr(torch, spec.dtype), device=place)
        for spec, size in zip(specs, sizes, strict=True)
    ]
    arguments = arguments_of(module, tuple(spec.name for spec in specs))
    weights = [*module.parameters(), *module.buffers()]
    counting = counter()
    flow = Dataflow(inputs)
    work = TorchWork(inputs, weights, counting, flow)
    peak = ActivationPeak([*weights, *inputs], module, work)
    uncounted = Uncounted(counting)
    shapes = ", ".join(f"{spec.name} {spec.dtype} ({', '.join(map(str, spec.shape))})" for spec in specs)
    with torch.no_grad(), uncompiled(), uncounted, counting, peak, _called(cases) as parts, watched(module) as seen:
        try:
            what = f"{name}, shown {shapes},"
            answer = call(what, call_unforked, name, lambda: arguments.call(module, inputs))
        except StepError as error:
            if not isinstance(error, RaisedError):
                raise
            failed = replace(error.diagnostics[0], code="X156", help=advice)
            cause = error.__context__
            if isinstance(cause, RuntimeError) and raised_by_torch(cause):
                # It was shown zeros: of which shapes and types torch says.
                failed = replace(failed, message=f"{failed.message}: {first_line(cause)}", said="")
            raise RaisedError(failed, reason_of(error)) from None
    outputs = _outputs(name, answer, task, cases, feeds)
    counts = {
        path: (sum(kinds.values()) - work.flops_in.get(path, 0)) // cases
        for path, kinds in counting.get_flop_counts().items()
    }
    # The counter puts the class's name before each path.
    prefix = type(module).__name__ + "."
    by_module = {
        path.removeprefix(prefix): flops
        for path, flops in counts.items()
        if path.startswith(prefix) and path not in uncounted.modules
    }
    flops = None if uncounted.operations else counting.get_total_flops() // cases
    unread = frozenset(path for path, part in module.named_modules() if _unread(part, peak))
    uncalled = frozenset(_uncalled(module, parts)) - unread
    return ForwardPass(
        outputs,
        flops,
        by_module,
        peak.peak_bytes // cases,
        tuple(sorted(uncounted.operations)),
        unread,
        uncalled,
        flow.excitations(module),
        peak.operations,
        exported_graph(peak.names, peak.mask_bytes + work.constant_bytes(cases), flow.ranges(), flow.further_layers),
        work.tally.work(cases),
        tuple(block.name for block in seen.blocks()),
    )


@contextmanager
def _called(cases: int) -> Iterator[set[int]]:
    """Gather the identities of the modules that are called, but of tables that are read at the same places every time.

    What is looked up without the batch is a constant: a file may hold it in place of the table.
    """
    parts: set[int] = set()

    def note(part: torch.nn.Module, given: tuple[Any, ...]) -> None:
        places = given[0] if isinstance(part, torch.nn.Embedding) and given else None
        if not isinstance(places, torch.Tensor) or (places.ndim and len(places) == cases):
            parts.add(id(part))

    hook = register_module_forward_pre_hook(note)
    try:
        yield parts
    finally:
        hook.remove()


def _uncalled(module: torch.nn.Module, called: Collection[int]) -> Iterator[str]:
    """Name the parts with weights of their own that were not called; what lies in torch's own layers is theirs."""
    parts = dict(module.named_modules())
    for name, part in parts.items():
        around = parts[name.rpartition(".")[0]] if name else part
        inside = (
            type(around).__module__.startswith("torch.") and next(around.parameters(recurse=False), None) is not None
        )
        if id(part) not in called and not inside and next(part.parameters(recurse=False), None) is not None:
            yield name


def _unread(part: torch.nn.Module, peak: "ActivationPeak") -> bool:
    own = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    return bool(own) and not any(peak.reads(tensor) for tensor in own)


def _sizes(spec: TensorSpec, cases: int, *, is_state: bool) -> tuple[int, ...]:
    if is_state:
        return tuple(size if isinstance(size, int) else cases for size in spec.shape)
    return (*((cases,) if spec.shape else ()), *map(int, spec.shape[1:]))


def _outputs(model: str, answer: Any, task: str, cases: int, feeds: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    named = dict(named_outputs(answer, task))
    for name in feeds:
        check_name(name, list(named), "output", f"model.state.{name}")
    for name, tensor in named.items():
        if not isinstance(tensor, torch.Tensor):
            raise StepError(
                Diagnostic("X156", f"{model} answers with {type(tensor).__name__}", help="return a tensor, or several")
            )
        if name not in feeds and (not tensor.ndim or tensor.shape[0] != cases):
            raise StepError(
                Diagnostic(
                    "X156",
                    f"{model} answers {cases} cases with {name} of shape {tuple(tensor.shape)}",
                    help="the first dimension of an output is the batch"
                    + (", and what is state stands in model.state: output → input" if feeds else ""),
                )
            )
    return tuple(
        TensorSpec(name, _freed(tensor.shape, cases, name in feeds), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in named.items()
    )


def _freed(shape: Sequence[int], cases: int, is_state: bool) -> tuple[int | str, ...]:
    return tuple(shape) if is_state else ("batch", *shape[1:])


def named_outputs(answer: Any, task: str) -> Iterator[tuple[str, Any]]:
    """Name a model's outputs: by key, by place, or for a single one by the task."""
    if isinstance(answer, Mapping):
        yield from ((str(name), tensor) for name, tensor in answer.items())
    elif isinstance(answer, (tuple, list)):
        yield from ((f"output_{place}", tensor) for place, tensor in enumerate(answer))
    else:
        yield ("logits" if task.endswith("classification") else "output"), answer


def counter() -> FlopCounterMode:
    """Return torch's counter, extended by kernels that it does not know.

    Those are fused attention and recurrent layers, matrix-vector and integer products, bilinear layers, and
    convolutions over time. Element-wise operations, look-ups and pooling count as zero.
    """
    aten = torch.ops.aten
    formulas: Mapping[Any, Callable[..., int]] = {
        aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
        aten._scaled_dot_product_fused_attention_overrideable: attention_flops,
        aten._scaled_dot_product_attention_math_for_mps: attention_flops,
        aten.mkldnn_rnn_layer: recurrent_flops,
        aten._cudnn_rnn: packed_recurrent_flops,
        aten.mv: vector_flops,
        aten.dot: vector_flops,
        aten.vdot: vector_flops,
        aten.addmv: lambda _, matrix, *__, **___: vector_flops(matrix),
        aten.addbmm: lambda _, left, right, *__, **___: 2 * math.prod(left) * right[-1],
        aten._int_mm: lambda left, right, *_, **__: 2 * math.prod(left) * right[-1],
        aten._weight_int8pack_mm: lambda left, right, *_, **__: 2 * math.prod(left) * right[0],
        aten._trilinear: bilinear_flops,
        aten.conv_tbc: lambda _, weight, *__, out_shape, **___: 2 * math.prod(out_shape) * math.prod(weight[:2]),
    }
    return FlopCounterMode(display=False, custom_mapping=dict(formulas))


def attention_flops(query: TensorShape, key: TensorShape, value: TensorShape, *_: Any, **__: Any) -> int:
    """Count both matrix products of attention; shapes (batch, heads, sequence, width)."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[-2] * (width + value[-1])


def recurrent_flops(steps: TensorShape, inner: TensorShape, outer: TensorShape, *_: Any, **__: Any) -> int:
    """Count a recurrent layer's products with its two weight matrices, at every step of every case."""
    return 2 * steps[0] * steps[1] * (math.prod(inner) + math.prod(outer))


def packed_recurrent_flops(steps: TensorShape, weights: Sequence[TensorShape], *_: Any, **__: Any) -> int:
    """Count several recurrent layers in one kernel: each step of each case is multiplied by every weight matrix."""
    matrices = [weight for weight in weights if len(weight) > 1]
    return 2 * math.prod(steps[:-1]) * sum(math.prod(weight) for weight in matrices)


def vector_flops(matrix: TensorShape, *_: Any, **__: Any) -> int:
    """Count a product of a matrix, or of a vector, with a vector."""
    return 2 * math.prod(matrix)


def bilinear_flops(left: TensorShape, weight: TensorShape, right: TensorShape, *_: Any, **__: Any) -> int:
    """Count a bilinear layer, (batch, in) with (out, in, other) and then with (batch, other)."""
    out, inner, other = weight
    return 2 * left[0] * out * (inner * other + other)


_FOLDED = ("t", "detach", "empty", "lift_fresh", "native_batch_norm", "alias")  # which an exported file has no node for


class ActivationPeak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the storages that come up inside and are still referenced; `peak_bytes` is the largest sum.

    `present` are tensors that were there before, and do not count; `reads` tells whether an operation took one, and
    `operations` how many ran: of a recurrent layer of `module` one, as an exported file has one node for all its steps.
    `names` are those of all operations, `mask_bytes` the largest mask of causal attention among them.
    `work` is told of every operation outside such layers, and of these.
    """

    def __init__(
        self, present: list[torch.Tensor], module: torch.nn.Module | None = None, work: TorchWork | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self.operations = 0
        self.names: list[str] = []
        self.mask_bytes = 0
        self._work = work
        self._recurrent = [part for part in module.modules() if isinstance(part, torch.nn.RNNBase)] if module else []
        self._hooks: list[RemovableHandle] = []
        self._inside = False
        self._alive_bytes = 0
        self._present = {tensor.untyped_storage()._cdata for tensor in present}
        self._seen = set(self._present)
        self._read: set[int] = set()

    def __enter__(self) -> "ActivationPeak":
        """Watch the recurrent layers too."""
        for part in self._recurrent:
            self._hooks.append(part.register_forward_pre_hook(self._at_recurrent))
            self._hooks.append(part.register_forward_hook(self._at_recurrent))
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *error: Any) -> None:
        """Leave the module as it was."""
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)

    def _at_recurrent(self, part: Any, given: Any, *made: Any) -> None:
        self._inside = not made
        self.operations += not self._inside
        if self._work is not None and made:
            self._work.flow.note_recurrent(part, given, made)

    def reads(self, tensor: torch.Tensor) -> bool:
        """Tell whether an operation took a known tensor, or another one in its storage."""
        return tensor.untyped_storage()._cdata in self._read

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count the storages of its results that are new."""
        given = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)]
        self._read |= self._present.intersection(tensor.untyped_storage()._cdata for tensor in given)
        name = function.overloadpacket.__name__
        self.operations += not self._inside and name not in _FOLDED
        if not self._inside:
            self.names.append(name)
            self.mask_bytes = max(self.mask_bytes, causal_mask_bytes(name, args, kwargs or {}))
        result = function(*args, **(kwargs or {}))
        made = [tensor for tensor in tree_leaves(result) if isinstance(tensor, torch.Tensor)]
        for tensor in made:
            self._count(tensor)
        if self._work is not None:
            self._work.note(function, given, made, args, kwargs or {}, inside=self._inside)
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self._alive_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._alive_bytes)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._alive_bytes -= size


# Namespaces whose operations multiply matrices only where their names say so.
_KNOWN = ("aten", "prim", "prims", "profiler")
_PRODUCTS = re.compile(r"(?:^|_)(?:\w*mm|\w*mv|v?dot|(?:tri|bi)?linear|\w*attention|\w*lstm|gru|rnn|conv\w*)(?:_|\d|$)")
# Interpolation, and the element-wise part of recurrent cells, whose products are operations of their own.
_PLAIN = re.compile(r"^_?(?:upsample|thnn)")


class Uncounted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gathers the operations that ran inside and that `counting` has no FLOPs for; enter it before the counter.

    `operations` are their names, `modules` the modules of the model that they ran in, as the counter names them.
    """

    def __init__(self, counting: FlopCounterMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: set[str] = set()
        self.modules: set[str] = set()
        self._counting = counting

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation and note it where it may multiply matrices uncounted."""
        packet = function.overloadpacket
        if packet not in self._counting.flop_registry and _multiplies(function.namespace, packet.__name__):
            self.operations.add(str(packet))
            self.modules |= set(self._counting.mod_tracker.parents)
        return function(*args, **(kwargs or {}))


def _multiplies(namespace: str, name: str) -> bool:
    if namespace not in _KNOWN:
        return True
    return bool(_PRODUCTS.search(name)) and not _PLAIN.match(name)
