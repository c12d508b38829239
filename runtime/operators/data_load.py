"""Load the data: every source as a table of named columns or arrays."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import InputSpecs, Names, Source
from titrant.runtime.data_cost import BASE_SECONDS, inspected
from titrant.schema.data_size import has_text, tables_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

if TYPE_CHECKING:
    from titrant.runtime.values import Tables


# Bytes that a reader decodes in a second, what it holds beside the data, and for each text while it is read.
_READ_BYTES_PER_SECOND = 100e6
_READER_BYTES, _TEXT_BYTES = 1 << 20, 250
# What the user's own code imports and holds beside the data.
_FACTORY_BYTES = 7 << 20


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


def predict(
    params: DataLoadParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count what is kept; the time is what reading took when the data was inspected, or else a guess by its bytes."""
    data = work.data
    if data is None:
        return Prediction(seconds=0.05, basis="guess")
    size = tables_bytes(data)
    seconds, basis = inspected(data, "load", BASE_SECONDS + size / _READ_BYTES_PER_SECOND)
    bases = {"seconds": basis, "output_bytes": "modelled" if has_text(data) else "counted"}
    texts = data.rows * sum(column.dtype == "text" for column in data.columns)
    own = _FACTORY_BYTES if any(source.factory for source in params.sources.values()) else 0
    peak = size * 12 // 5 + _TEXT_BYTES * texts + _READER_BYTES + own
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis="modelled", bases=bases)


def loads(params: DataLoadParams) -> tuple[str, ...]:
    """Load the readers of the sources' formats."""
    sources = params.sources.values()
    readers = {
        "sklearn.datasets": any(source.sklearn for source in sources),
        "pandas": any(source.csv or source.parquet or source.factory for source in sources),
        "pyarrow.parquet": any(source.parquet for source in sources),
    }
    return ("titrant.runtime.data.loading", *(name for name, used in readers.items() if used))


@operator(
    "data.load",
    version=3,
    family="data",
    params=DataLoadParams,
    inputs={},
    outputs={"tables": "tables"},
    predict=predict,
    loads=loads,
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
