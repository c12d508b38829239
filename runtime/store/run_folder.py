"""The folder of one run: closed by its record, compared with earlier runs, and holding what a user ships."""

import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from titrant.runtime.backends import backend
from titrant.runtime.backends.stamp import Stamp, write
from titrant.runtime.backends.stamp import size as stamped_size
from titrant.runtime.store.artifacts import Manifest, Store
from titrant.runtime.store.home import BEGAN, Home, newest_first
from titrant.schema.plan import Candidate, CandidateSearch, Plan, judged_batch, plan_digest, takes_columns
from titrant.schema.recipe.observe import REPORT_FORMATS
from titrant.schema.record import Artifact, RunRecord, TrackerRecord
from titrant.schema.release import FOLDER as EVIDENCE
from titrant.schema.values import files
from titrant.schema.values.canonical import WrongValueError, plain, read_back
from titrant.schema.values.files import digest_file, json_object
from titrant.schema.values.frozen import dataclass

RECORD = "record.json"
# How trackers fared: beside the record, which is closed before they end.
TRACKING = "tracking.json"
# What the hardware did meanwhile: another thing every time, and so neither in the record nor in the report.
UTILIZATION_FILE, UTILIZATION_PAGE = "utilization.json", "utilization.html"
# How the original was judged: the part of a record, and what it was called before.
_ORIGINAL, _ORIGINAL_BEFORE = "original", "baseline"
MANIFEST = "titrant.json"
# Beyond so many runs an earlier one is not looked for: what it gave is in the store, and is put out anew.
_MOST_RUNS = 50


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
        """Take back what a run that failed at its very end had put in place: its record, its outputs, its evidence."""
        (self.path / RECORD).unlink(missing_ok=True)
        shutil.rmtree(self.path / EVIDENCE, ignore_errors=True)
        shutil.rmtree(unfinished_of(self.path / EVIDENCE), ignore_errors=True)
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
    run_folder = RunFolder(path)
    for folder in (run_folder.outputs, run_folder.quarantine, path / "steps"):
        folder.mkdir()
    files.write_bytes(path / "recipe.yaml", recipe_text.encode())
    files.write_json(path / "plan.json", plan)
    files.write_json(path / "hardware.json", plan.hardware)
    files.write_json(path / "environment.json", environment)
    return run_folder


def newer_run(home: Home, folder: RunFolder) -> str | None:
    """Return a run whose name says that it began in a later second than the one that begins now; None without one."""
    newest = max(os.listdir(home.runs), default="")  # noqa: PTH208 - no Path each
    return newest if BEGAN.match(newest) and newest[:16] > folder.run[:16] else None


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the record that closes a run; trackers have their own file, once they have ended."""
    files.write_json(folder / RECORD, {name: value for name, value in plain(record).items() if name != "tracking"})


def read_record(folder: Path) -> RunRecord | None:
    """Return a closed run's record, with how its trackers fared; None for a run that did not come to its end."""
    try:
        record = _record_of((folder / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    with suppress(WrongValueError):
        tracking = (json_object(folder / TRACKING) or {}).get("tracking", [])
        return replace(record, tracking=read_back(tuple[TrackerRecord, ...], tracking))
    return record


@lru_cache(maxsize=4)
def _record_of(content: bytes) -> RunRecord:
    """Read a record's JSON: a command asks for that of the last run more than once."""
    return read_back(RunRecord, _as_now(json.loads(content)))


def _as_now(record: Any) -> Any:
    """Give a record the names that its parts have now: how the original was judged stood under another one."""
    if isinstance(record, dict) and _ORIGINAL_BEFORE in record:
        return {_ORIGINAL if name == _ORIGINAL_BEFORE else name: value for name, value in record.items()}
    return record


def report_of(folder: Path) -> Path | None:
    """Return a run's report in the first format that it has, HTML before Markdown before JSON; None without one."""
    files = (folder / f"report.{name}" for name in REPORT_FORMATS)
    return next((file for file in files if file.is_file()), None)


def closed_runs(home: Home, plan: Plan) -> Iterator[tuple[Path, RunRecord]]:
    """Yield the runs of this very plan that came to their end and have their report, with their folders, newest first.

    One plan can give several results: the user's files, which it does not hold, may have changed and changed back.
    """
    for folder in _newest_first(home, f"-{plan_digest(plan)[:8]}"):
        record = read_record(folder)
        if record is not None and record.plan_digest == plan_digest(plan) and report_of(folder):
            yield folder, record


def last_run(home: Home, name: str) -> RunRecord | None:
    """Return the newest run of a recipe by this name that came to its end."""
    records = (read_record(folder) for folder in _newest_first(home, f"-{name}-"))
    return next((record for record in records if record is not None and record.name == name), None)


def _newest_first(home: Home, part: str) -> list[Path]:
    """List the newest folders with a record whose names hold `part`: so many at most, however many there are."""
    folders = newest_first(home.runs, part)
    return list(islice((folder for folder in folders if (folder / RECORD).is_file()), _MOST_RUNS))


def released_path(name: str, manifest: Manifest) -> str:
    """Return where a model comes to lie: NAME with the file's suffix, or the folder NAME of one with several files."""
    files = list(manifest.files)
    return name + PurePosixPath(files[0]).suffix if len(files) == 1 else name


def prepare_outputs(
    folder: Path,
    plan: Plan,
    store: Store,
    artifacts: Mapping[str, Artifact],
    chosen: Mapping[str, str],
    *,
    facts: Mapping[str, Mapping[str, Any]],
) -> None:
    """Gather the chosen candidates (search → candidate) and everything shipped with them beside `folder` of a run.

    `facts` are what a candidate's file is to say of its release: candidate → JSON; others say nothing. `place_outputs`
    then lets `folder` appear whole or not at all. Raises DamagedError when a stored file is not what was judged.
    """
    unfinished = unfinished_of(folder)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    candidates = {candidate.id: candidate for candidate in plan.candidates}
    searches = [search for search in plan.searches if search.name in chosen]
    models = [
        _model(unfinished, store, artifacts, search, candidates[chosen[search.name]])
        | ({"transforms": "inside"} if takes_columns(plan, candidates[chosen[search.name]]) else {})
        for search in searches
    ]
    limits = [gate.threshold for gate in plan.contract.gates if gate.metric == "size" and gate.comparison == "at_most"]
    for model in models:
        _stamp(unfinished, model, facts, min(limits, default=math.inf))
    shipped = {name: _ship(unfinished, store, artifacts[ref], name) for name, ref in plan.shipped.items()}
    about = {
        "titrant": 1,
        "name": plan.name,
        "task": plan.task,
        "run": folder.parent.name,
        "original": plan.model_digest,
        "models": models,
        "shipped": shipped,
        "reading": _reading(plan, candidates[chosen[searches[0].name]]),
        "data": _data(unfinished, shipped),
        "threads": plan.timing_threads,
        "instructions": list(plan.hardware.instructions),
        "batch": judged_batch(plan, candidates[chosen[searches[0].name]]),
        "files": {
            path.relative_to(unfinished).as_posix(): digest_file(path)
            for path in sorted(unfinished.rglob("*"))
            if path.is_file()
        },
    }
    files.write_json(unfinished / MANIFEST, about)


def place_outputs(folder: Path) -> None:
    """Put what was prepared in its place, by one rename."""
    if folder.exists():
        folder.rmdir()
    unfinished_of(folder).rename(folder)


def unfinished_of(folder: Path) -> Path:
    """Return where what belongs into a folder is gathered first."""
    return folder.with_name(f".{folder.name}.unfinished")


def _model(
    folder: Path, store: Store, artifacts: Mapping[str, Artifact], search: CandidateSearch, candidate: Candidate
) -> dict[str, Any]:
    artifact = artifacts[candidate.model]
    path = released_path(search.name, store.manifest(artifact))
    _copy(store, artifact, folder, path)
    return {
        "file": path,
        "kind": artifact.kind,
        "artifact": artifact.digest,
        "candidate": candidate.id,
        "method": candidate.method,
        "format": candidate.format,
        "engine": candidate.engine,
        **({"rung": search.rung} if search.rung else {}),
    }


def _stamp(folder: Path, model: dict[str, Any], facts: Mapping[str, Mapping[str, Any]], limit: float) -> None:
    """Write facts into a model's file where its kind can carry them, and note them.

    They stay out where they would take the model beyond `limit` bytes, which the contract gives it.
    """
    stamp = stamp_of(model["kind"])
    if stamp is None or model["candidate"] not in facts:
        return
    path, said = folder / model["file"], dict(facts[model["candidate"]])
    file = stamped_file(path, stamp)
    if limit < math.inf:
        held = sum(other.stat().st_size for other in (path.rglob("*") if path.is_dir() else [path]) if other.is_file())
        if held - file.stat().st_size + stamped_size(stamp, file, said) > limit:
            return
    model["stamp"] = said
    write(stamp, file, said)


def stamp_of(kind: str) -> Stamp | None:
    """Return how a kind carries facts about a release; None where it does not, or no engine here brings it."""
    for engine in backend.names():  # titrant's own first: what another package breaks keeps none of them from it
        if kind in (brought := backend.get(engine).kinds):
            return brought[kind].stamp
    return None


def stamped_file(path: Path, stamp: Stamp) -> Path:
    """Return which file of a released model has its facts: the model itself, or one in its folder."""
    return path / stamp.file if path.is_dir() else path


def _ship(folder: Path, store: Store, artifact: Artifact, name: str) -> dict[str, str]:
    path = f"{name}.json" if artifact.kind == "value" else name
    _copy(store, artifact, folder, path)
    return {"file": path, "kind": artifact.kind}


def _copy(store: Store, artifact: Artifact, folder: Path, path: str) -> None:
    """Copy an artifact to `path`: the one file itself, or a folder of its files."""
    files = list(store.manifest(artifact).files)
    # A folder of transforms stays a folder, whatever it holds.
    if len(files) > 1 or not PurePosixPath(path).suffix:
        store.materialize(artifact, folder / path, copy=True)
        return
    beside = folder / ".copy"
    store.materialize(artifact, beside, copy=True)
    (beside / files[0]).rename(folder / path)
    shutil.rmtree(beside)


def _data(folder: Path, shipped: Mapping[str, Mapping[str, str]]) -> dict[str, Any] | None:
    """Return what the shipped transforms say of inputs and classes, for readers without titrant."""
    transforms_path = next((item["file"] for item in shipped.values() if item["kind"] == "transforms"), None)
    if transforms_path is None:
        return None
    from titrant.runtime.data import saved_transforms

    return saved_transforms.ends(folder / transforms_path)


def _reading(plan: Plan, candidate: Candidate) -> dict[str, Any]:
    """Return how outputs become decisions, from the step that judged: task, output, and what its numbers are.

    A file that was made elsewhere is read by its own names.
    """
    steps = {step.id: step.params for step in plan.steps}
    params = steps[candidate.judgement.rpartition(".")[0]]
    reading = {name: params[name] for name in ("task", "output", "kinds") if name in params}
    for own, judged in steps.get(candidate.answers.rpartition(".")[0], {}).get("named", {}).items():
        kinds = {own if name == judged else name: kind for name, kind in reading["kinds"].items()}
        reading |= {"output": own if reading["output"] == judged else reading["output"], "kinds": kinds}
    return reading
