"""Export a model to TorchScript."""

from typing import Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, modelled, speed_of
from titrant.runtime.cost.sizes import missing, torchscript_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Tracing four times, freezing and opening: at all, and for each layer; writing and comparing the weights.
_SECONDS, _LAYER_SECONDS = 0.08, 0.02
_WRITTEN_BYTES_PER_SECOND = 100e6
_TRACER_BYTES = 6 << 20
# Batches of activations that are held while the example rows are traced and answered twice.
_HELD = 5


class ExportTorchScriptParams(Params):
    """How far answers may move."""

    tolerance: float = Field(
        1e-4,
        gt=0,
        description="largest difference to the torch answers, relative to the largest answer; of a model in 16 bits "
        "four roundings of its numbers are allowed",
    )
    rows: int = Field(32, ge=1, description="example rows that are compared, at most")


def requires(params: ExportTorchScriptParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch."""
    return missing(hardware, "torch")


def predict(
    params: ExportTorchScriptParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights and add what the code and the alignment of constants spend."""
    if model is None:
        return Prediction()
    speed = speed_of(hardware, work.threads)
    rows = min(params.rows, work.rows.get("example", params.rows))
    answers = 2 * forward_seconds(model, speed, run_cost("torch", "torch"), rows)
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND + answers
    size = torchscript_bytes(model, halved=_halved(work))
    peak = 4 * size + _HELD * (model.activation_bytes or 0) * rows + _TRACER_BYTES
    return modelled(hardware, seconds, peak, size)


def _halved(work: Work) -> bool:
    """Say whether the model was cast to 16 bits before."""
    use = work.models.get("model")
    return use is not None and use.arithmetic is not None and use.arithmetic.half


@operator(
    "export.torchscript",
    version=3,
    family="export",
    params=ExportTorchScriptParams,
    inputs={"model": "torch", "example": "rows"},
    outputs={"model": "torchscript", "parity": "value"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.script"),
    costless=("tolerance",),
    libraries=("torch",),
    user_code=True,
)
def export_torchscript(
    params: ExportTorchScriptParams, context: Context, *, model: Any, example: Any
) -> dict[str, Any]:
    """Trace and freeze the model into a TorchScript file, and compare the file's answers with the module's.

    A forward that decides on values that it computes is scripted instead, from its source, so that both ways are in the
    file: a trace would hold the one that the example took.

    Helps when: the model shall run in libtorch, or in torch without its Python source.
    Inputs:     model - any module; one that decides on values needs source that TorchScript reads; example - rows
                whose arrays it takes by name
    Outputs:    model - one file with a free batch size, weights as constants, no paths of this machine, the same bytes
                every time; parity - largest absolute and relative difference over the example rows, and over the first
                of them alone
    Fails:      PreconditionError when the forward decides on values and TorchScript does not read its source; StepError
                when the trace gives other answers than the module, or answers differ beyond `tolerance`
    Cost:       four forward passes of two rows, one of the example rows; peak memory is three times the weights
    """
    from titrant.runtime.backends.torch.script import export
    from titrant.runtime.operators.model.fold import with_plain_weights

    exported, parity = export(with_plain_weights(model), example, params.tolerance, params.rows, context)
    context.measure("parity_relative", parity["relative"])
    return {"model": exported, "parity": parity}
