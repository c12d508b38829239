"""Time the original and every candidate side by side."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, Port, operator
from titrant.runtime.installed import missing
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction


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


def predict(params: LatencyParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Each batch size takes its time, or what the runs asked for take at some 5 GFLOP/s a thread."""
    seconds = params.seconds * len(params.batches)
    peak = None
    if model is not None:
        run = (model.flops or 0) / (5e9 * params.threads)
        runs = params.iterations or 59
        least = sum(batch * run * runs * len(params.engines) for batch in params.batches)
        seconds = least if params.iterations else max(seconds, least)
        peak = len(params.engines) * model.weight_bytes + (model.activation_bytes or 0) * max(params.batches)
    return Prediction(seconds=seconds + 0.3, peak_bytes=peak, output_bytes=20_000, basis="guess")


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
                model that failed {model: {"failed": why}}, and the others are timed without it
    Fails:      StepError X430 when a model has no engine named for it, and whatever the original fails with
    Cost:       `seconds` for each batch size, or 59 runs of each model if those take longer (two minutes at most)
    """
    from titrant.runtime.timing import time_models

    timings = time_models(params, rows, models, generator=context.generator, progress=context.progress)
    for name, figures in timings.items():
        if "failed" not in figures:
            context.measure(f"{name}.latency_p50", figures[str(min(params.batches))]["p50"], "s")
    return {"timings": timings}
