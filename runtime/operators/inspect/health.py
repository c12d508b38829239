"""Say whether the numbers of a model are sound: its weights, and what its layers answer on tuning rows."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import basis_of
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import Rows

# What is read several times; a layer's lines; a block of numbers in double precision, a few times.
_BYTES_PER_SECOND, _LINE_BYTES, _BLOCK_BYTES = 2e8, 900, 64 << 20


class HealthParams(Params):
    """How many rows are answered."""

    rows: int = Field(64, ge=1, description="rows that the model answers, the first of the role")


def predict(
    params: HealthParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Read every weight a few times, and keep the answer of one layer at a time."""
    if model is None:
        return Prediction()
    rows = min(params.rows, work.rows.get("rows", params.rows))
    seconds = 0.05 + model.weight_bytes / _BYTES_PER_SECOND
    peak = _BLOCK_BYTES + 4 * rows * (model.activation_bytes or 0)
    size = _LINE_BYTES * (len(model.layers) + 1)
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis=basis_of(hardware))


@operator(
    "inspect.health",
    version=1,
    family="inspect",
    params=HealthParams,
    inputs={"model": ("torch", "onnx", "torchscript", "exported"), "rows": "rows"},
    outputs={"seen": "value"},
    determinism="tolerance",
    predict=predict,
    libraries=("torch", "onnxruntime", "numpy"),
    user_code=True,
)
def inspect_health(params: HealthParams, context: Context, *, model: Any, rows: "Rows") -> dict[str, Any]:
    """Look for broken, dead and equal numbers in weights and answers, and for ranges that int8 would ruin.

    Helps when: a model answers badly and nobody knows why, or quantization loses more than it should.
    Inputs:     model - any nn.Module, or an ONNX, TorchScript or torch.export file; rows - one role, of which the first
                are answered
    Outputs:    seen - {"findings": [{kind, severity, layer, figure, words, helps}], "tensors": figures of each weight,
                "answers": figures of each layer's answer, "rows"}
    Fails:      StepError X683 when the model cannot answer the rows
    Cost:       a few passes over the weights, one tensor at a time, and one forward pass
    """
    from dataclasses import replace

    from titrant.runtime.instruments.health.look import health_of
    from titrant.runtime.instruments.subject.subject import subject_of
    from titrant.schema.values.canonical import plain

    some = {name: array[: params.rows] for name, array in rows.inputs.items()}
    health = health_of(subject_of(model), some)
    context.measure("findings", len(health.findings))
    kept = tuple(tensor for tensor in health.tensors if tensor.role == "weight" or tensor.nan or tensor.infinite)
    return {"seen": plain(replace(health, tensors=kept))}
