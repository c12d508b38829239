"""Run a model file in an engine over one role's rows."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import ANY_MODEL, Context, Params, operator
from titrant.runtime.contract.reading import TokenReading
from titrant.runtime.cost.forward import (
    ASSUMED_ROWS,
    BASE_SECONDS,
    fixed_batch,
    forward_seconds,
    held_bytes,
    model_output_bytes,
    opened_bytes,
    opening_seconds,
    speed_of,
)
from titrant.runtime.cost.sizes import missing
from titrant.schema.cost import FP32, NOTHING_KNOWN, ModelUse, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.frozen import replace

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.backends.session import Session
    from titrant.runtime.values import Rows


_KEPT_BYTES = 32


class PredictParams(Params):
    """Where the model runs and how many rows it gets at once."""

    engine: str = Field(description="the engine that runs the file, such as torch or onnxruntime")
    threads: int = Field(1, ge=1, description="threads of the engine")
    batch: int = Field(64, ge=1, description="rows answered at once")
    device: str = Field("cpu", description="cpu, cuda, cuda:N, mps")
    tokens: TokenReading | None = Field(
        None,
        exclude_if=lambda value: value is None,  # what says nothing changes no key
        description="of a language model: the output of which what judges it is kept, rather than all numbers",
    )
    named: dict[str, str] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="output of the file → the name of the original's that it answers for, where that is another one",
    )


def requires(params: PredictParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need the engine's package."""
    package = backend.get(params.engine).package
    return tuple(Unmet(f"the engine {unmet.cause}", unmet.remedy) for unmet in missing(hardware, package))


def predict(
    params: PredictParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Model the forward pass of a batch on its device, as often as there are batches, and opening the model."""
    if model is None:
        return Prediction()
    rows = work.rows.get("rows", ASSUMED_ROWS)
    use = work.models.get("model", ModelUse())
    model = use.facts or model
    speed = speed_of(hardware, params.threads, params.device)
    cost = run_cost(params.engine, use.kind)
    batch = fixed_batch(model) or params.batch
    batches, rest = divmod(rows, batch)
    steps = 1 if model.state is None else model.state.steps
    seconds = BASE_SECONDS + opening_seconds(model, use, cost, speed)
    seconds += steps * batches * forward_seconds(model, speed, cost, batch, use.arithmetic or FP32)
    if rest:
        seconds += steps * forward_seconds(model, speed, cost, rest, use.arithmetic or FP32)
    bases = {} if "rows" in work.rows else {"seconds": "guess"}
    size = rows * (model_output_bytes(model) if params.tokens is None else _kept_bytes(model, params.tokens)) + 200
    held = held_bytes(model, use, cost, min(batch, rows), on_device=speed.gpu is not None)
    peak = opened_bytes(model, use, cost) + held + 2 * size
    return Prediction(
        seconds=seconds,
        peak_bytes=peak,
        output_bytes=size,
        basis=speed.basis,
        bases=bases | {"output_bytes": "counted"},
    )


def _kept_bytes(model: ModelFacts, tokens: TokenReading) -> int:
    """Return what is kept of a language model's answer to one document: four numbers a position, in 64 bits."""
    judged = [spec for spec in model.outputs if spec.name == tokens.output] or list(model.outputs[:1])
    return sum(_KEPT_BYTES * math.prod(size for size in spec.shape[1:-1] if isinstance(size, int)) for spec in judged)


def predict_asked(
    params: PredictParams, hardware: Hardware, model: ModelFacts | None, work: Work, asked: tuple[int, int]
) -> Prediction:
    """Predict another number of rows in other batches; `asked` is the size of a batch, and the rows."""
    batch, rows = asked
    at_once = PredictParams(engine=params.engine, threads=params.threads, batch=batch, device=params.device)
    return predict(at_once, hardware, model, replace(work, rows={**work.rows, "rows": rows}))


def loads(params: PredictParams) -> tuple[str, ...]:
    """Load the engine."""
    return (backend.get(params.engine).module, "titrant.runtime.backends.session")


@operator(
    "validate.predict",
    version=2,
    family="validate",
    params=PredictParams,
    inputs={"model": ANY_MODEL, "rows": "rows"},
    outputs={"outputs": "outputs"},
    determinism="exact",
    requires=requires,
    predict=predict,
    loads=loads,
    libraries=("torch", "onnxruntime", "numpy"),
    engines=("engine",),
    user_code=True,
)
def validate_predict(params: PredictParams, context: Context, *, model: Any, rows: Any) -> dict[str, Any]:
    """Answer every row, in order, in batches.

    Helps when: anything about a model is to be judged: the file that is released is the file that answers here.
    Inputs:     model - a torch module, ONNX file or TorchScript file that the engine loads; rows - one role, of
                which the arrays that the model takes are used by name
    Outputs:    outputs - every output of the model, (rows, …) float32, in the order of the rows; with `tokens`, of
                the output that is judged alone, (rows, length, 4) float64: the log-likelihood of the token that each
                position is to give, that of another document's token, the likeliest token, and how many there are
    Fails:      StepError X401 when an output holds NaN or infinity, X402 when the model takes an input that the rows
                do not have, X403 when an output has another number of rows than it was given, X404 without rows, X656
                when an output has no number for each token of each position
    Cost:       one pass over the rows; peak memory is the model, one batch of activations and all outputs, of which
                with `tokens` 32 bytes a position are kept
    """
    from titrant.runtime.backends.session import predict_rows

    outputs = predict_rows(
        model,
        rows,
        engine_name=params.engine,
        threads=params.threads,
        batch=params.batch,
        device=params.device,
        progress=context.progress,
        keeping=lambda session, rows: judged_session(session, params, rows),
    )
    return {"outputs": outputs}


class NamedSession:
    """Runs a session whose outputs answer for those of another model, which have other names: own name → other's."""

    def __init__(self, session: "Session", names: Mapping[str, str]) -> None:
        self.input_names: tuple[str, ...] = session.input_names
        self.output_names: tuple[str, ...] = tuple(names[name] for name in session.output_names)
        self.fixed_batch = session.fixed_batch
        self.close = session.close
        self._session, self._names = session, names

    def run(self, inputs: "Mapping[str, np.ndarray]") -> "dict[str, np.ndarray]":
        """Answer one batch, as the session does."""
        return {self._names[name]: values for name, values in self._session.run(inputs).items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def judged_session(session: "Session", params: PredictParams, rows: "Rows") -> tuple[Any, "Rows"]:
    """Return a session that answers by the original's names, and rows; of a language model what judges it is kept."""
    from titrant.runtime.contract.output_kinds import contradiction
    from titrant.runtime.contract.tasks.tokens import TokenSession, with_tokens

    reading = params.tokens
    if params.named:
        session = NamedSession(session, params.named)
    if reading is None:
        return session, rows
    return TokenSession(session, reading.output, reading.kind, contradiction), with_tokens(rows)


def moving(arrays: "Mapping[str, np.ndarray]", reading: TokenReading | None) -> "Mapping[str, np.ndarray]":
    """Return what of answers moves with rounding by as little: of kept tokens the log-likelihoods alone."""
    from titrant.runtime.contract.tasks.tokens import likelihoods

    return arrays if reading is None else {name: likelihoods(kept) for name, kept in arrays.items()}
