"""Split the data into the roles train, tuning, calibration and evaluation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import Names
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import Tables


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


def predict(params: DataSplitParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Expect a second per million rows, of which the number is not known here."""
    return Prediction(seconds=0.05, basis="guess")


@operator(
    "data.split",
    version=1,
    family="data",
    params=DataSplitParams,
    inputs={"tables": "tables"},
    outputs={"split": "split"},
    predict=predict,
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
