"""Write what a user ships: copies of the judged files, verified, put in place at the very end by one rename."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from titrant.runtime.backends import transforms
from titrant.runtime.store.artifacts import Manifest, Store
from titrant.schema.plan import Candidate, CandidateSearch, Plan
from titrant.schema.record import Artifact
from titrant.schema.values import files
from titrant.schema.values.files import digest_file

MANIFEST = "titrant.json"


def released_path(name: str, manifest: Manifest) -> str:
    """Return where a model comes to lie: NAME with the file's suffix, or the folder NAME of one with several files."""
    files = list(manifest.files)
    return name + PurePosixPath(files[0]).suffix if len(files) == 1 else name


def write_outputs(
    folder: Path, plan: Plan, store: Store, artifacts: Mapping[str, Artifact], chosen: Mapping[str, str]
) -> None:
    """Write the chosen candidates (search → candidate) with everything shipped beside them into `folder` of a run.

    `folder` appears whole or not at all. Raises DamagedError when a stored file is not what was judged.
    """
    prepare_outputs(folder, plan, store, artifacts, chosen)
    place_outputs(folder)


def unfinished_of(folder: Path) -> Path:
    """Return where what belongs into a folder is gathered first."""
    return folder.with_name(f".{folder.name}.unfinished")


def place_outputs(folder: Path) -> None:
    """Put what was prepared in its place, by one rename."""
    if folder.exists():
        folder.rmdir()
    unfinished_of(folder).rename(folder)


def prepare_outputs(
    folder: Path, plan: Plan, store: Store, artifacts: Mapping[str, Artifact], chosen: Mapping[str, str]
) -> None:
    """Gather and verify everything that belongs into `folder` beside it, as `write_outputs` says."""
    unfinished = unfinished_of(folder)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    candidates = {candidate.id: candidate for candidate in plan.candidates}
    searches = [search for search in plan.searches if search.name in chosen]
    models = [_model(unfinished, store, artifacts, search, candidates[chosen[search.name]]) for search in searches]
    shipped = {name: _ship(unfinished, store, artifacts[ref], name) for name, ref in plan.shipped.items()}
    about = {
        "titrant": 1,
        "name": plan.name,
        "task": plan.task,
        "run": folder.parent.name,
        "models": models,
        "shipped": shipped,
        "reading": _reading(plan, candidates[chosen[searches[0].name]]),
        "data": _data(unfinished, shipped),
        "threads": plan.timing_threads,
        "files": {
            path.relative_to(unfinished).as_posix(): digest_file(path)
            for path in sorted(unfinished.rglob("*"))
            if path.is_file()
        },
    }
    files.write_json(unfinished / MANIFEST, about)


def intact(folder: Path) -> bool:
    """Tell whether everything that was released into a folder is still there, unchanged."""
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        return all(digest_file(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError):
        return False


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
    }


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
    found = next((item["file"] for item in shipped.values() if item["kind"] == "transforms"), None)
    if found is None:
        return None
    return transforms.ends(folder / found)


def _reading(plan: Plan, candidate: Candidate) -> dict[str, Any]:
    """Return how outputs become decisions, from the step that judged: task, output, and what its numbers are."""
    step_id = candidate.judgement.rpartition(".")[0]
    params = next(step.params for step in plan.steps if step.id == step_id)
    return {name: params[name] for name in ("task", "output", "kinds") if name in params}
