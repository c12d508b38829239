"""The `tracking`, `report`, `profile` and `inspect` sections: what is logged, reported, measured and inspected."""

from typing import Annotated, Literal

from pydantic import Field

from titrant.schema.recipe.terms import Count, CountOrNone, PathText, Ref, Section, Text
from titrant.schema.values.units import MIN_CELL


class Wandb(Section):
    """Weights & Biases."""

    project: Text = Field(description="project that the run appears in")
    mode: Literal["online", "offline", "disabled"] = Field("offline", description="whether anything leaves the machine")
    entity: Text | None = Field(None, description="team or user")
    group: Text | None = Field(None, description="group of runs")
    tags: tuple[Text, ...] = Field((), description="tags of the run")


class Tensorboard(Section):
    """TensorBoard."""

    folder: PathText | None = Field(None, description="folder of the event files; default: in the run folder")


class Mlflow(Section):
    """MLflow."""

    uri: Text | None = Field(
        None, description="address of the tracking server or database; default: a database in the home"
    )
    experiment: Text | None = Field(None, description="experiment that the run appears in; default: the recipe's name")


class Tracking(Section):
    """Where runs are reported to besides the run folder."""

    wandb: Wandb | None = Field(None, description="Weights & Biases")
    tensorboard: bool | Tensorboard = Field(False, description="TensorBoard")
    mlflow: Annotated[bool | Mlflow, Field(union_mode="smart")] = Field(False, description="MLflow")


EvidenceDocument = Literal[
    "model_card", "bom", "spdx", "components", "test_result", "provenance", "hazards", "changes", "annex_iv"
]
REPORT_FORMATS: tuple[Literal["html", "md", "json"], ...] = ("html", "md", "json")


class Report(Section):
    """Formats and what they may show."""

    formats: tuple[Literal["html", "md", "json"], ...] = Field(
        REPORT_FORMATS, min_length=1, description="formats of the report; what compares runs reads json"
    )
    evidence: bool | tuple[EvidenceDocument, ...] | None = Field(
        None, description="documents of the evidence pack: true (all), false or a list of them; default: by level"
    )
    min_cell: Count = Field(
        MIN_CELL, description="groups and cells of tables with fewer cases than this are not shown, only that there are"
    )
    plots: tuple[Ref, ...] = Field(
        (),
        exclude_if=lambda value: not value,  # what says nothing is in no digest of a recipe
        description="functions `module:name` that draw or count what a model answers; runs your code",
    )
    tokens: bool = Field(False, description="show tokens of the data (they may be patients' text)")


class Profile(Section):
    """What is timed and counted."""

    batches: tuple[Count, ...] = Field((1, 8, 32), min_length=1, description="batch sizes that are timed")
    iterations: Count = Field(
        100,
        description=(
            "timed runs of each batch size; where it is not written, as many as the time allows: "
            "59 to 500 where models are compared, 8 to 59 elsewhere. A plain conversion that is no candidate "
            "takes 8 of them where models are not compared"
        ),
    )
    warmup: CountOrNone = Field(10, description="runs before the clock starts")
    layers: bool = Field(False, description="time, memory, FLOPs and executed precision of each layer")
    utilization: bool = Field(False, description="utilization of processors while running")
    memory: bool = Field(False, description="memory after each step")
    trace: bool = Field(False, description="a timeline of a batch, in the Chrome trace format")


class Inspect(Section):
    """What the report shows of the model's inside."""

    summary: bool = Field(False, description="table of the parameters, and the architecture drawn")
    health: bool = Field(False, description="NaN, infinity and odd ranges in weights and activations")
    attention: bool = Field(False, description="attention heat maps")
