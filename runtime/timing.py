"""Time several models fairly: in one process, taking turns, with the same inputs and a set number of threads."""

import gc
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from titrant.runtime.contract.predicting import taken
from titrant.runtime.engines import open_session
from titrant.runtime.memory import ChildKilledError, memory_of
from titrant.runtime.values import Rows
from titrant.schema.cases import runs_for_percentile
from titrant.schema.diagnostics import Diagnostic, StepError, TitrantError

# Fewer runs cannot bound a 95th percentile at 95 % confidence.
LEAST_RUNS = runs_for_percentile(0.95)
MOST_RUNS = 500
# Where even the least runs take longer than this, the percentile stays unbounded rather than the user waiting.
PATIENCE_SECONDS = 120.0


# What libraries say when the machine is short of something: no property of the model, and gone another time.
_SHORT = re.compile(r"memory|alloc|too many open files|no space left|temporarily unavailable", re.IGNORECASE)


def ignored(because: str) -> None:
    """Do nothing with a reason."""


def may_pass(found: Diagnostic) -> bool:
    """Whether the machine rather than the model caused a failure, or nobody knows what did."""
    return found.code == "X431" or _SHORT.search(found.message) is not None


@dataclass
class Race:
    """The models that are being timed, by name, and why others fell out."""

    sessions: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    passing: Callable[[str], None] = ignored

    def all(self) -> list[tuple[str, Any]]:
        """List who is still in it; may be changed while it is walked through."""
        return list(self.sessions.items())

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Take a model out when the block fails; raise if it is the original, without which nothing is compared."""
        try:
            yield
        except TitrantError as error:
            if name == "original":
                raise
            self.failed[name] = error.diagnostics[0].message
            if may_pass(error.diagnostics[0]):
                self.passing(f"{name} failed while it was timed: {self.failed[name]}")
            session = self.sessions.pop(name, None)
            if session is not None:
                session.close()


def time_models(
    params: Any,
    rows: Rows,
    models: Mapping[str, Any],
    *,
    generator: np.random.Generator,
    progress: Callable[[float, float, str], None],
    passing: Callable[[str], None] = ignored,
) -> dict[str, Any]:
    """Time every model at every batch size; see `profile.latency` for the answer.

    In each round every model runs on the same batch, in an order drawn anew, so that a machine that slows down slows
    all of them. Its turn begins with one run off the clock: what the others left in the caches is not charged to it,
    since where it is shipped it runs alone. Memory is the peak of loading the model and answering the largest batch, in
    a child of its own.
    A model that fails is left out and has {"failed": why} for its figures; of "original" the failure is raised.
    `passing` is told of what the machine rather than a model caused: then the figures do not hold another time.
    """
    missing = sorted(set(models) - set(params.engines))
    if missing:
        raise StepError(Diagnostic("X430", f"no engine is named for {', '.join(missing)}", help="name it in `engines`"))
    answer: dict[str, Any] = {}
    race = Race(passing=passing)
    try:
        for name, model in models.items():
            with race.trying(name):
                answer[name] = {"peak_bytes": _memory(params, rows, name, model, passing)}
                race.sessions[name] = open_session(
                    params.engines[name], model, threads=params.threads, device=params.device
                )
        for done, size in enumerate(params.batches):
            progress(done, len(params.batches), f"batch {size}")
            for name, samples in _rounds(race, rows, size, params, generator).items():
                answer[name][str(size)] = _figures(samples, size)
    finally:
        for session in race.sessions.values():
            session.close()
    progress(len(params.batches), len(params.batches), "")
    return {name: {"failed": race.failed[name]} if name in race.failed else answer[name] for name in models}


def _memory(params: Any, rows: Rows, name: str, model: Any, passing: Callable[[str], None]) -> int | None:
    """Measure one model on one CPU thread, else None; a live module's tensors are loaded already and are added.

    More threads are a pool that a forked child has lost and may wait for, and what lies on a device is not counted.
    """
    if params.threads > 1 or params.device != "cpu":
        return None

    def work() -> object:
        session = open_session(params.engines[name], model, threads=params.threads, device=params.device)
        return session, session.run(_batch(session, rows, max(params.batches)))

    try:
        measured = memory_of(work)
    except ChildKilledError:
        passing(f"the process that measured the memory of {name} was killed, most likely for lack of memory")
        return None
    module = getattr(model, "module", None)
    if measured is None or module is None:
        return measured
    return measured + sum(tensor.nbytes for tensor in module.state_dict().values())


def _batch(session: Any, rows: Rows, size: int) -> dict[str, np.ndarray]:
    """Take the first rows, repeated when there are fewer than a batch."""
    chosen = np.arange(size) % max(len(rows), 1)
    return {name: np.ascontiguousarray(taken(rows, name)[chosen]) for name in session.input_names}


def _rounds(race: Race, rows: Rows, size: int, params: Any, generator: np.random.Generator) -> dict[str, list[float]]:
    """Let the models take turns and return the seconds of each run, without the models that failed."""
    batches: dict[str, dict[str, np.ndarray]] = {}
    for name, session in race.all():
        with race.trying(name):
            batches[name] = _batch(session, rows, size)
    for _ in range(params.warmup):
        for name, session in race.all():
            with race.trying(name):
                session.run(batches[name])
    samples: dict[str, list[float]] = {name: [] for name in race.sessions}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection would be charged to whoever runs just then
    try:
        started = time.perf_counter()
        for count in range(params.iterations or MOST_RUNS):
            if not params.iterations and _enough(count, time.perf_counter() - started, params.seconds):
                break
            racing = race.all()
            for index in generator.permutation(len(racing)):
                name, session = racing[index]
                with race.trying(name):
                    session.run(batches[name])
                    begin = time.perf_counter()
                    session.run(batches[name])
                    samples[name].append(time.perf_counter() - begin)
    finally:
        if collecting:
            gc.enable()
    return {name: samples[name] for name in race.sessions}


def _enough(count: int, elapsed: float, seconds: float) -> bool:
    if count < LEAST_RUNS:
        return count > 0 and elapsed > PATIENCE_SECONDS
    return elapsed > seconds


def _figures(samples: list[float], size: int) -> dict[str, Any]:
    ordered = sorted(samples)
    p50, p95, p99 = (float(value) for value in np.quantile(ordered, (0.5, 0.95, 0.99)))
    return {"p50": p50, "p95": p95, "p99": p99, "samples": ordered, "throughput": size / p50}
