"""Write the report of a run."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import basis_of
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.recipe.observe import REPORT_FORMATS
from titrant.schema.values.units import MIN_CELL

# Two pages and some pictures.
_SECONDS = 0.1
_SIZE, _STEP_BYTES = 95_000, 3100


class RenderParams(Params):
    """A report shows everything that the record holds, but for cells of tables with very few cases."""

    min_cell: int = Field(MIN_CELL, ge=1, description="cells of fewer cases are not shown, only that there are some")
    evidence: tuple[str, ...] = Field(
        (),
        strict=False,
        exclude_if=lambda value: not value,
        description="documents of the evidence pack that a run writes beside it",
    )
    formats: tuple[Literal["html", "md", "json"], ...] = Field(
        REPORT_FORMATS,
        strict=False,
        min_length=1,
        exclude_if=lambda value: value == REPORT_FORMATS,
        description="which files are written",
    )


def predict(
    params: RenderParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Draw four small pictures; the files hold the record, so they grow with the steps and what they measured."""
    size = _SIZE + _STEP_BYTES * work.steps + work.values_bytes
    return Prediction(seconds=_SECONDS, peak_bytes=8 << 20, output_bytes=size, basis=basis_of(hardware))


@operator(
    "report.render",
    version=9,
    family="report",
    params=RenderParams,
    inputs={"record": "value"},
    outputs={"report": "report"},
    determinism="exact",
    predict=predict,
    loads=("jinja2", "titrant.runtime.report.page"),
    libraries=("jinja2",),
)
def report_render(params: RenderParams, context: Context, *, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write what a run did and found as one HTML page, as Markdown and as JSON.

    Helps when: a person has to decide whether to ship the model, or an auditor asks how it was decided.
    Inputs:     record - plain JSON, see `titrant.runtime.report.record_view.Record`; parts that a run does not have
                (training curves, labels, a released file) may be left out
    Outputs:    report - report.html (one file, no network), report.md and report.json, or those that are asked for
    Fails:      StepError X500 when the record lacks a part without which nothing true can be said
    Cost:       a tenth of a second, most of it loading the templates; pictures are drawn without a library
    """
    from titrant.runtime.report.page import write_report
    from titrant.runtime.values import ReportFiles

    folder = context.scratch / "report"
    folder.mkdir()
    write_report(record, folder, min_cell=params.min_cell, formats=params.formats)
    return {"report": ReportFiles(folder)}
