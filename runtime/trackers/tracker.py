"""What a tracker is given of a run, what it does with it, and the list of those that there are."""

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from titrant.schema.values.frozen import dataclass

# Where a run keeps what trackers write, unless they are told of another place; a folder for each.
FOLDER = "tracking"
# Why a tracker got less than there was.
NOT_INSTALLED, NOT_WRITABLE, NO_ANSWER, TOO_LATE, DIED = "X600", "X601", "X602", "X603", "X604"


@dataclass(frozen=True)
class TrackedRun:
    """What a run is: its folder, its home, and what names it; `settings` are flat, without paths and free text."""

    run: str
    name: str
    folder: Path
    home: Path
    settings: Mapping[str, str | int | float | bool]

    @property
    def own(self) -> Path:
        """The folder below which trackers write."""
        return self.folder / FOLDER


@dataclass(frozen=True)
class TrackedPoint:
    """Figures of a step: at one place of a curve, counted from 1, or 0 for what it has once; `time` is since 1970."""

    step: str
    place: int
    figures: Mapping[str, float]
    time: float


@dataclass(frozen=True)
class GateFigures:
    """One gate of one candidate, as the record shows it; None for what is not shown."""

    candidate: str
    gate: str
    verdict: str
    estimate: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class ReleasedFile:
    """A released file: its name below `outputs`, its BLAKE3 digest and size in bytes, and the candidate that it is."""

    file: str
    digest: str
    size: int
    candidate: str


@dataclass(frozen=True)
class Ending:
    """How a run ended: exit code and verdict ("" for a run that failed), final figures, gates, what is released."""

    exit: int
    verdict: str
    figures: Mapping[str, float] = field(default_factory=dict)
    gates: tuple[GateFigures, ...] = ()
    released: tuple[ReleasedFile, ...] = ()


class TrackerError(Exception):
    """A tracker cannot follow: the code says why, the message what was seen, and the remedy what would mend it."""

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class Tracker(Protocol):
    """One tracker that follows one run; any exception ends it, and nothing else."""

    mode: str  # online, offline, disabled; local for files of this machine
    where: str  # the folder or the address

    def log(self, point: TrackedPoint) -> None:
        """Take a point."""

    def close(self, ending: Ending) -> None:
        """Take the end, and send or write what is left."""


# Opens a tracker with its options; raises TrackerError, or whatever its library raises.
Open = Callable[[TrackedRun, Mapping[str, Any]], Tracker]


def refuse_unwritable(folder: Path) -> None:
    """Make a folder and write into it, as much as a small run takes; TrackerError where that cannot be.

    Libraries do not say it: wandb writes to the system's folder for temporary files instead.
    """
    import os
    import tempfile

    from titrant.schema.values.text import os_reason

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        message = f"nothing can be written in {folder}: {os_reason(error)}"
        raise TrackerError(NOT_WRITABLE, message, "make it writable, with room on its disk, or name another") from None


_PROBE_BYTES = 1 << 18
