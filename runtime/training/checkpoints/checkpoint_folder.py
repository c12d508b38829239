"""Which checkpoint of a folder is the latest, which are the best, and which may go.

A folder of thousands is listed anew each time, and a file is read again only when it changed. Files that vanish
meanwhile, that are half written, or that are models for use and no training's, are passed over.
"""

import fnmatch
import json
import math
import os
import pickletools
import re
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from titrant.runtime.backends.torch.checkpoint import pickled_object
from titrant.runtime.backends.torch.safetensors_header import read_header, read_metadata
from titrant.runtime.training.checkpoints.checkpoint_file import (
    METADATA_KEY,
    Brief,
    NotWholeError,
    brief_of,
    is_unfinished,
)
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import os_reason

Mode = Literal["min", "max"]
FOREIGN = (".pt", ".pth", ".ckpt", ".safetensors")
_NAME = re.compile(r"checkpoint-(\d{10,})\.safetensors")
# What a killed process left unfinished is removed when nobody can be writing it any more.
_ABANDONED_SECONDS = 3600.0
_MOST_CACHED = 100_000
# What torch.jit.save and torch.export.save put into an archive and torch.save does not.
_PROGRAM = ("constants.pkl", "archive_format", "serialized_exported_program.json", "model.json")
# torch before 1.6 wrote its magic number, a version, the system, the state and the names of its memory: five pickles.
_OLD_PICKLES = 5


@dataclass(frozen=True)
class Listed:
    """A file of a folder: its own checkpoints have a number, by which they are ordered; others have None."""

    folder: str
    name: str
    number: int | None
    state: tuple[int, int, int]  # inode, bytes, and nanoseconds of its last change

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.folder, self.name)


_lock = threading.Lock()
_briefs: dict[tuple[str, str, tuple[int, int, int]], Brief | None] = {}


def name_of(number: int) -> str:
    """Return the name of a checkpoint; names are in the order of their numbers."""
    return f"checkpoint-{number:010d}.safetensors"


def next_number(folder: Path) -> int:
    """Return the number after the last one of a folder."""
    return max((file.number for file in _own(folder) if file.number is not None), default=-1) + 1


def latest_checkpoint(folder: Path, pattern: str | None = None) -> Path | None:
    """Return the latest whole checkpoint of a folder; None where there is no folder, or none in it.

    Checkpoints of titrant's own are ordered by the step that they record, and come before others. Others, files that
    end in .pt, .pth, .ckpt or .safetensors or whose names match `pattern` (as `epoch=*.ckpt`), are ordered by time.
    Raises StepError X535 for a folder that cannot be read.
    """
    files = [file for file in _listed(folder) if _matches(file, pattern)]
    own = (file for file in files if file.number is not None)
    for file in sorted(own, key=lambda file: file.number or 0, reverse=True):
        if _brief(file) is not None:
            return file.path
    others = sorted((file for file in files if file.number is None), key=lambda file: (file.state[2], file.name))
    return next((file.path for file in reversed(others) if _is_whole(file.path)), None)


def whole_checkpoints(folder: Path) -> list[Path]:
    """List titrant's own checkpoints of a folder that are whole, the latest first."""
    files = sorted(_own(folder), key=lambda file: file.number or 0, reverse=True)
    return [file.path for file in files if _brief(file) is not None]


def best_checkpoint(folder: Path, metric: str, mode: Mode = "min") -> Path | None:
    """Return titrant's own checkpoint of a folder with the best value of a metric; of equal ones the earliest.

    One that has no such metric, or whose value is no finite number, never wins.
    """
    return next((file.path for file in _ranked(folder, metric, mode)), None)


def _ranked(folder: Path, metric: str, mode: Mode) -> list[Listed]:
    check_mode(mode)
    sign = 1.0 if mode == "min" else -1.0
    ranked = []
    for file in _own(folder):
        brief = _brief(file)
        value = math.nan if brief is None else brief.metrics.get(metric, math.nan)
        if math.isfinite(value):
            ranked.append((sign * value, file.number or 0, file))
    return [file for *_, file in sorted(ranked, key=lambda item: item[:2])]


def prune_checkpoints(
    folder: Path, *, metric: str | None = None, mode: Mode = "min", keep_best: int = 3, keep: Iterable[Path] = ()
) -> tuple[Path, ...]:
    """Remove titrant's own checkpoints but for the best, the latest whole one and those of `keep`; return what went.

    Without a metric the newest are kept. Files of other programs stay, and so do files that are no whole checkpoints:
    somebody may be copying them. What a killed process left unfinished goes after an hour.
    """
    if keep_best < 0:
        raise ValueError(f"keep_best is a number of checkpoints, 0 or more, not {keep_best}")
    whole = whole_checkpoints(folder)
    kept = {path.name for path in whole[: max(1, keep_best) if metric is None else 1]}
    kept |= {file.name for file in ([] if metric is None else _ranked(folder, metric, mode))[:keep_best]}
    kept |= {path.name for path in keep if path.resolve().parent == folder.resolve()}
    gone = [path for path in whole if path.name not in kept]
    for path in [*gone, *_abandoned(folder)]:
        path.unlink(missing_ok=True)
    return tuple(reversed(gone))


def is_foreign(file: Path) -> bool:
    """Whether a file is there and is none of titrant's own checkpoints, nor a damaged one under such a name."""
    if not file.is_file() or _NAME.fullmatch(file.name):
        return False
    try:
        brief_of(file)
    except (NotWholeError, OSError, KeyError, TypeError, ValueError):
        return True
    except StepError:  # of another version
        return False
    return False


def check_mode(mode: str) -> None:
    """Raise ValueError for a mode that is neither min nor max."""
    if mode not in ("min", "max"):
        raise ValueError(f"a mode is min or max, not {mode!r}")


def _matches(file: Listed, pattern: str | None) -> bool:
    return fnmatch.fnmatch(file.name, pattern) if pattern is not None else file.name.lower().endswith(FOREIGN)


def _own(folder: Path) -> list[Listed]:
    return [file for file in _listed(folder) if file.number is not None]


def _listed(folder: Path) -> list[Listed]:
    """List the files of a folder; [] where there is none."""
    try:
        with os.scandir(folder) as entries:
            return list(_files(os.fspath(folder.absolute()), entries))
    except FileNotFoundError:
        return []
    except OSError as error:
        message = f"the folder {folder} cannot be read: {os_reason(error)}"
        raise StepError(Diagnostic("X535", message, help="name a folder that you can read")) from error


def _files(folder: str, entries: "Iterable[os.DirEntry[str]]") -> Iterator[Listed]:
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            state = entry.stat()
            if not entry.is_file():
                continue
        except FileNotFoundError:  # removed since it was listed, or a link that leads nowhere
            continue
        number = _NAME.fullmatch(entry.name)
        place = int(number[1]) if number else None
        yield Listed(folder, entry.name, place, (state.st_ino, state.st_size, state.st_mtime_ns))


def _brief(file: Listed) -> Brief | None:
    """Return what a checkpoint says of itself, None for one that is not whole; a file that stays is read once."""
    key = (file.folder, file.name, file.state)
    with _lock:
        if key in _briefs:
            return _briefs[key]
    try:
        brief: Brief | None = brief_of(os.path.join(file.folder, file.name))  # noqa: PTH118 - no Path each
    except FileNotFoundError:
        return None
    except (NotWholeError, OSError, StepError, KeyError, TypeError, ValueError):
        brief = None
    with _lock:
        if len(_briefs) >= _MOST_CACHED:
            _briefs.clear()
        _briefs[key] = brief
    return brief


def _abandoned(folder: Path) -> list[Path]:
    now = time.time()
    paths = []
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            if is_unfinished(path.name) and now - path.stat().st_mtime > _ABANDONED_SECONDS:
                paths.append(path)
        except FileNotFoundError:
            continue
    return paths


def _is_whole(file: Path) -> bool:
    """Whether a file is all of a checkpoint; False for one that cannot be read or is gone."""
    try:
        if file.suffix.lower() == ".safetensors":
            return _is_safetensors(file)
        if zipfile.is_zipfile(file):
            return _is_archive(file)
        return _is_old(file)
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile):
        return False


def _is_safetensors(file: Path) -> bool:
    read_header(file)
    said: Any = json.loads(read_metadata(file).get(METADATA_KEY, "{}"))
    return "factory" not in said  # which is how titrant writes a model for use


def _is_archive(file: Path) -> bool:
    """Whether an archive is torch.save's: its pickle is there, is more than a module as a whole, and no program."""
    with zipfile.ZipFile(file) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    return "data.pkl" in names and names.isdisjoint(_PROGRAM) and pickled_object(file) is None


def _is_old(file: Path) -> bool:
    with file.open("rb") as opened:
        if opened.read(1) != b"\x80":
            return False
        opened.seek(0)
        for _ in range(_OLD_PICKLES):
            for _ in pickletools.genops(opened):
                pass
    return True
