"""Put fitted transforms into an ONNX file, so that raw columns go in and the model's answers come out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import missing
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import DataFacts, Hardware, ModelFacts, case_bytes
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import OnnxModel, Rows, Transforms

_SECONDS, _READ_BYTES_PER_SECOND = 0.08, 40e6
# What a column, and each number that is made of it, takes in the file: nodes with their names, figures and values.
_COLUMN_BYTES, _NUMBER_BYTES = 260, 24


class ExportInsideParams(Params):
    """How far answers may move, and how many rows are compared."""

    tolerance: float = Field(
        1e-6, gt=0, description="largest difference to the model's answers alone, relative to the largest answer"
    )
    rows: int = Field(256, ge=1, description="rows that are compared, at most")


def requires(params: ExportInsideParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need onnx to write, and onnxruntime to compare."""
    return missing(hardware, "onnx", "onnxruntime")


def predict(
    params: ExportInsideParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the model's file, and what nodes and figures take for each column and number."""
    if model is None:
        return Prediction()
    use = work.models.get("model")
    file = use.bytes if use is not None and use.bytes is not None else model.weight_bytes
    size = file + _transforms_bytes(work.data)
    return modelled(hardware, _SECONDS + file / _READ_BYTES_PER_SECOND, 4 * size, size)


def _transforms_bytes(data: DataFacts | None) -> int:
    if data is None:
        return 0
    return _COLUMN_BYTES * len(data.columns) + _NUMBER_BYTES * min(case_bytes(data) // 4, 4096)


@operator(
    "export.inside",
    version=1,
    family="export",
    params=ExportInsideParams,
    inputs={"model": "onnx", "transforms": "transforms", "example": "rows", "raw": "rows"},
    outputs={"model": "onnx", "parity": "value"},
    requires=requires,
    predict=predict,
    loads=("onnx", "onnxruntime", "titrant.runtime.backends.onnxruntime.inside"),
    costless=("tolerance",),
    libraries=("onnx", "onnxruntime", "numpy"),
)
def export_inside(
    params: ExportInsideParams, context: Context, *, model: Any, transforms: Any, example: Any, raw: Any
) -> dict[str, Any]:
    """Join the transforms and the model in one ONNX file, and compare its answers on raw columns with the model's.

    Helps when: the model is to run where titrant is not: one file takes raw columns and decides, and no one-hot order
                is built again by hand.
    Inputs:     model - an ONNX file, quantized or not, which stays as it is; transforms - as fitted, given or loaded;
                example - rows as the model takes them; raw - the same rows as raw columns
    Outputs:    model - one ONNX file whose inputs are the columns by name: text (batch,) as text, "" where it is
                missing, numbers (batch,) as float64, NaN where one is missing, arrays in their own dtype. Transforms
                compute in float64 and float32 as outside. parity - largest difference over the compared rows
    Fails:      StepError X243, by name, for what ONNX has no equal for; X244 when answers differ beyond `tolerance`
    Cost:       one read and write of the file, and two passes over the compared rows
    """
    written, parity = put_inside(model, transforms, (example, raw), params, context)
    context.measure("parity_relative", parity["relative"])
    return {"model": written, "parity": parity}


def put_inside(
    model: "OnnxModel",
    transforms: "Transforms",
    rows: "tuple[Rows, Rows]",
    params: ExportInsideParams,
    context: Context,
) -> "tuple[OnnxModel, Mapping[str, Any]]":
    """Return the written file, and how its answers on raw columns differ from the model's; `rows` are both forms."""
    from titrant.runtime.backends.onnxruntime.graph import read, write
    from titrant.runtime.backends.onnxruntime.inside import joined
    from titrant.runtime.backends.session import answer_rows, check_rows, measure_parity, open_session, taken

    example, raw = rows
    check_rows(example)
    written = write(joined(read(model.path), transforms, raw.inputs), context.scratch / "model.onnx")
    answers = []
    count = min(params.rows, len(example))
    for file, given in ((model, example), (written, raw)):
        with open_session("onnxruntime", file, threads=context.threads) as session:
            inputs = {name: taken(given, name)[:count] for name in session.input_names}
            answers.append(answer_rows(session, inputs, count, count))
    parity = measure_parity(*answers)
    if not parity["relative"] <= params.tolerance:
        message = (
            f"the file with its transforms inside answers otherwise than the model alone: relative difference "
            f"{parity['relative']:.3g}, and {params.tolerance:.3g} is allowed"
        )
        raise StepError(Diagnostic("X244", message, help="write `transforms: beside`"))
    return written, {**parity, "tolerance": params.tolerance}
