"""Split the data into the roles train, tuning, calibration and evaluation."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import Names
from titrant.runtime.data_cost import BASE_SECONDS, inspected
from titrant.schema.data_size import split_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

if TYPE_CHECKING:
    from titrant.runtime.values import Tables


# Numbers that are hashed in a second, and in one piece.
_HASHED_PER_SECOND = 25e6
_HASHED_AT_ONCE = 1 << 20


class DataSplitParams(Params):
    """Who gets what.

    `roles` maps a role to the sources that it draws from and the fraction of each: `train: 0.5` of the recipe is
    {"train": {"source": 0.5}}, `train: name` is {"train": {"name": 1.0}}. `by` is "row", "order", or a column whose
    equal values stay together. `inputs` and `label` as in data.load.
    """

    roles: dict[str, dict[str, float]]
    by: str = "row"
    stratify: bool = True
    overlap: Literal["error", "drop"] = "error"
    inputs: Names | None = None
    label: str | None = Field(None, description="the column to stratify by")


def predict(
    params: DataSplitParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the places and units; the time is what splitting took when the data was inspected."""
    data = work.data
    if data is None:
        return Prediction(seconds=0.05, basis="guess")
    numbers = data.rows * sum(math.prod(column.shape) for column in data.columns)
    seconds, basis = inspected(data, "split", BASE_SECONDS + numbers / _HASHED_PER_SECOND)
    # Numbers are hashed in pieces, as 64-bit copies of which five are alive.
    peak = 40 * min(numbers, _HASHED_AT_ONCE) + 16 * data.rows
    bases = {"seconds": basis, "output_bytes": "counted"}
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=split_bytes(data), basis="modelled", bases=bases)


@operator(
    "data.split",
    version=1,
    family="data",
    params=DataSplitParams,
    inputs={"tables": "tables"},
    outputs={"split": "split"},
    predict=predict,
    loads=("titrant.runtime.data.splitting",),
    libraries=("numpy",),
)
def data_split(params: DataSplitParams, context: Context, *, tables: "Tables") -> Mapping[str, Any]:
    """Give every row a role, by a hash of its content salted with the seed.

    Helps when: always; what trains, tunes, calibrates and judges must not share cases.
    Inputs:     tables - the sources as loaded
    Outputs:    split - role → source → sorted row indices, and the unit of every row
    Fails:      PreconditionError when a class has fewer rows than there are roles, a source or column is not there,
                fractions exceed 1, or named sources share rows and `overlap` is error
    Cost:       one hash of the inputs and a sort; about a second and a half for a million rows of ten columns
    """
    from titrant.runtime.data.splitting import split

    result = split(params, tables, seed=context.seed)
    for role, sources in result.roles.items():
        context.measure(f"rows.{role}", sum(len(rows) for rows in sources.values()))
    return {"split": result}
