"""Time the modules of a torch model: by global hooks, since hooks of a module's own switch fused layers off."""

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253
from torch.utils._pytree import tree_leaves  # noqa: TID253

from titrant.runtime.backends.profile import (
    WARM,
    EngineProfile,
    LayerSpan,
    TimedLayer,
    in_turns,
    undisturbed,
    undisturbed_runs,
)
from titrant.runtime.backends.torch.determinism import uncompiled
from titrant.runtime.backends.torch.executed import format_of, own_layer, precision_in
from titrant.runtime.backends.torch.session import open_session
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    from titrant.runtime.backends.session import Session
    from titrant.runtime.values import TorchModel

# aten's operations that multiply: a module that calls one itself is a layer, whatever else it holds.
_PRODUCTS = re.compile(
    r"^_?(?:\w*mm|\w*mv|v?dot|matmul|einsum|\w*linear|\w*attention\w*|\w*conv(?:olution|\dd|_\w+)\w*|lstm|gru|\w*rnn\w*|"
    r"transformer_encoder_layer_fwd)$"
)
_NO_WORK = ("view", "t", "transpose", "permute", "expand", "detach", "alias", "unsqueeze", "squeeze", "slice", "select")
_MOST_NAMED = 4
_NOBODY, _UNCALLED = "\0", "not called"


def profile_modules(
    model: "TorchModel",
    inputs: Mapping[str, np.ndarray],
    *,
    threads: int = 1,
    device: str = "cpu",
    layers: Collection[str] = (),
    seconds: float = 1.0,
) -> EngineProfile:
    """Time every module that is called, without those that it calls; on a device it is waited for around each.

    A layer is a module that calls no other, holds weights itself or multiplies itself; what is left, as sums between
    modules and what torch takes to call them, is no layer. Raises what answering the batch raises.
    """
    from titrant.runtime.backends.session import adapted

    opened = open_session(model, threads=threads, device=device)
    session, module = adapted(opened), opened.module
    seen = _look(session, module, inputs)
    clock = _Clock(module, _waiting(device), ranges=device.startswith("cuda"))
    wholes: list[_Whole] = []

    def profiled() -> None:
        with clock.watching():
            spent, begin = time.process_time(), time.perf_counter()
            session.run(inputs)
            wholes.append(_Whole(begin, time.perf_counter() - begin, time.process_time() - spent))

    turns = in_turns(lambda: session.run(inputs), profiled, seconds)
    runs, watched = clock.runs[WARM:], wholes[WARM:]
    by_cpu = threads == 1 and device == "cpu"
    taken = [whole.cpu_seconds if by_cpu else whole.seconds for whole in watched]
    added = undisturbed(taken) - undisturbed(turns.cpu if by_cpu else turns.plain)
    cost = _hook_cost(_waiting(device)).fitted(added / max(len(runs[-1]), 1), by_cpu=by_cpu)
    kept = undisturbed_runs(taken)
    own, own_cpu = _own_seconds([runs[place] for place in kept], cost)
    outside = sum(_outside(runs[place], watched[place], cost, by_cpu=by_cpu) for place in kept) / len(kept)
    rows = (
        replace(row, name=own_layer(row.name, layers) or row.name) if row.name else row
        for row in _rows(module, seen, own, own_cpu)
    )
    profile = turns.profile(tuple(rows), outside, tuple(_spans(module, runs[-1], wholes[-1].begin)))
    return replace(profile, notes=(*_notes(module), *metal_capture(device, lambda: session.run(inputs))))


@dataclass
class _Call:
    """One call of a module: when it began and ended by the wall clock, and CPU seconds; those of calls inside apart."""

    name: str
    begin: float
    cpu_begin: float
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    inside: float = 0.0
    cpu_inside: float = 0.0
    calls: int = 0
    outermost: bool = False


class _Clock:
    """Notes every call of a module's parts while it is watching; `runs` has the calls of each run, as they began."""

    def __init__(self, module: torch.nn.Module, wait: Callable[[], None], *, ranges: bool) -> None:
        self.runs: list[list[_Call]] = []
        self._names = {id(part): name for name, part in module.named_modules()}
        self._wait = wait
        self._ranges = ranges
        self._open: list[_Call] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note one run."""
        self.runs.append([])
        hooks = (register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._open.clear()

    def _enter(self, part: torch.nn.Module, _: Any) -> None:
        name = self._names.get(id(part))
        if name is None:
            return
        self._wait()
        if self._ranges:
            torch.cuda.nvtx.range_push(name or type(part).__name__)
        call = _Call(name, 0.0, 0.0, outermost=not self._open)
        self.runs[-1].append(call)
        self._open.append(call)
        call.cpu_begin = time.process_time()
        call.begin = time.perf_counter()

    def _leave(self, part: torch.nn.Module, *_: Any) -> None:
        if id(part) not in self._names:
            return
        self._wait()
        end, spent = time.perf_counter(), time.process_time()
        call = self._open.pop()
        call.seconds, call.cpu_seconds = end - call.begin, spent - call.cpu_begin
        if self._ranges:
            torch.cuda.nvtx.range_pop()
        if self._open:
            above = self._open[-1]
            above.inside += call.seconds
            above.cpu_inside += call.cpu_seconds
            above.calls += 1


def _waiting(device: str) -> Callable[[], None]:
    """Return what waits until a device has done all that was handed to it."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return torch.mps.synchronize if kind == "mps" else lambda: None


@dataclass(frozen=True)
class _Whole:
    """One watched run: when it began, and what it took."""

    begin: float
    seconds: float
    cpu_seconds: float


# How far the cost of watching a call, as measured on modules that do nothing, may be from what it adds to this model.
_LEAST_FIT, _MOST_FIT = 0.5, 3.0


@dataclass(frozen=True)
class _HookCost:
    """What watching one call adds, by the wall clock and in CPU time: to the call itself, and to whoever makes it."""

    inside: float
    around: float
    cpu_inside: float
    cpu_around: float

    def fitted(self, added: float, *, by_cpu: bool) -> "_HookCost":
        """Return the cost in proportion to what watching added to a call of the model itself, by one of the clocks.

        Modules that do nothing find the hooks in the caches; between layers that work they are read anew. Where layers
        take long, what was added is lost in their dispersion: then the cost stays near to what was measured.
        """
        measured = self.cpu_inside + self.cpu_around if by_cpu else self.inside + self.around
        fit = min(max(added / max(measured, 1e-9), _LEAST_FIT), _MOST_FIT)
        return _HookCost(self.inside * fit, self.around * fit, self.cpu_inside * fit, self.cpu_around * fit)


def _outside(run: Sequence[_Call], whole: _Whole, cost: _HookCost, *, by_cpu: bool) -> float:
    """Return what a watched run takes outside the calls of modules, without what watching took."""
    calls = [call for call in run if call.outermost]
    if by_cpu:
        return whole.cpu_seconds - sum(call.cpu_seconds + cost.cpu_around for call in calls)
    return whole.seconds - sum(call.seconds + cost.around for call in calls)


def _hook_cost(wait: Callable[[], None], calls: int = 64, rounds: int = 9) -> _HookCost:
    """Measure that here, on modules that do nothing."""
    parts = torch.nn.Sequential(*(torch.nn.Identity() for _ in range(calls)))
    clock = _Clock(parts, wait, ranges=False)
    number = torch.zeros(1)
    plain, cpu = [], []
    for _ in range(rounds):
        spent, begin = time.process_time(), time.perf_counter()
        parts(number)
        plain.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - spent)
        with clock.watching():
            parts(number)
    whole = [run[0] for run in clock.runs]
    return _HookCost(
        undisturbed([call.inside for call in whole]) / calls,
        max(undisturbed([call.seconds - call.inside for call in whole]) - undisturbed(plain), 0.0) / calls,
        undisturbed([call.cpu_inside for call in whole]) / calls,
        max(undisturbed([call.cpu_seconds - call.cpu_inside for call in whole]) - undisturbed(cpu), 0.0) / calls,
    )


@dataclass
class _Part:
    """What a look at one run showed of a module: the tensors around it, and the operations that it called itself."""

    calls: int = 0
    holds: bool = False  # it called others
    multiplies: bool = False
    read_bytes: int = 0
    answer_bytes: int = 0
    answer: str = ""  # the number format of its answer
    operations: dict[str, None] = field(default_factory=dict)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that run inside, for the innermost module that is being called."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._note = note

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and note its name."""
        self._note(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def _look(session: "Session", module: torch.nn.Module, inputs: Mapping[str, np.ndarray]) -> dict[str, _Part]:
    """Answer the batch once, off the clock, and return what was seen of each module by name; "" is the whole."""
    names = {id(part): name for name, part in module.named_modules()}
    seen: dict[str, _Part] = {}
    stack = [_Part()]

    def enter(part: torch.nn.Module, _: Any) -> None:
        if id(part) in names:
            stack[-1].holds = True
            stack.append(seen.setdefault(names[id(part)], _Part()))

    def leave(part: torch.nn.Module, given: Any, named: Any, answer: Any) -> None:
        if id(part) in names:
            noted = stack.pop()
            noted.calls += 1
            noted.read_bytes += _bytes((given, named))
            noted.answer_bytes += _bytes(answer)
            noted.answer = noted.answer or _format(answer)

    def note(name: str) -> None:
        stack[-1].operations[name] = None
        stack[-1].multiplies |= _PRODUCTS.match(name) is not None

    hooks = (register_module_forward_pre_hook(enter), register_module_forward_hook(leave, with_kwargs=True))
    try:
        with uncompiled(), _Operations(note):
            session.run(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _bytes(values: Any) -> int:
    tensors = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _format(answer: Any) -> str:
    tensors = [value for value in tree_leaves(answer) if isinstance(value, torch.Tensor) and value.is_floating_point()]
    return format_of(tensors[0]) if tensors else ""


def _rows(
    module: torch.nn.Module, seen: Mapping[str, _Part], seconds: Mapping[str, float], cpu: Mapping[str, float]
) -> Iterator[TimedLayer]:
    """Yield the layers in the order in which they are called, then those with weights that are not, then the rest."""
    parts = dict(module.named_modules())
    layers = [name for name, noted in seen.items() if _is_layer(parts[name], noted)]
    belongs: dict[str, list[str]] = {}
    for name in parts:
        belongs.setdefault(_nearest(name, layers, seen), []).append(name)
    for name in layers:
        noted = seen[name]
        yield TimedLayer(
            name=name or type(module).__name__,
            kind=type(parts[name]).__name__,
            engine_op=", ".join(_named(noted.operations)),
            precision=precision_in(parts[name], noted.answer),
            seconds=seconds[name],
            cpu_seconds=cpu[name],
            calls=noted.calls,
            read_bytes=noted.read_bytes,
            answer_bytes=noted.answer_bytes,
            parts=tuple(belongs.get(name, ())),
        )
    for name in belongs.get(_NOBODY, ()):
        if next(parts[name].parameters(recurse=False), None) is not None:
            yield TimedLayer(name, type(parts[name]).__name__, _UNCALLED, "", 0.0, 0.0, calls=0, parts=(name,))
    others = [name for name in seen if name not in layers]
    operations = dict.fromkeys(operation for name in others for operation in seen[name].operations)
    rest, rest_cpu = (sum(taken[name] for name in others) for taken in (seconds, cpu))
    yield TimedLayer("", "", ", ".join(_named(operations)), "", rest, rest_cpu, calls=len(others))


def _is_layer(part: torch.nn.Module, noted: _Part) -> bool:
    held = next(part.parameters(recurse=False), None) is not None
    return not noted.holds or noted.multiplies or held


def _nearest(name: str, layers: Collection[str], seen: Mapping[str, _Part]) -> str:
    """Return the layer that a module is, or the one around it that does its work without calling it."""
    if name in layers:
        return name
    around = name
    while around:
        around = around.rpartition(".")[0]
        if around in seen:
            return _NOBODY if seen[around].holds or around not in layers else around
    return _NOBODY


def _own_seconds(runs: Sequence[Sequence[_Call]], cost: _HookCost) -> tuple[dict[str, float], dict[str, float]]:
    """Return what each module takes in the mean of these runs, without those that it calls and what watching takes."""
    wall, cpu = dict[str, float](), dict[str, float]()
    for call in (call for run in runs for call in run):
        seconds = call.seconds - call.inside - cost.inside - call.calls * cost.around
        spent = call.cpu_seconds - call.cpu_inside - cost.cpu_inside - call.calls * cost.cpu_around
        wall[call.name] = wall.get(call.name, 0.0) + seconds
        cpu[call.name] = cpu.get(call.name, 0.0) + spent
    return _mean(wall, len(runs)), _mean(cpu, len(runs))


def _mean(sums: Mapping[str, float], runs: int) -> dict[str, float]:
    return {name: max(seconds / runs, 0.0) for name, seconds in sums.items()}


def _named(operations: Collection[str]) -> Iterator[str]:
    """Yield the operations that do work, some of many."""
    working = [name.strip("_") for name in operations if name.strip("_") not in _NO_WORK] or list(operations)
    yield from working[:_MOST_NAMED]
    if len(working) > _MOST_NAMED:
        yield f"{len(working) - _MOST_NAMED} more"


def _spans(module: torch.nn.Module, run: Sequence[_Call], start: float) -> Iterator[LayerSpan]:
    parts = dict(module.named_modules())
    for call in run:
        yield LayerSpan(
            call.name or type(module).__name__, type(parts[call.name]).__name__, call.begin - start, call.seconds
        )


def _notes(module: torch.nn.Module) -> Iterator[str]:
    scripted = [name for name, part in module.named_modules() if isinstance(part, torch.jit.ScriptModule)]
    if scripted:
        first = scripted[0] or type(module).__name__
        yield f"{first} is scripted: torch calls no hooks inside it, so that it is one layer"


def metal_capture(device: str, run: Callable[[], object]) -> Iterator[str]:
    """Capture one run on an Apple GPU for Xcode where its process may; yield where it lies, or why there is none."""
    if not device.startswith("mps"):
        return
    if not torch.mps.profiler.is_metal_capture_enabled():
        yield "no Metal capture was made: start the process with MTL_CAPTURE_ENABLED=1 for one"
        return
    name = f"titrant-layers-{os.getpid()}"
    try:
        with torch.mps.profiler.metal_capture(name):
            run()
    except RuntimeError as error:  # the disk, or another capture that goes on
        yield f"no Metal capture was made: {first_line(error)}"
    else:
        yield f"the Metal capture of one batch, for Xcode, is {Path.cwd() / f'*-{name}.gputrace'}"
