"""Run a model file in an engine over one role's rows."""

from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.installed import missing
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction


class PredictParams(Params):
    """Where the model runs and how many rows it gets at once."""

    engine: str = Field(description="the engine that runs the file: torch, onnxruntime")
    threads: int = Field(1, ge=1, description="threads of the engine")
    batch: int = Field(64, ge=1, description="rows answered at once")
    device: str = Field("cpu", description="cpu, cuda, cuda:N, mps")


def requires(params: PredictParams, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
    """Need the engine's package."""
    return tuple(f"the engine {unmet}" for unmet in missing(hardware, params.engine))


def predict(params: PredictParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Guess from the FLOPs of one case; the number of rows is not known here, so a thousand are assumed."""
    if model is None or model.flops is None:
        return Prediction()
    # A batch-wise CPU run reaches some 5 GFLOP/s a thread; opening the model takes a few tens of milliseconds.
    seconds = 0.05 + 1000 * model.flops / (5e9 * params.threads)
    activations = (model.activation_bytes or 0) * params.batch
    return Prediction(seconds=seconds, peak_bytes=model.weight_bytes + activations, basis="guess")


@operator(
    "validate.predict",
    version=1,
    family="validate",
    params=PredictParams,
    inputs={"model": ("torch", "onnx", "torchscript"), "rows": "rows"},
    outputs={"outputs": "outputs"},
    determinism="exact",
    requires=requires,
    predict=predict,
    libraries=("torch", "onnxruntime", "numpy"),
    user_code=True,
)
def validate_predict(params: PredictParams, context: Context, *, model: Any, rows: Any) -> dict[str, Any]:
    """Answer every row, in order, in batches.

    Helps when: anything about a model is to be judged: the file that is released is the file that answers here.
    Inputs:     model - a torch module, ONNX file or TorchScript file that the engine loads; rows - one role, of
                which the arrays that the model takes are used by name
    Outputs:    outputs - every output of the model, (rows, …) float32, in the order of the rows
    Fails:      StepError X401 when an output holds NaN or infinity, X402 when the model takes an input that the rows
                do not have, X403 when an output has another number of rows than it was given, X404 without rows
    Cost:       one pass over the rows; peak memory is the model, one batch of activations and all outputs
    """
    from titrant.runtime.contract.predicting import predict_rows

    outputs = predict_rows(
        model,
        rows,
        engine_name=params.engine,
        threads=params.threads,
        batch=params.batch,
        device=params.device,
        progress=context.progress,
    )
    return {"outputs": outputs}
