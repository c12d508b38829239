"""What a search for mixtures found out: what each region does to the answers, and what was proposed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError


@dataclass(frozen=True)
class RegionDamage:
    """What one region does to the answers in lower precision alone: `kl` in nats, or a relative squared error.

    `refused` is the code of what the engine said where it does not run the region so: `kl` then is that of no answer.
    `measured` is one of which no estimate was to be had, where the others are estimated.
    """

    name: str
    layers: tuple[str, ...]
    kl: float
    inseparable: bool = False
    refused: str = ""
    measured: bool = False

    @property
    def note(self) -> str:
        """Say what is special about it; "" where nothing is."""
        said = (
            (bool(self.refused), f"the engine does not run it in lower precision ({self.refused})"),
            (self.inseparable, "its blocks cannot be parted"),
            (self.measured, "measured, where the others are estimated"),
        )
        return ", ".join(text for applies, text in said if applies)


@dataclass(frozen=True)
class SensitivityCheck:
    """The same measured on all tuning rows: by region and for all at once, and how the figures compare with it."""

    rows: int
    regions: Mapping[str, float]
    whole: float
    spearman: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Sensitivity:
    """What each region does to the answers, in the order of computing, and all of them together."""

    regions: tuple[RegionDamage, ...]
    whole: float
    rows: int
    check: SensitivityCheck | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return a line for each region about which there is something to say."""
        return tuple(f"{region.name}: {region.note}" for region in self.regions if region.note)


@dataclass(frozen=True)
class PredictedMix:
    """A mixture of a frontier: the regions that it leaves in fp32, seconds of a batch, and damage."""

    leave: tuple[str, ...]
    seconds: float
    damage: float


@dataclass(frozen=True)
class Proposal:
    """A mixture as it was proposed: its regions, what was expected of it, and the frontier that it is on."""

    int8: tuple[str, ...]
    leave: tuple[str, ...]
    predicted: Mapping[str, float]
    frontier: tuple[PredictedMix, ...] = ()


def read_sensitivity(value: Mapping[str, Any]) -> Mapping[str, Sensitivity]:
    """Read the part `values.sensitivity` of a record; StepError X500 where it is none."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Mapping[str, Sensitivity]).validate_python(value)
    except ValidationError as error:
        raise unreadable(f"values.sensitivity: {error.errors()[0]['msg']}") from None


def unreadable(why: str) -> StepError:
    """Return the error of a record that cannot be read, and why."""
    return StepError(
        Diagnostic(
            "X500",
            f"this is not a run record: {why}",
            help='a record is {"plan", "run", "values", "hardware", "recipe_text"}, as a run writes it',
        )
    )
