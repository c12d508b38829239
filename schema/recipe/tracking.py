"""The `tracking` section: experiment trackers that read the journal."""

from typing import Annotated, Literal

from pydantic import Field

from titrant.schema.recipe.terms import PathText, Section, Text


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

    uri: Text | None = Field(None, description="address of the tracking server; default: a local folder")
    experiment: Text | None = Field(None, description="experiment that the run appears in; default: the recipe's name")


class Tracking(Section):
    """Where runs are reported to besides the run folder."""

    wandb: Wandb | None = Field(None, description="Weights & Biases")
    tensorboard: bool | Tensorboard = Field(False, description="TensorBoard")
    mlflow: Annotated[bool | Mlflow, Field(union_mode="smart")] = Field(False, description="MLflow")
