"""Check what a run put out against its journal and its record, not only against the manifest that lies beside it.

The journal names the record and the manifest by their digests, the manifest every file. A run of an earlier version has
no such line: there the record vouches for what was released, and the store for its files as long as it has them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.backends.stamp import digest as stamped_digest
from titrant.runtime.store import journal
from titrant.runtime.store.artifacts import DamagedError, Store
from titrant.runtime.store.home import Home
from titrant.runtime.store.run_folder import MANIFEST, RECORD, read_record, stamp_of
from titrant.schema.plan import Plan, plan_digest
from titrant.schema.record import Artifact, RunRecord
from titrant.schema.release import released_facts
from titrant.schema.values.canonical import read_back
from titrant.schema.values.files import digest_file, json_object
from titrant.schema.values.frozen import dataclass

_JOURNAL = "journal.jsonl"
# What tells a run's folder from a folder that its outputs were copied to.
_OF_A_RUN = (RECORD, _JOURNAL, "plan.json")
_FOLDERS = ("outputs", "quarantine")


@dataclass(frozen=True)
class Forged:
    """A file of a run that is not what the run wrote, and why."""

    path: Path
    why: str


def names_placed(run: Path, unfinished: Path | None, folder: str) -> dict[str, str]:
    """Return what a journal says of what is about to be put in `folder`: digests of the record and of the manifest."""
    names = {"record": digest_file(run / RECORD)}
    return names if unfinished is None else {**names, "manifest": digest_file(unfinished / MANIFEST), "folder": folder}


def forged(run: Path) -> Forged | None:
    """Return the first file of a finished run that is not what the run put out; None where all are, or none is a run's.

    `outputs` and `quarantine` are read whole.
    """
    if not any((run / name).is_file() for name in _OF_A_RUN):
        return None
    there = [name for name in _FOLDERS if (run / name / MANIFEST).is_file()]
    return next(_differences(run, there), None)


def added(run: Path) -> Forged | None:
    """Return the first file beside what a finished run put out that the run did not put there; None without one."""
    for folder in (run / name for name in _FOLDERS if (run / name / MANIFEST).is_file()):
        listed = (json_object(folder / MANIFEST) or {}).get("files", {})
        for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
            name = path.relative_to(folder).as_posix()
            if name != MANIFEST and name not in listed:
                return Forged(path, "the run put no such file there")
    return None


def still_placed(run: Path, record: RunRecord) -> bool:
    """Tell whether what a run put out is still there: nothing where the original itself is not good enough."""
    folder = "outputs" if record.released else "quarantine"
    return (record.missed or (run / folder / MANIFEST).is_file()) and forged(run) is None


def _differences(run: Path, there: list[str]) -> Iterator[Forged]:
    record = read_record(run)
    if record is None:
        yield from (Forged(run / name / MANIFEST, "the run has no record of putting it out") for name in there)
        return
    try:
        events = journal.read(run / _JOURNAL)
    except OSError:
        yield Forged(run / RECORD, "the run's journal is not there to vouch for it")
        return
    yield from _against_journal(run, record, events, there)
    for name in there:
        if name != ("outputs" if record.released else "quarantine"):
            yield Forged(run / name / MANIFEST, "the run's record says that nothing was put out there")
        yield from _against_record(run / name, record)


def _against_journal(run: Path, record: RunRecord, events: list[dict[str, Any]], there: list[str]) -> Iterator[Forged]:
    closed = next((event for event in reversed(events) if event["event"] == "closed" and "verdict" in event), None)
    if closed is not None and (closed["verdict"], closed.get("released")) != (record.verdict, list(record.released)):
        yield Forged(run / RECORD, "the run's journal ends with another verdict or release")
    placed = next((event for event in reversed(events) if event["event"] == "placed"), None)
    if placed is None:
        for name in there:
            models = (json_object(run / name / MANIFEST) or {}).get("models")
            if isinstance(models, list) and any(isinstance(model, dict) and "stamp" in model for model in models):
                yield Forged(run / name / MANIFEST, "the run's journal does not say that anything was put out")
        return
    if placed.get("record") != digest_file(run / RECORD):
        yield Forged(run / RECORD, "the run's journal names another record")
    for name in there:
        if name != placed.get("folder") or placed.get("manifest") != digest_file(run / name / MANIFEST):
            yield Forged(run / name / MANIFEST, "the run's journal names another list of files")


def _against_record(folder: Path, record: RunRecord) -> Iterator[Forged]:
    """Compare a folder's files with its manifest, and its models with what the steps of the run gave."""
    manifest = folder / MANIFEST
    about = json_object(manifest)
    try:
        files, models = dict((about or {})["files"]), list((about or {})["models"])
        for name, digest in files.items():
            if not (folder / name).is_file() or digest_file(folder / name) != digest:
                yield Forged(folder / name, "it does not have the digest that it was put out with")
        for model in models:
            if folder.name == "outputs" and model["candidate"] not in record.released:
                yield Forged(manifest, f"the run's record does not say that {model['candidate']} was released")
            if model["artifact"] not in {artifact.digest for artifact in _made(record)}:
                yield Forged(manifest, f"no step of the run gave the model of {model['candidate']}")
            if "stamp" in model and model["stamp"] != _facts(folder.parent, record, model["candidate"]):
                yield Forged(manifest, f"the run's record does not say this of {model['candidate']}")
        made = _stored_digests(Store(Home(folder.parent.parent.parent)), record, models)
        for name, digest in files.items():
            if made is not None and digest not in made:
                yield Forged(folder / name, "no step of the run gave a file with this content")
    except (KeyError, TypeError, ValueError, AttributeError):
        yield Forged(manifest, "it is not a list of what was put out")


def _facts(run: Path, record: RunRecord, candidate: str) -> Mapping[str, Any] | None:
    """Return what a candidate's file is to say of its release, by the run's plan and record; None where they do not."""
    about = json_object(run / "plan.json")
    plan = None if about is None else read_back(Plan, about)
    if plan is None or plan_digest(plan) != record.plan_digest:
        return None
    return released_facts(plan, record, record.environment.get("titrant", "")).get(candidate)


def _stored_digests(store: Store, record: RunRecord, models: list[dict[str, Any]]) -> set[str | None] | None:
    """Return the digests of all files that the steps of a run gave, of released `models` with the facts in them.

    None where the store no longer has them all.
    """
    digests: set[str | None] = set()
    try:
        for artifact in _made(record):
            digests.update(blob.digest for blob in store.manifest(artifact).files.values())
        digests.update(_stamped_digest(store, model) for model in models if "stamp" in model)
    except (DamagedError, OSError):
        return None
    return digests


def _stamped_digest(store: Store, model: Mapping[str, Any]) -> str | None:
    """Return the digest of the file that a step gave, with the facts of its release in it.

    None where the kind carries none; DamagedError where the store no longer has the file.
    """
    stamp = stamp_of(model["kind"])
    if stamp is None:
        return None
    judged = store.blob(Artifact(model["kind"], model["artifact"], 0), stamp.file)
    return None if judged is None else stamped_digest(stamp, judged, model["stamp"])


def _made(record: RunRecord) -> Iterator[Artifact]:
    for step in record.steps:
        if step.result is not None:
            yield from step.result.outputs.values()
