"""Follow a run in Weights & Biases: online, offline in the run's folder, or not at all; begin a user's own run.

The environment may only be stricter than what is asked for: WANDB_MODE, WANDB_DISABLED, and the lack of a login.
"""

import json
import os
import re
import sys
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from titrant.runtime.machine.processes import lives
from titrant.runtime.store.home import begun_before
from titrant.runtime.store.run_folder import RECORD
from titrant.runtime.trackers.tracker import (
    FOLDER,
    NOT_INSTALLED,
    NOT_WRITABLE,
    Ending,
    TrackedPoint,
    TrackedRun,
    TrackerError,
    refuse_unwritable,
)
from titrant.schema.values.files import json_object, write_json
from titrant.schema.values.frozen import dataclass

WandbMode = Literal["online", "offline", "disabled"]
# From the laxest to the strictest.
MODES: tuple[WandbMode, ...] = ("online", "offline", "disabled")
_OLD_NAMES = {"dryrun": "offline", "run": "online"}
_HOST = "api.wandb.ai"
_INIT_SECONDS = 10
# The id of a run and who follows it, and that another run goes on under it; both in the folder of trackers.
_IDENTITY, _TAKEN = "wandb.json", "wandb.taken"
# A file that has not grown for so long is not written any more.
_STILL_SECONDS, _POLL_SECONDS = 3.0, 0.1
# Written last, so that a file without them is no whole one.
_MARKS = ("titrant/closed", "titrant/ended")
_DIGITS = 8  # of a plan's digest in a run's name
_MOST_LETTERS = 120  # of an id
_NOT_INSTALLED = TrackerError(NOT_INSTALLED, "wandb is not installed", "pip install wandb")
# Nobody is told of errors, and nothing is asked: what is not set here is wandb's own.
_ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
_FOLDERS = ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR")


@dataclass(frozen=True)
class TrackingMode:
    """What a run is tracked in, and why it is stricter than what was asked for; "" where it is not."""

    mode: WandbMode
    because: str = ""


def mode_here(asked: WandbMode) -> TrackingMode:
    """Return the mode that the environment leaves of what is asked for: it can make it stricter, and never laxer."""
    given = os.environ.get("WANDB_MODE", "").strip().lower()
    given = _OLD_NAMES.get(given, given)
    if os.environ.get("WANDB_DISABLED", "").strip().lower() in ("true", "1", "yes"):
        return TrackingMode("disabled", "WANDB_DISABLED is set" if asked != "disabled" else "")
    stricter = next((mode for mode in MODES[MODES.index(asked) + 1 :] if mode == given), None)
    if stricter is not None:
        return TrackingMode(stricter, f"WANDB_MODE is {stricter}")
    if asked == "online" and not has_login():
        return TrackingMode("offline", "nobody is logged in: set WANDB_API_KEY, or: wandb login")
    return TrackingMode(asked)


def has_login() -> bool:
    """Whether there is a key for the server; that there is one is all that is looked at."""
    return bool(os.environ.get("WANDB_API_KEY", "").strip()) or _in_netrc(_host())


def _host() -> str:
    address = os.environ.get("WANDB_BASE_URL", "")
    return re.sub(r"^\w+://|[/:].*$", "", address) or _HOST


def _in_netrc(host: str) -> bool:
    import netrc

    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def open_wandb(run: TrackedRun, options: Mapping[str, Any]) -> "WandbRun":
    """Begin a run under an id of its own, or go on with that of the run that this one continues.

    Raises TrackerError, or what wandb raises.
    """
    mode = mode_here(options["mode"])
    if mode.mode == "disabled":
        return WandbRun(None, mode.mode, "", run.name)
    folder = Path(os.environ.get("WANDB_DIR") or run.own).absolute()
    identity = own_id(run)
    asked = RunRequest(options["project"], mode.mode, folder, identity, run.run, options["entity"], options["group"])
    begun = begin(asked, tags=options["tags"], config=run.settings)
    where = str(folder / "wandb") if mode.mode == "offline" else f"{_host()}/{options['project']}/{identity}"
    return WandbRun(begun, mode.mode, where, run.name)


def own_id(run: TrackedRun) -> str:
    """Return the id that the run goes by, and keep it in its folder.

    It is that of the run's folder; where the run before, of this very plan, did not come to its end, this one goes on
    under that one's id. One that is still under way keeps its own, and only one run goes on with another.
    """
    refuse_unwritable(run.own)
    plan = str(run.settings["plan"])[:_DIGITS]
    earlier = begun_before(run.folder.parent, run.run, f"-{plan}")
    identity = _continued(earlier[0]) if earlier else ""
    identity = identity or re.sub(r"[^\w-]", "-", run.run)[:_MOST_LETTERS]
    write_json(run.own / _IDENTITY, {"id": identity, "process": os.getpid()})
    return identity


def _continued(earlier: Path) -> str:
    """Return the id that a run which did not come to its end leaves to the next; "" where there is none to be had."""
    left = json_object(earlier / FOLDER / _IDENTITY)
    if left is None or (earlier / RECORD).exists() or _lives(left.get("process")):
        return ""
    try:
        os.close(os.open(earlier / FOLDER / _TAKEN, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError:  # another run has it
        return ""
    return str(left.get("id", ""))


def _lives(process: object) -> bool:
    try:
        return lives(int(str(process)))
    except (OverflowError, ValueError):
        return False


@dataclass(frozen=True)
class RunRequest:
    """What a run of Weights & Biases is begun with; "" for the server's own choice."""

    project: str
    mode: WandbMode
    folder: Path
    id: str = ""
    name: str = ""
    entity: str = ""
    group: str = ""


def begin(asked: RunRequest, *, tags: Sequence[str], config: Mapping[str, Any]) -> Any:
    """Begin a run and return wandb's; it asks nobody, writes below the folder alone and collects nothing by itself.

    Raises TrackerError where the folder cannot be written or wandb is missing, or what wandb raises.
    """
    refuse_unwritable(asked.folder / "wandb")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in _FOLDERS:
        os.environ.setdefault(name, str(asked.folder / "wandb" / ".own"))
    try:
        import wandb
    except ImportError:
        raise _NOT_INSTALLED from None
    settings = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        init_timeout=_INIT_SECONDS,
        login_timeout=_INIT_SECONDS,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    return wandb.init(
        project=asked.project,
        entity=asked.entity or None,
        group=asked.group or None,
        name=asked.name or None,
        id=asked.id or None,
        dir=str(asked.folder),
        mode=asked.mode,
        tags=list(tags) or None,
        config=dict(config),
        # What is kept here alone has nothing to be resumed with; the server joins it by its id.
        resume="allow" if asked.id and asked.mode == "online" else None,
        reinit="return_previous",
        settings=settings,
    )


class WandbRun:
    """One run of Weights & Biases; None is followed by nobody."""

    def __init__(self, begun: Any, mode: str, where: str, name: str) -> None:
        self.mode = mode
        self.where = where
        self._run = begun
        self._name = name
        self._curves: set[str] = set()

    def log(self, point: TrackedPoint) -> None:
        """Log a point of a curve by its place, and what has none in the summary."""
        if self._run is None:
            return
        figures = {f"{point.step}/{name}": value for name, value in point.figures.items()}
        if not point.place:
            self._run.summary.update(figures)
            return
        place = f"{point.step}/epoch"
        if point.step not in self._curves:
            self._curves.add(point.step)
            self._run.define_metric(f"{point.step}/*", step_metric=place)
        self._run.log({place: point.place, **figures})

    def close(self, ending: Ending) -> None:
        """Log the final figures, the gates and the released files by their digests, and end the run.

        Raises TrackerError where the file of an offline run has no end, or what wandb raises.
        """
        if self._run is None:
            return
        gates = {f"{row.candidate}/gates/{row.gate}": row.verdict for row in ending.gates}
        estimates = {f"{name}/estimate": row.estimate for name, row in zip(gates, ending.gates, strict=True)}
        measured = {name: value for name, value in estimates.items() if value is not None}
        self._run.summary.update(
            {"verdict": ending.verdict, "exit": ending.exit, **ending.figures, **gates, **measured}
        )
        if ending.released:
            self._run.log_artifact(self._artifact(ending))
        for mark in _MARKS:  # each in a record of its own
            self._run.summary.update({mark: ending.exit})
        kept = Path(self._run.settings.sync_file)
        self._run.finish(exit_code=0 if ending.verdict else 1)
        if self.mode == "offline" and not _is_whole(kept):
            message = f"wandb lost what it was given: {kept.name} ends before the run does"
            raise TrackerError(NOT_WRITABLE, message, "make room on its disk: wandb does not say that there is none")

    def _artifact(self, ending: Ending) -> Any:
        """Name the released files: by digest, so that no weights leave the machine because somebody tracks a run."""
        import wandb

        files = {
            each.file: {"blake3": each.digest, "bytes": each.size, "of": each.candidate} for each in ending.released
        }
        artifact = wandb.Artifact(
            re.sub(r"[^\w.-]", "-", self._name), type="model", metadata={"files": json.dumps(files)}
        )
        for each in ending.released:
            artifact.add_reference(f"titrant://blake3/{each.digest}", name=each.file, checksum=False)
        return artifact


def _is_whole(kept: Path) -> bool:
    """Whether a file of wandb's comes to hold what was given last: its own process goes on writing for a while.

    A mark can be cut in two where a block of the file ends: both are not.
    """
    size, grown_at = -1, time.monotonic()
    while True:
        try:
            written = kept.read_bytes()
        except OSError:
            written = b""
        if any(mark.encode() in written for mark in _MARKS):
            return True
        if len(written) != size:
            size, grown_at = len(written), time.monotonic()
        elif time.monotonic() - grown_at > _STILL_SECONDS:
            return False
        time.sleep(_POLL_SECONDS)


def initialize_wandb(
    project: str,
    *,
    mode: WandbMode = "offline",
    name: str = "",
    folder: str | os.PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
) -> bool:
    """Begin a run of Weights & Biases, and return whether one is active, so that `wandb.log` reaches it.

    The environment may only make `mode` stricter: WANDB_MODE, WANDB_DISABLED; without a login an online run is kept
    offline, and nobody is ever asked. Files lie below WANDB_DIR, else `folder`, else the folder that one is in. Two
    processes, or two calls after a finished run, have runs of their own; WANDB_RUN_ID goes on with an earlier one.
    Called again while a run is active it changes nothing and returns True. Whatever goes wrong is one warning and
    False: a loop goes on without it. Telemetry, console, code and the machine are not recorded.
    """
    allowed = mode_here(mode)
    if allowed.mode == "disabled":
        return False
    if _is_active():
        return True
    own = re.sub(r"[^\w-]", "-", name or project)
    identity = os.environ.get("WANDB_RUN_ID") or f"{own}-{uuid.uuid4().hex[:8]}"
    place = Path(os.environ.get("WANDB_DIR") or folder or Path.cwd()).absolute()
    asked = RunRequest(project, allowed.mode, place, id=identity, name=name)
    try:
        begin(asked, tags=tags, config=dict(config or {}))
    except Exception as error:  # noqa: BLE001 - wandb may raise anything, and a loop is worth more than its curves
        text = " ".join(str(error).split())[:300]
        warnings.warn(f"this is not tracked: {type(error).__name__}: {text}", RuntimeWarning, stacklevel=2)
        return False
    return _is_active()


def _is_active() -> bool:
    """Whether wandb has a run; one that was never loaded has none."""
    loaded = sys.modules.get("wandb")
    return loaded is not None and getattr(loaded, "run", None) is not None
