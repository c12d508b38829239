"""Sample hardware in a thread, at an interval that keeps its own cost small."""

import os
import threading
import time

from titrant.runtime.instruments.hardware.accelerators import (
    Accelerator,
    AcceleratorGoneError,
    AcceleratorUse,
    accelerators,
)
from titrant.runtime.instruments.hardware.process import MachineUse, ProcessTree, ProcessUse, machine_use
from titrant.schema.values.frozen import dataclass

# The sampler's own CPU time, as a share of the time that passes: what takes longer is done less often.
_SHARE = 0.01


@dataclass(frozen=True)
class UseSample:
    """Hardware `seconds` after the beginning: CPU use over the last `span_seconds`, memory at that moment.

    `process_cores` is how many cores the process and its children kept busy (1.5: one and a half), `machine_cpu` the
    share of all logical cores that were busy with anything, 0..1, `cores` that of each where asked for.
    `process_bytes` is resident memory, what the children share counted in each of them. None where it cannot be read.
    """

    seconds: float
    span_seconds: float
    process_cores: float | None
    machine_cpu: float | None
    process_bytes: int | None
    machine_bytes: int | None
    devices: tuple[AcceleratorUse, ...] = ()
    cores: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Counters:
    at: float
    process: ProcessUse | None
    machine: MachineUse | None


class Sampler:
    """Samples a process and its machine between `start` and `stop`, no longer than `limit_seconds`.

    `notes` says once what became unreadable, and where sampling had to be rarer than every `interval` seconds so that
    it costs little. Nothing here raises once it has started.
    """

    def __init__(self, *, interval: float, limit_seconds: float, cores: bool = False, pid: int | None = None) -> None:
        self.samples: list[UseSample] = []
        self.notes: list[str] = []
        self.devices: tuple[Accelerator, ...] = accelerators()
        self._gone: set[int] = set()
        self._interval, self._limit, self._cores = interval, limit_seconds, cores
        self._tree = ProcessTree(os.getpid() if pid is None else pid)
        self._owner = os.getpid()
        self.cost_seconds = 0.0
        self._ended = threading.Event()
        self._held = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="titrant-watch", daemon=True)
        self._begun = time.monotonic()
        self._before = _Counters(self._begun, None, None)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    @property
    def logical_cores(self) -> int | None:
        """How many logical cores the machine has; None where it cannot be read."""
        return None if self._before.machine is None else len(self._before.machine.all_seconds)

    def start(self) -> None:
        """Begin to sample; the first sample comes after the first interval."""
        self._begun = time.monotonic()
        self._before = self._counters()
        self._thread.start()

    def hold(self) -> None:
        """Take no samples until `go_on`: something is timed."""
        self.take()
        with self._lock:
            self._held = True

    def go_on(self) -> None:
        """Sample again; what happened meanwhile is in no sample."""
        with self._lock:
            self._before = self._counters()
            self._held = False

    def stop(self) -> None:
        """End the thread, and take a last sample where the limit has not passed or there is none yet.

        In the child of a fork nothing is done: the thread, and what it may have locked, stayed with the parent.
        """
        if os.getpid() != self._owner:
            return
        self._ended.set()
        self._thread.join()
        if self.elapsed < self._limit or not self.samples:
            self.take()
        pause = self._pause()
        if pause > 1.5 * self._interval:
            each = self.cost_seconds / len(self.samples)
            self._say(
                f"a sample takes {each * 1e3:.2g} ms of CPU time here: taken about every {pause:.2g} s, not every "
                f"{self._interval:g} s"
            )

    def _run(self) -> None:
        due = self._interval
        while True:
            due = min(due, self._limit)
            if self._ended.wait(max(0.0, self._begun + due - time.monotonic())):
                return
            self.take()
            if due >= self._limit:
                return
            # What was missed, as while the callable let no other thread run, is not caught up with.
            due = max(due + self._pause(), self.elapsed)

    def _pause(self) -> float:
        """Return the seconds until the next sample: the interval, or what keeps their cost a small share."""
        return max(self._interval, self.cost_seconds / max(1, len(self.samples)) / _SHARE)

    def take(self) -> None:
        """Take a sample, unless sampling is held, and add up what that costs: of programs, the time that they take."""
        with self._lock:
            if self._held:
                return
            began, wall = time.thread_time(), time.monotonic()
            now = self._counters()
            devices = tuple(self._device(place, device) for place, device in enumerate(self.devices))
            self.samples.append(_sample(self._before, now, now.at - self._begun, devices, cores=self._cores))
            self._before = now
            asks_programs = any(device.asks_programs for device in self.devices)
            self.cost_seconds += time.monotonic() - wall if asks_programs else time.thread_time() - began

    def _counters(self) -> _Counters:
        try:
            machine = machine_use()
        except (OSError, RuntimeError, ValueError) as error:  # what psutil raises where the system does not say
            machine = None
            self._say(f"the machine's processors and memory cannot be read: {type(error).__name__}")
        process = self._tree.read()
        if process is None:
            self._say("the process cannot be read any more")
        return _Counters(time.monotonic(), process, machine)

    def _device(self, place: int, device: Accelerator) -> AcceleratorUse:
        if place in self._gone:
            return AcceleratorUse()
        try:
            return device.read()
        except AcceleratorGoneError as error:
            self._gone.add(place)
            self._say(f"{device.name} does not answer any more since {self.elapsed:.1f} s: {error}")
            return AcceleratorUse()

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _sample(
    before: _Counters, now: _Counters, seconds: float, devices: tuple[AcceleratorUse, ...], *, cores: bool
) -> UseSample:
    process_cores = machine_cpu = None
    by_core: tuple[float, ...] = ()
    passed = now.at - before.at
    if before.process is not None and now.process is not None and passed > 0:
        # A child that ends without being waited for takes its time with it.
        process_cores = max(0.0, now.process.cpu_seconds - before.process.cpu_seconds) / passed
    if before.machine is not None and now.machine is not None:
        machine_cpu, by_core = _shares(before.machine, now.machine)
    return UseSample(
        seconds=round(seconds, 3),
        span_seconds=round(passed, 3),
        process_cores=process_cores,
        machine_cpu=machine_cpu,
        process_bytes=None if now.process is None else now.process.resident_bytes,
        machine_bytes=None if now.machine is None else now.machine.taken_bytes,
        devices=devices,
        cores=by_core if cores else (),
    )


def _shares(before: MachineUse, now: MachineUse) -> tuple[float | None, tuple[float, ...]]:
    """Return how busy all cores were between two moments, and each; the kernel counts in ticks, and may count none."""
    if len(before.all_seconds) != len(now.all_seconds):  # a core went off or came on
        return None, ()
    worked = [max(0.0, b - a) for a, b in zip(before.busy_seconds, now.busy_seconds, strict=True)]
    existed = [max(0.0, b - a) for a, b in zip(before.all_seconds, now.all_seconds, strict=True)]
    if sum(existed) <= 0:
        return None, ()
    shares = (min(1.0, work / passed) if passed > 0 else 0.0 for work, passed in zip(worked, existed, strict=True))
    return min(1.0, sum(worked) / sum(existed)), tuple(shares)
