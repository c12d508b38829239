"""Fit the transforms and make each role's model-ready rows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.data.parameters import InputSpecs, Names, Scalar, SubgroupColumn, TransformSteps
from titrant.runtime.data_cost import BASE_SECONDS, inspected
from titrant.schema.data_size import rows_bytes
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.work import NOTHING_KNOWN, Work

if TYPE_CHECKING:
    from titrant.runtime.values import Split, Tables


# Bytes of rows that are made in a second.
_MADE_BYTES_PER_SECOND = 150e6


class DataTransformParams(Params):
    """How raw columns become the model's inputs.

    `inputs` and `label` as in data.load; `inputs` None: every column but the label and `by`. `model_inputs` names the
    model's inputs where the recipe does; otherwise stacked numbers are "features" and an array keeps its name.
    """

    task: str
    inputs: Names | None = None
    label: str | None = None
    by: str | None = Field(None, description="the column that `split.by` names")
    positive: Scalar | None = None
    transforms: TransformSteps = ()
    subgroups: dict[str, SubgroupColumn] = Field(default_factory=dict)
    model_inputs: InputSpecs = ()


def predict(
    params: DataTransformParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count every role's rows; the time is what transforming took when the data was inspected."""
    data = work.data
    if data is None:
        return Prediction(seconds=0.05, basis="guess")
    sizes = [rows_bytes(data, role) for role in ("train", "tuning", "calibration", "evaluation")]
    seconds, basis = inspected(data, "transform", BASE_SECONDS + sum(sizes) / _MADE_BYTES_PER_SECOND)
    # All roles are held; the largest is converted, hashed, and copied once more while it is written.
    peak = sum(sizes) + max(sizes) * 5 // 2
    bases = {"seconds": basis, "output_bytes": "counted"}
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=sum(sizes), basis="modelled", bases=bases)


@operator(
    "data.transform",
    version=1,
    family="data",
    params=DataTransformParams,
    inputs={"tables": "tables", "split": "split"},
    outputs={
        "train": "rows",
        "tuning": "rows",
        "calibration": "rows",
        "evaluation": "rows",
        "transforms": "transforms",
    },
    predict=predict,
    loads=("titrant.runtime.data.transforming",),
    libraries=("numpy", "pillow"),
)
def data_transform(
    params: DataTransformParams, context: Context, *, tables: "Tables", split: "Split"
) -> Mapping[str, Any]:
    """Fit the transforms on train rows and apply them to every role.

    Helps when: always; the same fitted transforms are shipped with the model.
    Inputs:     tables, split - the sources and who has which row
    Outputs:    train, tuning, calibration, evaluation - inputs name → (rows, …) float32 or int64, labels as indices
                into the class names, subgroups; a role that was left out has no rows. transforms - as fitted
    Fails:      PreconditionError when NaN is left in an input, a text column is not encoded, a label is not a class,
                `positive` is not one of the classes, or there is one class only
    Cost:       a pass over the inputs for each transform; they are held in memory twice
    """
    from titrant.runtime.data.transforming import transform

    rows, fitted = transform(params, tables, split)
    return {**rows, "transforms": fitted}
