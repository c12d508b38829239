"""The folder of one run: made when the first step must really run, closed by its record.

The journal of a run: one JSON object a line, appended and never changed.
The runs of a home in the order in which they began.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from titrant.runtime.store.home import BEGAN, Home, newest_first
from titrant.runtime.store.release import intact, unfinished_of
from titrant.schema.plan import Plan, plan_digest
from titrant.schema.record import RunRecord
from titrant.schema.values import files
from titrant.schema.values.canonical import read_back
from titrant.schema.values.frozen import dataclass

RECORD = "record.json"
# Beyond so many runs an earlier one is not looked for: what it gave is in the store, and is put out anew.
_LOOKED_AT = 50


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def outputs(self) -> Path:
        """What a user ships: empty until the very end, and for ever when the contract was not kept."""
        return self.path / "outputs"

    @property
    def quarantine(self) -> Path:
        """The best candidate of a run that released none."""
        return self.path / "quarantine"

    def withdraw(self) -> None:
        """Take back what a run that failed at its very end had put in place: first its record, then its outputs."""
        (self.path / RECORD).unlink(missing_ok=True)
        for folder in (self.outputs, self.quarantine):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            shutil.rmtree(unfinished_of(folder), ignore_errors=True)

    @property
    def journal(self) -> Path:
        """The run's events."""
        return self.path / "journal.jsonl"

    def step(self, place: int, step_id: str) -> Path:
        """Make and return the folder of one step, by its place in the plan from 1."""
        name = re.sub(r"[^\w.-]", "_", step_id)
        folder = self.path / "steps" / f"{place:02d}-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def make_folder(home: Home, plan: Plan, recipe_text: str, environment: dict[str, Any]) -> RunFolder:
    """Make a run's folder with what the run starts from; its name is its own even among runs of the same second."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    stem = f"{now}-{plan.name}-{plan_digest(plan)[:8]}"
    path, count = home.runs / stem, 1
    while True:
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            count += 1
            path = home.runs / f"{stem}-{count}"
    found = RunFolder(path)
    for folder in (found.outputs, found.quarantine, path / "steps"):
        folder.mkdir()
    files.write_bytes(path / "recipe.yaml", recipe_text.encode())
    files.write_json(path / "plan.json", plan)
    files.write_json(path / "hardware.json", plan.hardware)
    files.write_json(path / "environment.json", environment)
    return found


def newer_run(home: Home, folder: RunFolder) -> str | None:
    """Return a run whose name says that it began in a later second than the one that begins now; None without one."""
    newest = max(os.listdir(home.runs), default="")  # noqa: PTH208 - no Path each
    return newest if BEGAN.match(newest) and newest[:16] > folder.run[:16] else None


def read_record(folder: Path) -> RunRecord | None:
    """Return a closed run's record; None for a run that did not come to its end."""
    try:
        return read_back(RunRecord, json.loads((folder / RECORD).read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None


def closed_run(home: Home, plan: Plan, same: Callable[[RunRecord], bool]) -> RunRecord | None:
    """Return the newest run of this very plan that came to its end, is the `same` and still has what it put out.

    One plan can give several results: the user's files, which it does not hold, may have changed and changed back.
    """
    for folder in _newest_first(home, f"-{plan_digest(plan)[:8]}"):
        record = read_record(folder)
        if record is None or record.plan_digest != plan_digest(plan) or not same(record):
            continue
        if _whole(folder, record) and (folder / "report.html").is_file():
            return record
    return None


def _whole(folder: Path, record: RunRecord) -> bool:
    """Tell whether what a run put out is still there: nothing where the original missed its baseline."""
    return record.missed or intact(folder / ("outputs" if record.released else "quarantine"))


def last_run(home: Home, name: str) -> RunRecord | None:
    """Return the newest run of a recipe by this name that came to its end."""
    records = (read_record(folder) for folder in _newest_first(home, f"-{name}-"))
    return next((record for record in records if record is not None and record.name == name), None)


def _newest_first(home: Home, part: str) -> list[Path]:
    """List the newest folders with a record whose names hold `part`: so many at most, however many there are."""
    folders = newest_first(home.runs, part)
    return list(islice((folder for folder in folders if (folder / RECORD).is_file()), _LOOKED_AT))
