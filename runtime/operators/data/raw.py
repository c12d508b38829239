"""Give each role's rows as the raw columns that a file takes which holds its transforms."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts, column_bytes
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import RowSplit, Tables, Transforms

# Rows of the roles that answer; no file is trained or calibrated with its transforms inside.
_ANSWERING = ("tuning", "evaluation")
_MADE_BYTES_PER_SECOND = 100e6


class DataRawParams(Params):
    """Nothing is to be chosen: the transforms say which columns they take."""


def predict(
    params: DataRawParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the columns of the roles' rows."""
    data = work.data
    if data is None:
        return Prediction(seconds=0.05, basis="guess")
    rows = sum(data.roles[role].rows for role in _ANSWERING if role in data.roles)
    size = rows * (sum(column_bytes(column) for column in data.columns) + 16)
    seconds = BASE_SECONDS + size / _MADE_BYTES_PER_SECOND
    return Prediction(seconds=seconds, peak_bytes=3 * size, output_bytes=size, basis="modelled")


@operator(
    "data.raw",
    version=1,
    family="data",
    params=DataRawParams,
    inputs={"tables": "tables", "split": "split", "transforms": "transforms"},
    outputs=dict.fromkeys(_ANSWERING, "rows"),
    predict=predict,
    loads=("titrant.runtime.data.raw",),
    libraries=("numpy",),
)
def data_raw(
    params: DataRawParams, context: Context, *, tables: "Tables", split: "RowSplit", transforms: "Transforms"
) -> Mapping[str, Any]:
    """Give the rows of each role as raw columns, by name, in the types that a file with its transforms inside takes.

    Helps when: a file takes raw columns (`export.transforms: inside`): it is judged and timed on them.
    Inputs:     tables, split - the sources and who has which row; transforms - as fitted, whose columns are given
    Outputs:    tuning, evaluation - column → (rows,) text or float64, int64 where the model takes whole numbers, or
                (rows, …) arrays in their own dtype; no labels, since these rows are only answered
    Fails:      StepError X243 for images that differ in size, which no batch holds
    Cost:       one copy of the columns
    """
    from titrant.runtime.data.raw import raw_rows

    return {role: raw_rows(role, tables, split, transforms) for role in _ANSWERING}
