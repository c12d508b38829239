"""Write the report of a run."""

from collections.abc import Mapping
from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction


class RenderParams(Params):
    """A report has no options: it shows everything that the record holds."""


def predict(params: RenderParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Importing matplotlib and drawing four small pictures; the files hold the record and little else."""
    return Prediction(seconds=1.5, peak_bytes=96 << 20, output_bytes=300_000, basis="guess")


@operator(
    "report.render",
    version=1,
    family="report",
    params=RenderParams,
    inputs={"record": "value"},
    outputs={"report": "report"},
    determinism="exact",
    predict=predict,
    libraries=("jinja2", "matplotlib"),
)
def report_render(params: RenderParams, context: Context, *, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write what a run did and found as one HTML page, as Markdown and as JSON.

    Helps when: a person has to decide whether to ship the model, or an auditor asks how it was decided.
    Inputs:     record - plain JSON, see `titrant.runtime.report.record_view.Record`; parts that a run does not have
                (training curves, labels, a released file) may be left out
    Outputs:    report - report.html (one file, no network), report.md, report.json
    Fails:      StepError X500 when the record lacks a part without which nothing true can be said
    Cost:       about a second, most of it importing matplotlib
    """
    from titrant.runtime.report.write import write_report
    from titrant.runtime.values import ReportFiles

    folder = context.scratch / "report"
    folder.mkdir()
    write_report(record, folder)
    return {"report": ReportFiles(folder)}
