"""Time several models fairly: in one process, taking turns, with the same inputs and a set number of threads."""

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from titrant.runtime.contract.predicting import taken
from titrant.runtime.engines import open_session
from titrant.runtime.memory import memory_of
from titrant.runtime.values import Rows
from titrant.schema.cases import runs_for_percentile
from titrant.schema.diagnostics import Diagnostic, StepError

# Fewer runs cannot bound a 95th percentile at 95 % confidence.
LEAST_RUNS = runs_for_percentile(0.95)
MOST_RUNS = 500
# Where even the least runs take longer than this, the percentile stays unbounded rather than the user waiting.
PATIENCE_SECONDS = 120.0


def time_models(
    params: Any,
    rows: Rows,
    models: Mapping[str, Any],
    *,
    generator: np.random.Generator,
    progress: Callable[[float, float, str], None],
) -> dict[str, Any]:
    """Time every model at every batch size; see `profile.latency` for the answer.

    In each round every model runs once on the same batch, in an order drawn anew, so that a machine that slows down
    slows all of them. Memory is what loading the model and answering the largest batch takes, in a child of its own.
    """
    missing = sorted(set(models) - set(params.engines))
    if missing:
        raise StepError(Diagnostic("X430", f"no engine is named for {', '.join(missing)}", help="name it in `engines`"))
    answer: dict[str, Any] = {name: {"peak_bytes": _memory(params, rows, name, models[name])} for name in models}
    sessions: dict[str, Any] = {}
    try:
        for name, model in models.items():
            sessions[name] = open_session(params.engines[name], model, threads=params.threads, device=params.device)
        for done, size in enumerate(params.batches):
            progress(done, len(params.batches), f"batch {size}")
            for name, samples in _rounds(sessions, rows, size, params, generator).items():
                answer[name][str(size)] = _figures(samples, size)
    finally:
        for session in sessions.values():
            session.close()
    progress(len(params.batches), len(params.batches), "")
    return answer


def _memory(params: Any, rows: Rows, name: str, model: Any) -> int | None:
    """Measure one model; a live module's tensors are loaded already, so they are added."""

    def work() -> object:
        session = open_session(params.engines[name], model, threads=params.threads, device=params.device)
        return session, session.run(_batch(session, rows, max(params.batches)))

    measured = memory_of(work)
    module = getattr(model, "module", None)
    if measured is None or module is None:
        return measured
    return measured + sum(tensor.nbytes for tensor in module.state_dict().values())


def _batch(session: Any, rows: Rows, size: int) -> dict[str, np.ndarray]:
    """Take the first rows, repeated when there are fewer than a batch."""
    chosen = np.arange(size) % max(len(rows), 1)
    return {name: np.ascontiguousarray(taken(rows, name)[chosen]) for name in session.input_names}


def _rounds(
    sessions: Mapping[str, Any], rows: Rows, size: int, params: Any, generator: np.random.Generator
) -> dict[str, list[float]]:
    batches = {name: _batch(session, rows, size) for name, session in sessions.items()}
    for _ in range(params.warmup):
        for name, session in sessions.items():
            session.run(batches[name])
    names = list(sessions)
    samples: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection would be charged to whoever runs just then
    try:
        started = time.perf_counter()
        for count in range(params.iterations or MOST_RUNS):
            if not params.iterations and _enough(count, time.perf_counter() - started, params.seconds):
                break
            for index in generator.permutation(len(names)):
                name = names[index]
                begin = time.perf_counter()
                sessions[name].run(batches[name])
                samples[name].append(time.perf_counter() - begin)
    finally:
        if collecting:
            gc.enable()
    return samples


def _enough(count: int, elapsed: float, seconds: float) -> bool:
    if count < LEAST_RUNS:
        return count > 0 and elapsed > PATIENCE_SECONDS
    return elapsed > seconds


def _figures(samples: list[float], size: int) -> dict[str, Any]:
    ordered = sorted(samples)
    p50, p95, p99 = (float(value) for value in np.quantile(ordered, (0.5, 0.95, 0.99)))
    return {"p50": p50, "p95": p95, "p99": p99, "samples": ordered, "throughput": size / p50}
