"""Time a model layer by layer in its engine, beside the parameters, FLOPs, bytes and precision of each layer."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import ANY_MODEL, Context, Params, operator
from titrant.runtime.cost.forward import held_bytes, opened_bytes, opening_seconds, speed_of
from titrant.runtime.operators.validate.predict import PredictParams
from titrant.runtime.operators.validate.predict import requires as engine_requires
from titrant.schema.cost import NOTHING_KNOWN, ModelUse, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# What measuring this machine's limits takes; a layer's line, and a call on the timeline.
_LIMITS_SECONDS, _LIMITS_BYTES, _COUNTING_SECONDS = 1.2, 256 << 20, 0.3
_LINE_BYTES, _CALL_BYTES = 420, 90
_LIMIT_ROUNDS = 2


class LayersParams(Params):
    """Where the model runs, what the original's layers are called, and what is kept."""

    engine: str = Field(description="the engine that runs the file, such as torch or onnxruntime")
    batch: int = Field(1, ge=1, description="rows of the batch that is timed")
    threads: int = Field(1, ge=1, description="threads of the engine")
    device: str = Field("cpu", description="cpu, cuda, cuda:N, mps")
    seconds: float = Field(1.0, gt=0, description="how long the batch is run, with and without a profile")
    layers: dict[str, str] = Field({}, description="the original's layers: name → what it is; none: the file's own")
    limits: bool = Field(True, description="measure what this machine reaches at most, for the roofline")
    trace: bool = Field(False, description="keep when each call of a batch began, as a timeline")


def requires(params: LayersParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need the engine's package."""
    return engine_requires(PredictParams(engine=params.engine), hardware, model)


def predict(
    params: LayersParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Open the file twice and run it as long as it is asked for; the machine's limits take a second beside it."""
    limits = _LIMITS_SECONDS if params.limits else 0.0
    if model is None:
        return Prediction(seconds=params.seconds + limits + 2 * _COUNTING_SECONDS, basis="guess")
    use, speed = work.models.get("model", ModelUse()), speed_of(hardware, params.threads, params.device)
    cost = run_cost(params.engine, use.kind)
    facts = use.facts or model
    seconds = params.seconds + limits + _COUNTING_SECONDS + 2 * opening_seconds(facts, use, cost, speed)
    held = held_bytes(facts, use, cost, params.batch, on_device=speed.gpu is not None)
    size = len(facts.layers) * (_LINE_BYTES + (2 * _CALL_BYTES if params.trace else 0))
    return Prediction(
        seconds=seconds,
        peak_bytes=max(2 * opened_bytes(facts, use, cost) + held, _LIMITS_BYTES if params.limits else 0),
        output_bytes=size,
        basis=speed.basis,
    )


def loads(params: LayersParams) -> tuple[str, ...]:
    """Load the engine, and torch, by which FLOPs are counted and limits measured."""
    return (backend.get(params.engine).module, "torch", "titrant.runtime.backends.session")


@operator(
    "profile.layers",
    version=1,
    family="profile",
    params=LayersParams,
    inputs={"model": ANY_MODEL, "rows": "rows"},
    outputs={"seen": "value"},
    determinism="measured",
    requires=requires,
    predict=predict,
    loads=loads,
    libraries=("torch", "onnxruntime", "numpy"),
    engines=("engine",),
    user_code=True,
)
def profile_layers(params: LayersParams, context: Context, *, model: Any, rows: Any) -> dict[str, Any]:
    """Time every layer of a model in its engine on one batch, and count its parameters, FLOPs and bytes.

    Helps when: a model is slow and nobody knows which layers are to blame, or whether memory or arithmetic limits them.
    Inputs:     model - a module or file that the engine loads; rows - real inputs, repeated when there are fewer than a
                batch; of a model with recurrent state one step of each
    Outputs:    seen - {"layers": [{name, kind, block, seconds, cpu_seconds, share, calls, parameters, parameter_bytes,
                activation_bytes, moved_bytes, flops, precision, engine_op, joined}], the rest as the last, without a
                name; engine, device, threads, batch, runs, and seconds, cpu_seconds and overhead_seconds of a whole
                batch; "limits": {fp32, int8 or half, bytes}, what this machine reached in FLOP/s and bytes a second,
                null where it was not asked; "spans": the calls of one batch, [] without `trace`}
    Fails:      StepError X680 where the engine tells nothing of its layers, and whatever answering the batch raises
    Cost:       `seconds`, opening the file twice, and a second for the limits
    """
    from titrant.runtime.backends.session import first_batch, open_session
    from titrant.runtime.instruments.layers import profile
    from titrant.schema.values.canonical import plain

    with open_session(params.engine, model, threads=params.threads, device=params.device) as session:
        inputs = first_batch(session, rows, params.batch)
    layers = profile.profile_layers(
        model,
        inputs,
        engine=params.engine,
        threads=params.threads,
        device=params.device,
        layers=tuple(params.layers),
        kinds=params.layers,
        seconds=params.seconds,
    )
    context.measure("rows_add_up_to", layers.added_up)
    if layers.busy:
        context.do_not_reuse("the machine was busy while layers were timed")
    seen: Mapping[str, Any] = plain(layers)
    limits = _limits(params.device) if params.limits else None
    return {"seen": {**seen, "limits": limits, "spans": seen["spans"] if params.trace else []}}


def _limits(device: str) -> dict[str, float | None] | None:
    """Return what this machine reaches at most, in FLOP/s by kind of number and in bytes a second; None where short."""
    import torch

    from titrant.runtime.machine import bench

    if device != "cpu":
        speed = bench.device_speed(device)
        rates = {"fp32": speed["fp32_flops_per_second"], "half": speed["half_flops_per_second"]}
        return {**rates, "bytes": speed["memory_bytes_per_second"]}
    threads = torch.get_num_threads()
    try:
        flops = bench.flops_per_second({"fp32": bench.fp32_products(), "int8": bench.int8_products()}, _LIMIT_ROUNDS)
        return {**flops, "bytes": bench.memory_bytes_per_second(None, _LIMIT_ROUNDS)}
    finally:
        torch.set_num_threads(threads)
