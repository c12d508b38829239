"""Verify a store: read every file, follow every result to what it gave, and compare runs with their journals."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import field
from pathlib import Path

from titrant.runtime.store.home import Home
from titrant.runtime.store.locks import cleaning
from titrant.runtime.store.placed import forged
from titrant.runtime.store.run_folder import RECORD
from titrant.runtime.store.store_index import (
    KEY_FILE,
    StoredFile,
    StoredKey,
    Tell,
    contents,
    files,
    ignore_progress,
    keys,
)
from titrant.schema.values.canonical import sha256
from titrant.schema.values.files import digest_file, json_object
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was stored: its path below the home, which step's it is, and what is wrong."""

    path: str
    what: str
    operator: str = ""


@dataclass(frozen=True)
class Verified:
    """What was read, how long that took, what is wrong, and whether it was forgotten."""

    files: int
    read_bytes: int
    results: int
    seconds: float
    findings: tuple[Damage, ...] = ()
    repaired: bool = False

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong, or what was is gone."""
        return not self.findings or self.repaired


@dataclass
class _Wrong:
    """What was found so far."""

    findings: list[Damage] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)

    def add(self, home: Home, path: Path, what: str, operator: str = "") -> None:
        self.findings.append(Damage(path.relative_to(home.path).as_posix(), what, operator))
        self.paths.append(path)


def verify_store(home: Home, *, repair: bool = False, tell: Tell = ignore_progress) -> Verified:
    """Digest every stored file, look up what every result refers to, and what every run put out in its journal.

    With `repair` what is damaged is removed, so that it is made again when a run next needs it; no run begins
    meanwhile. Nothing else is changed.
    """
    begun, wrong = time.monotonic(), _Wrong()
    with cleaning(home, lambda who: tell(who, 0, 1)) if repair else nullcontext():
        there = files(home)
        intact, read = _intact(home, there, wrong, tell)
        count = 0
        for key in keys(home, tell):
            count += len(key.results)
            parts = json_object(key.folder / KEY_FILE)
            if parts is not None and sha256(parts) != key.key:
                wrong.add(home, key.folder / KEY_FILE, "it does not give the key that names its folder", key.operator)
            _follow(home, key, intact, wrong)
        for run in sorted(home.runs.glob(f"*/{RECORD}")):
            if (other := forged(run.parent)) is not None:
                wrong.add(home, other.path, other.why)
        if repair:
            for path in wrong.paths:
                path.unlink(missing_ok=True)
    seconds = time.monotonic() - begun
    return Verified(len(there), read, count, seconds, tuple(wrong.findings), repair)


def _intact(
    home: Home, there: Mapping[str, StoredFile], wrong: _Wrong, tell: Tell
) -> tuple[dict[str, StoredFile], int]:
    """Return the files whose content has the digest that names them, and how many bytes were read."""
    intact, read, total = {}, 0, sum(file.size for file in there.values())
    for digest, file in there.items():
        tell("reading files", read, total)
        try:
            actual = digest_file(file.path)
        except FileNotFoundError:
            continue  # another process let go of it
        except OSError as error:
            wrong.add(home, file.path, f"it cannot be read: {os_reason(error)}")
            continue
        read += file.size
        if actual == digest:
            intact[digest] = file
        else:
            wrong.add(home, file.path, f"its content has the digest {actual[:12]}…, not the one that names it")
    tell("reading files", total, total)
    return intact, read


def _follow(home: Home, key: StoredKey, intact: Mapping[str, StoredFile], wrong: _Wrong) -> None:
    """Find results that cannot be read, or refer to what is not there."""
    for result in key.results:
        if result.outputs is None:
            wrong.add(home, result.path, "it is not the result of its key")
            continue
        if result.changed:
            wrong.add(home, result.path, result.changed, result.operator)
            continue
        for digest in result.outputs:
            parts = contents(digest, intact)
            missing = [digest] if parts is None else [part for part in parts if part not in intact]
            if missing:
                wrong.add(home, result.path, f"it points to {missing[0][:12]}…, which is not there", result.operator)
                break
