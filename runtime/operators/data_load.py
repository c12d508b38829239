"""Load the data: every source as a table of named columns or arrays."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import InputSpecs, Names, Source
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import Tables


class DataLoadParams(Params):
    """What to read.

    `sources` holds a recipe's single `data.source` under "source". `inputs` and `label` are the names that later
    steps use: `data.inputs` and `data.label`, or else those of the first source that has its own. `inputs` None: every
    column. `keep` names further columns to load beside them (subgroups, `split.by`). Without sources, `random` are
    the model inputs to draw.
    """

    sources: dict[str, Source] = Field(default_factory=dict)
    inputs: Names | None = None
    label: str | None = None
    keep: Names = ()
    random: InputSpecs = Field((), description="model inputs to fill with seeded random values, where there is no data")
    random_rows: int = Field(256, ge=1)
    resize: bool = Field(False, description="a resize transform follows, so images may differ in size")


def predict(params: DataLoadParams, hardware: Hardware, model: ModelFacts | None) -> Prediction:
    """Expect the time that importing the reader takes; what it reads is not known before."""
    pandas = any(source.csv or source.parquet or source.factory for source in params.sources.values())
    sklearn = any(source.sklearn for source in params.sources.values())
    return Prediction(seconds=0.05 + 0.8 * pandas + 1.5 * sklearn, basis="guess")


@operator(
    "data.load",
    version=1,
    family="data",
    params=DataLoadParams,
    inputs={},
    outputs={"tables": "tables"},
    predict=predict,
    libraries=("numpy", "pandas", "pyarrow", "pillow", "scikit-learn"),
    user_code=True,
)
def data_load(params: DataLoadParams, context: Context) -> Mapping[str, Any]:
    """Read every source into columns or arrays of equal length.

    Helps when: always; it is the first step of every plan.
    Inputs:     none
    Outputs:    tables - source → columns (rows,) or arrays (rows, …); numbers keep their dtype, text is Unicode with
                "" for missing, images are float32 (rows, 3, height, width) in 0..1
    Fails:      StepError on a missing or unreadable file, object arrays, a column that is not there, lengths that
                differ, no rows, a label that is missing, a factory that raises
    Cost:       one read of each file; the data is held in memory once
    """
    from titrant.runtime.data.loading import load

    tables: Tables = load(params, seed=context.seed)
    context.measure("rows", sum(table.rows for table in tables.sources.values()))
    return {"tables": tables}
