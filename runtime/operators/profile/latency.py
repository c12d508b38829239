"""Time the original and every candidate in one process, taking turns, with the same inputs and number of threads."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import ANY_MODEL, Context, Params, Port, operator
from titrant.runtime.cost.forward import Speed, forward_seconds, held_bytes, opened_bytes, opening_seconds, speed_of
from titrant.runtime.cost.sizes import missing
from titrant.runtime.machine.race import Race, contenders
from titrant.runtime.machine.schedule import MOST_RUNS, TimingSchedule
from titrant.runtime.machine.turns import OFF_SECONDS, PAUSE_SECONDS, Runs, cpu_tells, no_garbage, percentiles
from titrant.schema.cost import FP32, NOTHING_KNOWN, ModelUse, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import ModelCost, Prediction

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.contract.statistics.paired_runs import TimedRuns
    from titrant.runtime.values import Rows

# Of a turn, beside its runs.
_TURN_SECONDS = 50e-6
# Measuring the memory of a model in a child; everything beside the models; what opening any model takes.
_FORK_SECONDS, _SECONDS, _ENGINE_BYTES = 0.06, 0.05, 1 << 20
# A run is two numbers of whole nanoseconds, with several threads or on a device one.
_SAMPLE_BYTES, _MODEL_BYTES = 12, 640
_DIGITS = 9


class LatencyParams(Params):
    """What is timed, how often, and where."""

    engines: dict[str, str] = Field(description="model name (original or a candidate's id) → engine")
    batches: tuple[int, ...] = Field((1, 8, 32), strict=False, min_length=1, description="batch sizes to time")
    compared: int | None = Field(None, ge=1, description="batch size at which models are compared; none: the smallest")
    iterations: int | None = Field(
        None,
        ge=1,
        description="timed runs of every model at every batch size; none: 59 to 500 where models are compared, "
        "8 to 59 elsewhere, as `seconds` allows",
    )
    blocks: int = Field(1, ge=1, description="blocks of runs, which a pause keeps apart in time")
    memory_runs: int = Field(1, ge=1, description="processes that measure the memory of each model")
    warmup: int = Field(5, ge=0, description="runs before the clock counts")
    seconds: float = Field(
        1.0, gt=0, description="time for the batch size compared, a quarter for others, after the least runs of each"
    )
    chooses: bool = Field(
        default=False,
        description="whether these runs choose: of four models and more, as many as are made, the fastest then run on, "
        "for `seconds` of CPU time, 500 times at most, and twice as long those of which the runs do not tell whether "
        "they are slower than the fastest",
        exclude_if=lambda value: not value,
    )
    beside: tuple[str, ...] = Field(
        (),
        strict=False,
        description="models that are no candidates: at batch sizes that are shown only they run 8 times at most",
        exclude_if=lambda value: not value,
    )
    threads: int = Field(1, ge=1, description="threads of every engine")
    device: str = Field("cpu", description="cpu, cuda, cuda:N, mps")
    columned: tuple[str, ...] = Field(
        (), strict=False, description="models that take raw columns", exclude_if=lambda value: not value
    )


def requires(params: LatencyParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need every engine's package."""
    packages = (backend.get(engine).package for engine in sorted(set(params.engines.values())))
    return tuple(Unmet(f"the engine {unmet.cause}", unmet.remedy) for unmet in missing(hardware, *packages))


def predict(
    params: LatencyParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Model every model's batch on its device; each batch size takes its time, or what the runs asked for take."""
    if model is None:
        seconds = sum(TimingSchedule.of(params, size, len(params.engines)).seconds for size in params.batches)
        return Prediction(seconds=seconds + 0.3, basis="guess")
    speed = speed_of(hardware, params.threads, params.device)
    uses = {name: work.models.get(name, ModelUse()) for name in params.engines}
    costs = {name: _cost(params, name, use, use.facts or model, speed) for name, use in uses.items()}
    facts = {name: use.facts or model for name, use in uses.items()}
    run = {name: run_cost(params.engines[name], use.kind) for name, use in uses.items()}
    # Opened to be timed, once before memory is measured, and in every process that measures it.
    children = params.memory_runs if params.threads == 1 and params.device == "cpu" else 0
    opening = sum(
        (1 + bool(children) + children) * opening_seconds(facts[name], use, run[name], speed) + children * _FORK_SECONDS
        for name, use in uses.items()
    )
    pauses = len(params.batches) * (params.blocks - 1) * PAUSE_SECONDS
    seconds, samples = opening + _SECONDS + pauses, 0
    for size in params.batches:
        schedule = TimingSchedule.of(params, size, len(costs))
        turns = {name: _turn_seconds(cost.seconds[str(size)], schedule.most_off) for name, cost in costs.items()}
        seconds += schedule.predicted_seconds(turns) + params.warmup / 2 * sum(turns.values())
        samples += sum(schedule.predicted_runs(turns).values()) * (2 if cpu_tells(params.threads, params.device) else 1)
    peak = sum(opened_bytes(facts[name], use, run[name]) for name, use in uses.items())
    largest, on_device = max(params.batches), speed.gpu is not None
    peak += max(held_bytes(facts[name], use, run[name], largest, on_device=on_device) for name, use in uses.items())
    return Prediction(
        seconds=seconds,
        peak_bytes=peak,
        output_bytes=_SAMPLE_BYTES * samples + _MODEL_BYTES * len(costs),
        basis=speed.basis,
        models=costs,
    )


def _cost(params: LatencyParams, name: str, use: ModelUse, model: ModelFacts, speed: Speed) -> ModelCost:
    """Predict one model's batches, and the memory of loading it and answering the largest."""
    cost, arithmetic = run_cost(params.engines[name], use.kind), use.arithmetic or FP32
    seconds = {str(size): forward_seconds(model, speed, cost, size, arithmetic) for size in params.batches}
    peak = None
    if params.threads == 1 and params.device == "cpu":
        peak = opened_bytes(model, use, cost) + held_bytes(model, use, cost, max(params.batches)) + _ENGINE_BYTES
    return ModelCost(seconds, peak, speed.basis)


def _turn_seconds(seconds: float, most_off: int) -> float:
    """Predict one model's turn from what a run takes: that run, and those off the clock."""
    return seconds + max(seconds, min(most_off * seconds, OFF_SECONDS)) + _TURN_SECONDS


def loads(params: LatencyParams) -> tuple[str, ...]:
    """Load every engine."""
    modules = (backend.get(engine).module for engine in sorted(set(params.engines.values())))
    return (*modules, "titrant.runtime.backends.session")


@operator(
    "profile.latency",
    version=12,
    family="profile",
    params=LatencyParams,
    inputs={"models": Port((ANY_MODEL,), many=True), "rows": "rows", "raw": Port(("rows",), optional=True)},
    outputs={"timings": "value"},
    determinism="measured",
    requires=requires,
    predict=predict,
    loads=loads,
    libraries=("torch", "onnxruntime", "numpy"),
    engines=("engines",),
    user_code=True,
)
def profile_latency(
    params: LatencyParams, context: Context, *, models: Mapping[str, Any], rows: Any, raw: Any = None
) -> dict[str, Any]:
    """Time every model at every batch size, taking turns, in one process; each turn starts with runs off the clock.

    Helps when: candidates are chosen by speed, or `target` has a limit; a figure holds for this machine only.
    Inputs:     models - by name, each in the engine that `engines` names; rows - real inputs, repeated when there
                are fewer than a batch; of a model with recurrent state a run is one step; raw - the same rows as raw
                columns, for the models that are `columned`
    Outputs:    timings - {model: {batch: {p50, p95, p99, samples: seconds of one batch, cpu: seconds of process CPU
                time of the same runs, both in the order of the rounds, which all models share (the fastest have
                more of them where runs choose, those `beside` fewer where a size is shown only); blocks: how many of
                these runs each block has, [] for one; waiting: how many times its CPU time a run in four took at least,
                1 on a quiet machine; throughput: cases per second}, "peak_bytes": peak of the memory that loading the
                model and answering the largest batch adds, the largest of `memory_runs` processes, or null where it is
                not known (more than one thread, not on the CPU, not on Linux), "peak_samples": those of all}}; cpu is
                empty and waiting null where CPU time is no measure (on a device, or its clock is too coarse; cpu also
                with several threads); of a model that failed {model: {"failed": why}}, and the others are timed without
                it; where the machine was short of memory, files or space, or too busy to tell two models apart, no
                later run reuses the timings
    Fails:      StepError X430 when a model has no engine named for it, and whatever the original fails with
    Cost:       `seconds` and a quarter of it for each further batch size, or 59 and 8 runs of each model if those take
                longer (two minutes at most); up to three times `seconds` more for the fastest of four models and more
    """
    from titrant.runtime.contract.statistics.paired_runs import too_busy_to_tell

    forms = {name: raw if name in params.columned else rows for name in models}
    timings = time_models(params, forms, models, context)
    for name, figures in timings.items():
        if "failed" not in figures:
            context.measure(f"{name}.latency_p50", figures[str(min(params.batches))]["p50"], "s")
    for text in too_busy_to_tell(timings, params.compared or min(params.batches)):
        context.do_not_reuse(text)
    return {"timings": timings}


def time_models(params: Any, rows: "Mapping[str, Rows]", models: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Time every model at every batch size, on its `rows`; see `profile.latency` for the answer.

    In each round every model runs on the same batch, in an order drawn anew, so that a machine that slows down slows
    all of them, and their runs are compared round by round. A turn begins with runs off the clock: what the others
    left in the caches is not charged to it, since where it is shipped it runs alone. Memory is the peak of loading the
    model and answering the largest batch, in children of their own.
    A model that fails is left out and has {"failed": why} for its figures; of "original" the failure is raised.
    The context is told of what the machine rather than a model caused: then the figures do not hold another time.
    """
    from titrant.runtime.backends.session import open_session

    missing = sorted(set(models) - set(params.engines))
    if missing:
        raise StepError(Diagnostic("X430", f"no engine is named for {', '.join(missing)}", help="name it in `engines`"))
    answer: dict[str, Any] = {}
    race = Race(context)
    try:
        for name, model in models.items():
            with race.trying(name):
                peaks = _memory(params, rows[name], name, model, context)
                answer[name] = {"peak_bytes": max(peaks, default=None), "peak_samples": peaks}
                race.sessions[name] = open_session(
                    params.engines[name], model, threads=params.threads, device=params.device
                )
        with no_garbage():
            for done, size in enumerate(params.batches):
                context.progress(done, len(params.batches), f"batch {size}")
                for name, runs in _rounds(race, rows, size, params).items():
                    answer[name][str(size)] = _figures(runs, size, params)
    finally:
        for session in race.sessions.values():
            session.close()
    context.progress(len(params.batches), len(params.batches), "")
    return {name: {"failed": race.failed[name]} if name in race.failed else answer[name] for name in models}


def _memory(params: Any, rows: "Rows", name: str, model: Any, context: Context) -> list[int]:
    """Measure one model on one CPU thread in several processes, else []; a live module's tensors are loaded already.

    More threads are a pool that a forked child has lost and may wait for, and what lies on a device is not counted.
    What an engine takes once, for the first model of a process, is not the model's: a session is opened before.
    """
    from titrant.runtime.backends.session import first_batch, open_session
    from titrant.runtime.machine.peak_memory import ChildKilledError, memory_of

    if params.threads > 1 or params.device != "cpu":
        return []

    def work() -> tuple[Any, object]:
        session = open_session(params.engines[name], model, threads=params.threads, device=params.device)
        return session, session.run(first_batch(session, rows, max(params.batches)))

    work()[0].close()
    peaks = []
    try:
        for _ in range(params.memory_runs):
            measured = memory_of(work)
            if measured is None:
                return []
            peaks.append(measured)
    except ChildKilledError:
        context.do_not_reuse(
            f"the process that measured the memory of {name} was killed, most likely for lack of memory"
        )
        return []
    module = getattr(model, "module", None)
    loaded = 0 if module is None else sum(tensor.nbytes for tensor in module.state_dict().values())
    return [peak + loaded for peak in peaks]


def _rounds(race: Race, rows: "Mapping[str, Rows]", size: int, params: Any) -> dict[str, Runs]:
    """Let the models take turns and return the seconds of each run, without the models that failed."""
    from titrant.runtime.backends.session import first_batch

    schedule = TimingSchedule.of(params, size, len(race.sessions))
    race.most_off = schedule.most_off
    for name, session in race.all():
        with race.trying(name):
            race.calls[name] = _call(session, first_batch(session, rows[name], size))
    for _ in range(params.warmup):
        for name, _ in race.all():
            with race.trying(name):
                race.calls[name]()
    runs = {name: Runs() for name in race.sessions}
    for block in range(params.blocks):
        if block:
            time.sleep(PAUSE_SECONDS)
        _take_turns(race, runs, schedule)
        for name in race.sessions:
            runs[name].blocks.append(len(runs[name].wall) - sum(runs[name].blocks))
    if schedule.runs_on:
        _run_on(race, runs, params, schedule)
    return {name: runs[name] for name in race.sessions}


def _call(session: Any, batch: "Mapping[str, np.ndarray]") -> Callable[[], object]:
    """Return a call with one batch, which an engine's own session looks at here and no more in the call.

    What is timed is the engine's run then, as whoever serves the file calls it: looking at the batch each time takes
    4 µs of the 40 that a small network takes. Raises StepError as `run` does, here and in the call.
    """
    prepared: Callable[[Any], Callable[[], object]] | None = getattr(session, "prepared", None)
    return partial(session.run, batch) if prepared is None else prepared(batch)


def _take_turns(race: Race, runs: Mapping[str, Runs], schedule: TimingSchedule) -> None:
    """Let every model run once in each turn of a block, those that are only beside in the first turns."""
    started = time.perf_counter()
    for turn in range(schedule.most_of_a_block):
        if schedule.enough(turn, time.perf_counter() - started):
            return
        race.take_turns(runs, [name for name, _ in race.all() if schedule.takes_part(name, len(runs[name].wall))])


def _run_on(race: Race, runs: Mapping[str, Runs], params: Any, schedule: TimingSchedule) -> None:
    """Let those run on that may be the fastest, then those that are not told apart, which is looked at once only."""
    from titrant.runtime.contract.statistics.paired_runs import untold

    # Slow models have taken most of the time, and are told apart by now.
    _turns_of(race, runs, contenders(runs, race.sessions), schedule.seconds)
    timed = {name: _timed_runs(runs[name], params) for name in contenders(runs, race.sessions)}
    _turns_of(race, runs, untold(timed), schedule.open_seconds)


def _turns_of(race: Race, runs: Mapping[str, Runs], names: list[str], seconds: float) -> None:
    """Let two models or more take turns for some seconds of CPU time, until each has the most runs there are."""
    done = max((len(runs[name].wall) for name in names), default=0)
    spent = time.process_time()
    for _ in range(MOST_RUNS - done):
        if len(names) < 2 or time.process_time() - spent > seconds:
            return
        race.take_turns(runs, names)
        names = [name for name in names if name in race.sessions]


def _figures(runs: Runs, size: int, params: Any) -> dict[str, Any]:
    timed = _timed_runs(runs, params)
    p50, p95, p99 = percentiles(timed.wall)
    samples = {"samples": list(timed.wall), "cpu": list(timed.cpu), "waiting": timed.waiting}
    blocks = runs.blocks if len(runs.blocks) > 1 else []
    return {"p50": p50, "p95": p95, "p99": p99, **samples, "blocks": blocks, "throughput": size / p50}


def _timed_runs(runs: Runs, params: Any) -> "TimedRuns":
    """Round what runs took, and leave CPU time out where it is no measure."""
    from titrant.runtime.contract.statistics.paired_runs import TimedRuns, waiting_of

    wall, cpu = (tuple(round(seconds, _DIGITS) for seconds in times) for times in (runs.wall, runs.cpu))
    waiting = waiting_of(wall, cpu, params.threads) if params.device == "cpu" else None
    tells = waiting is not None and cpu_tells(params.threads, params.device)
    return TimedRuns(wall, cpu if tells else (), waiting)
