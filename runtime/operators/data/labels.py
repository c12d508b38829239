"""Read the labels that people gave back, and find the rows without labels that they are about."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import File
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import Rows, Tables


class DataLabelsParams(Params):
    """The file that was given back."""

    file: File
    id: str | None = Field(None, description="column that names a row; none: keyed digests do")


def predict(
    params: DataLabelsParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Name every row once."""
    return Prediction(seconds=0.05, peak_bytes=1 << 20, output_bytes=1 << 10, basis="guess")


@operator(
    "data.labels",
    version=1,
    family="data",
    params=DataLabelsParams,
    inputs={"tables": "tables", "rows": "rows"},
    outputs={"labels": "value"},
    predict=predict,
    loads=("titrant.runtime.data.row_labels",),
    libraries=("numpy",),
)
def data_labels(params: DataLabelsParams, context: Context, *, tables: "Tables", rows: "Rows") -> Mapping[str, Any]:
    """Match labels with the rows without labels, by the rows' names.

    Helps when: somebody labeled rows that `titrant label` wrote; lines without a label are not labeled yet
    Inputs:     tables - of data.unlabeled, with what names its rows; rows - tuning rows, for the classes
    Outputs:    labels - {"rows": how many rows there are, "labels": [[place of a row, index of its class], …]}
    Fails:      RecipeError X227 for a file that is none of labels, or is about other rows; X228 for a row that is
                labeled twice; X229 for a label that is no class
    Cost:       a keyed digest of every row
    """
    from titrant.runtime.data.row_labels import matched, names_of, read_labels

    names = tables.sources["names"].columns
    own = names["own"] if params.id is not None else None
    of_rows = names_of(names["content"], b"" if own is not None else context.row_key(), own)
    labels = matched(read_labels(params.file.path), of_rows, rows.classes)
    context.measure("labels", len(labels))
    return {"labels": {"rows": len(of_rows), "labels": [[place, labels[place]] for place in sorted(labels)]}}
