"""Time the original and every candidate side by side."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, Port, operator
from titrant.runtime.forward_cost import Speed, forward_seconds, held_bytes, opened_bytes, opening_seconds, speed_of
from titrant.runtime.installed import missing
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import ModelCost, Prediction
from titrant.schema.work import NOTHING_KNOWN, ModelUse, Work

# As in titrant.runtime.timing: every turn has a run off the clock, and there are so many turns.
_RUNS_A_TURN, _TURN_SECONDS = 2, 50e-6
_LEAST_RUNS, _MOST_RUNS = 59, 500
# Measuring the memory of a model in a child; everything beside the models; what opening any model takes.
_FORK_SECONDS, _SECONDS, _ENGINE_BYTES = 0.06, 0.05, 1 << 20
_SAMPLE_BYTES, _MODEL_BYTES = 21, 600


class LatencyParams(Params):
    """What is timed, how often, and where."""

    engines: dict[str, str] = Field(description="model name (original or a candidate's id) → engine")
    batches: tuple[int, ...] = Field((1, 8, 32), strict=False, min_length=1, description="batch sizes to time")
    iterations: int | None = Field(
        None, ge=1, description="timed runs of every model at every batch size; none: 59 to 500, as `seconds` allows"
    )
    warmup: int = Field(5, ge=0, description="runs before the clock counts")
    seconds: float = Field(1.0, gt=0, description="time for one batch size, shared by the models; 59 runs come first")
    threads: int = Field(1, ge=1, description="threads of every engine")
    device: str = Field("cpu", description="cpu, cuda, cuda:N, mps")


def requires(params: LatencyParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need every engine's package."""
    return tuple(f"the engine {unmet}" for unmet in missing(hardware, *sorted(set(params.engines.values()))))


def predict(
    params: LatencyParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Model every model's batch on its device; each batch size takes its time, or what the runs asked for take."""
    if model is None:
        return Prediction(seconds=params.seconds * len(params.batches) + 0.3, basis="guess")
    speed = speed_of(hardware, params.threads, params.device)
    uses = {name: work.models.get(name, ModelUse()) for name in params.engines}
    costs = {name: _cost(params, name, use, model, speed) for name, use in uses.items()}
    opening = sum(2 * opening_seconds(model, use, speed) + _FORK_SECONDS for use in uses.values())
    seconds, samples = opening + _SECONDS, 0
    for size in params.batches:
        turn = sum(_RUNS_A_TURN * cost.seconds[str(size)] + _TURN_SECONDS for cost in costs.values())
        runs = params.iterations or _runs(params, turn)
        seconds += turn * (runs + params.warmup / 2)
        samples += runs * len(costs)
    peak = sum(opened_bytes(model, use) for use in uses.values())
    peak += max(held_bytes(model, use, max(params.batches), speed.gpu is not None) for use in uses.values())
    return Prediction(
        seconds=seconds,
        peak_bytes=peak,
        output_bytes=_SAMPLE_BYTES * samples + _MODEL_BYTES * len(costs),
        basis=speed.basis,
        models=costs,
    )


def _cost(params: LatencyParams, name: str, use: ModelUse, model: ModelFacts, speed: Speed) -> ModelCost:
    """Predict one model's batches, and the memory of loading it and answering the largest."""
    kind = "onnx" if params.engines[name] == "onnxruntime" else use.kind
    seconds = {str(size): forward_seconds(model, speed, kind, size, use.method) for size in params.batches}
    peak = None
    if params.threads == 1 and params.device == "cpu":
        peak = opened_bytes(model, use) + held_bytes(model, use, max(params.batches)) + _ENGINE_BYTES
    return ModelCost(seconds, peak, speed.basis)


def _runs(params: LatencyParams, turn: float) -> int:
    """Return how many turns there are: the least, and more while there is time."""
    return max(_LEAST_RUNS, min(_MOST_RUNS, int(params.seconds / turn) + 1))


def loads(params: LatencyParams) -> tuple[str, ...]:
    """Load every engine."""
    return (*sorted(set(params.engines.values())), "titrant.runtime.timing")


@operator(
    "profile.latency",
    version=4,
    family="profile",
    params=LatencyParams,
    inputs={"models": Port(("torch", "onnx", "torchscript"), many=True), "rows": "rows"},
    outputs={"timings": "value"},
    determinism="measured",
    requires=requires,
    predict=predict,
    loads=loads,
    libraries=("torch", "onnxruntime", "numpy"),
    user_code=True,
)
def profile_latency(params: LatencyParams, context: Context, *, models: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    """Time every model at every batch size, taking turns, in one process; each turn starts with a run off the clock.

    Helps when: candidates are chosen by speed, or `target` has a limit; a figure holds for this machine only.
    Inputs:     models - by name, each in the engine that `engines` names; rows - real inputs, repeated when there
                are fewer than a batch
    Outputs:    timings - {model: {batch: {p50, p95, p99, samples (sorted): seconds of one batch, throughput: cases
                per second}, "peak_bytes": peak of the memory that loading the model and answering the largest batch
                adds, or null where it is not known (more than one thread, not on the CPU, not on Linux)}}; of a
                model that failed {model: {"failed": why}}, and the others are timed without it; where the machine
                was short of memory, files or space, no later run reuses the timings
    Fails:      StepError X430 when a model has no engine named for it, and whatever the original fails with
    Cost:       `seconds` for each batch size, or 59 runs of each model if those take longer (two minutes at most)
    """
    from titrant.runtime.timing import time_models

    timings = time_models(
        params, rows, models, generator=context.generator, progress=context.progress, passing=context.do_not_reuse
    )
    for name, figures in timings.items():
        if "failed" not in figures:
            context.measure(f"{name}.latency_p50", figures[str(min(params.batches))]["p50"], "s")
    return {"timings": timings}
