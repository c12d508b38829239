"""Capture where a model attends on tuning rows, and keep what a report shows of it."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import basis_of
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import Rows

_LAYER_BYTES, _SECONDS = 40_000, 0.1


class AttentionParams(Params):
    """How many rows are answered, and whether their tokens may be named."""

    rows: int = Field(16, ge=1, description="rows that the model answers, the first of the role")
    tokens: bool = Field(False, description="name the places of the first row by its tokens, and show its map")


def predict(
    params: AttentionParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Answer a few rows, and keep the weights of every layer until all are there."""
    if model is None:
        return Prediction()
    rows = min(params.rows, work.rows.get("rows", params.rows))
    peak = 8 * rows * (model.activation_bytes or 0)
    return Prediction(
        seconds=_SECONDS, peak_bytes=peak, output_bytes=_LAYER_BYTES * len(model.layers) // 4, basis=basis_of(hardware)
    )


@operator(
    "inspect.attention",
    version=1,
    family="inspect",
    params=AttentionParams,
    inputs={"model": ("torch", "onnx", "torchscript", "exported"), "rows": "rows"},
    outputs={"seen": "value"},
    determinism="tolerance",
    predict=predict,
    libraries=("torch", "onnxruntime", "numpy"),
    user_code=True,
)
def inspect_attention(params: AttentionParams, context: Context, *, model: Any, rows: "Rows") -> dict[str, Any]:
    """Capture the attention weights of every layer, computed from queries and keys where attention is fused.

    Helps when: somebody asks what a transformer looks at, whether heads are idle, or whether quantization moved them.
    Inputs:     model - any nn.Module, or an ONNX, TorchScript or torch.export file; rows - one role, of which the first
                are answered
    Outputs:    seen - {"layers": [{layer, rows, heads, queries, keys, entropy, first, itself, mean, by_head, cell,
                fused}], "tokens", "notes"}; maps are means over rows, of at most 24 x 24 cells, (queries, keys); tokens
                and the map of the first row only where they are asked for
    Fails:      StepError X683 when the model cannot answer the rows, X684 when it computes no attention, X685 for
                attention that cannot be taken apart
    Cost:       one forward pass; peak memory holds the weights of all layers, rows x heads x queries x keys
    """
    from titrant.runtime.instruments.attention.capture import attention_of
    from titrant.runtime.instruments.attention.seen import REPORT_CELLS, REPORT_HEADS, seen, token_names
    from titrant.runtime.instruments.subject.subject import subject_of
    from titrant.schema.values.canonical import plain

    some = {name: array[: params.rows] for name, array in rows.inputs.items()}
    subject = subject_of(model)
    maps = attention_of(subject, some)
    context.measure("layers", len(maps))
    tokens = token_names(some) if params.tokens else ()
    return {"seen": plain(seen(maps, tokens, subject.notes, cells=REPORT_CELLS, heads=REPORT_HEADS))}
