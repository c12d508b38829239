"""Clean a store: remove what was not used for long, never what runs, locks or a run in progress refer to."""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from titrant.runtime.store.home import Home
from titrant.runtime.store.locks import Holder, cleaning, computing, remove_if_stale, sweep, unfinished_folder
from titrant.runtime.store.results import SLACK_SECONDS
from titrant.runtime.store.run_folder import RECORD
from titrant.runtime.store.store_index import (
    StoredFile,
    StoredKey,
    Tell,
    contents,
    files,
    ignore_progress,
    keys,
    last_use,
    mentioned,
)
from titrant.schema.values.frozen import dataclass

DAY = 86_400.0
# What is younger than this may belong to a run whose record is still to be written.
YOUNG_SECONDS = 3_600.0


@dataclass(frozen=True)
class Cleaning:
    """What to let go of: ages in seconds, the size in bytes; None where there is no such limit.

    `older_than`: results not used for longer, and trainings that were killed longer ago. `keep_bytes`: beyond that, the
    least recently used, until the files take no more. `forget_runs`: runs that ended longer ago no longer keep what
    they refer to.
    """

    older_than: float = 30 * DAY
    keep_bytes: int | None = None
    forget_runs: float | None = None
    locks: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Freed:
    """What was let go of, or would be: results by operator, files, bytes; what stays, and what holds it."""

    results: Mapping[str, int]
    files: int
    bytes: int
    kept_results: int
    kept_bytes: int
    referenced_results: int  # kept because runs and locks refer to them
    recent_results: int  # kept because they are young, or a run in progress may use them
    in_progress: tuple[Holder, ...] = ()
    done: bool = True
    trainings: int = 0  # of which a killed run left checkpoints; their bytes are counted too


@dataclass
class _Index:
    """The store as it is being cleaned."""

    there: dict[str, StoredFile]
    kept: dict[str, StoredKey] = field(default_factory=dict)
    evicted: list[StoredKey] = field(default_factory=list)
    made: set[str] = field(default_factory=set)  # what results gave
    uses: Counter[str] = field(default_factory=Counter)  # file → how many kept results need it

    def take(self, key: StoredKey) -> None:
        """Take in a key."""
        self.kept[key.key] = key
        self.made.update(_outputs(key))

    def needs(self, key: StoredKey) -> set[str]:
        """Return the files of what a key's results gave, and of what the step read that no step gave."""
        return _whole([*_outputs(key), *(digest for digest in key.inputs if digest not in self.made)], self.there)

    def evict(self, key: StoredKey) -> None:
        """Let go of a key."""
        del self.kept[key.key]
        self.evicted.append(key)
        self.uses.subtract(self.needs(key))


def clean_store(home: Home, what: Cleaning, *, dry_run: bool = False, tell: Tell = ignore_progress) -> Freed:
    """Let go of results and files, and say what went; with `dry_run` nothing goes.

    No run begins meanwhile. A run in progress keeps everything that was used since it began. A result that goes is
    made again by the next run that needs it.
    """
    with cleaning(home, lambda who: tell(who, 0, 1)) as runs:
        now = time.time()
        young = min([now - YOUNG_SECONDS, *(_since(run) - SLACK_SECONDS for run in runs)])
        index = _Index(files(home))
        referenced = mentioned(_documents(home, what, now))
        held = _sort_out(home, index, referenced, young, tell)
        _evict_old(index, held, now - what.older_than)
        fixed = _whole(referenced, index.there)
        if what.keep_bytes is not None:
            _evict_to_size(index, held, fixed, young, what.keep_bytes)
        gone = _unused(index, fixed, young)
        trainings = _left_trainings(home, min(now - what.older_than, young), dry_run=dry_run)
        if not dry_run:
            _remove(home, index.evicted, [index.there[digest].path for digest in gone], tell)
        freed = _freed(index, gone, held, tuple(runs), not dry_run)
        return replace(freed, bytes=freed.bytes + sum(trainings), trainings=len(trainings))


def _left_trainings(home: Home, before: float, *, dry_run: bool) -> list[int]:
    """Let go of trainings that no step is at work on and that saved nothing since; return the bytes of each."""
    sizes = []
    for folder in home.training.iterdir() if home.training.is_dir() else ():
        try:
            # As its step does: nobody goes on from what is being removed.
            with computing(home, folder.name, lambda _: None, seconds=0):
                states = [path.stat() for path in (folder, *folder.iterdir())]
                if max(state.st_mtime for state in states) >= before:
                    continue
                if not dry_run:
                    shutil.rmtree(folder)
                sizes.append(sum(state.st_size for state in states[1:]))
        except (TimeoutError, FileNotFoundError, NotADirectoryError):
            continue
    return sizes


def _since(run: Holder) -> float:
    try:
        return datetime.fromisoformat(run.since).timestamp()
    except ValueError:
        return 0.0  # nobody knows since when: everything that was ever used may be its own


def _documents(home: Home, what: Cleaning, now: float) -> list[Path]:
    """List the records and locks whose references hold: of every run that counts, and the locks beside recipes."""
    documents = [*what.locks]
    for record in home.runs.glob(f"*/{RECORD}"):
        try:
            if what.forget_runs is None or record.stat().st_mtime >= now - what.forget_runs:
                documents.append(record)
            documents.append(_lock_beside(record.parent))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [*dict.fromkeys(documents)]


def _lock_beside(run: Path) -> Path:
    """Return where the lock of a run's recipe lies, whether or not there is one."""
    about = json.loads((run / "environment.json").read_bytes())
    return Path(str(about["recipe_file"])).with_suffix(".lock.yaml")


def _sort_out(home: Home, index: _Index, referenced: set[str], young: float, tell: Tell) -> dict[str, str]:
    """Read every key into the index, and return which keys are held by what: "referenced" or "recent"."""
    held: dict[str, str] = {}
    for key in keys(home, tell):
        index.take(key)
        outputs = _outputs(key)
        if key.key in referenced or (outputs and outputs <= referenced):
            held[key.key] = "referenced"
        elif key.used >= young:
            held[key.key] = "recent"
    for key in index.kept.values():
        index.uses.update(index.needs(key))
    return held


def _outputs(key: StoredKey) -> set[str]:
    return {digest for result in key.results for digest in result.outputs or ()}


def _evict_old(index: _Index, held: Mapping[str, str], before: float) -> None:
    for key in list(index.kept.values()):
        if key.key not in held and key.used < before:
            index.evict(key)


def _evict_to_size(index: _Index, held: Mapping[str, str], fixed: set[str], young: float, limit: int) -> None:
    """Evict the least recently used until what stays fits, or nothing is left that may go."""
    size = _size(index, set(index.there) - set(_unused(index, fixed, young)))
    for key in sorted((key for key in index.kept.values() if key.key not in held), key=lambda key: key.used):
        if size <= limit:
            return
        mine = index.needs(key)
        index.evict(key)
        size -= _size(index, {name for name in mine if _goes(index, name, fixed, young)})


def _unused(index: _Index, fixed: set[str], young: float) -> list[str]:
    return [name for name in index.there if _goes(index, name, fixed, young)]


def _goes(index: _Index, name: str, fixed: set[str], young: float) -> bool:
    return name not in fixed and index.uses[name] <= 0 and index.there[name].touched < young


def _size(index: _Index, names: Iterable[str]) -> int:
    return sum(index.there[name].size for name in names if name in index.there)


def _whole(digests: Iterable[str], there: Mapping[str, StoredFile]) -> set[str]:
    """Return the files of some artifacts, their manifests included, as far as they are there."""
    names: set[str] = set()
    for digest in digests:
        if digest in there:
            names.add(digest)
            names.update(part for part in contents(digest, there) or () if part in there)
    return names


def _remove(home: Home, evicted: Sequence[StoredKey], paths: Sequence[Path], tell: Tell) -> None:
    """Remove results before the files that they refer to, so that none ever points to what is not there."""
    with unfinished_folder(home, "clean") as trash:
        for done, key in enumerate(evicted):
            tell("removing results", done, len(evicted))
            try:
                if last_use(key.folder) == key.used:
                    os.rename(key.folder, trash / key.key)  # noqa: PTH104 - a folder of this name may not be replaced
            except FileNotFoundError:
                continue
        for done, path in enumerate(paths):
            tell("removing files", done, len(paths))
            path.unlink(missing_ok=True)
    sweep(home)
    for lock in home.locks.glob("*.lock"):
        if lock.stem != "store":
            remove_if_stale(lock)


def _freed(index: _Index, gone: Sequence[str], held: Mapping[str, str], runs: tuple[Holder, ...], done: bool) -> Freed:
    why: Counter[str] = Counter(held[key] for key in index.kept if key in held)
    results: Counter[str] = Counter(key.operator or "unreadable" for key in index.evicted)
    freed = _size(index, gone)
    total = _size(index, index.there)
    listed: dict[str, Any] = dict(sorted(results.items()))
    return Freed(listed, len(gone), freed, len(index.kept), total - freed, why["referenced"], why["recent"], runs, done)
