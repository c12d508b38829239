"""Find files that a run put out and that somebody changed afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from titrant.runtime.execution.release import MANIFEST
from titrant.schema.file_digest import digest_file


def tampered(old: Path, new: Path) -> list[str]:
    """Name the files of a run's `outputs` or `quarantine` that are not what it put there.

    `old` and `new` are the folders of the run and of its rerun: where both say that a model is the same artifact, its
    file must be the same too, so that a manifest that was changed along with the file does not hide it.
    """
    said = _manifest(old)
    if said is None:
        return [MANIFEST]
    changed = {name for name, digest in said["files"].items() if _digest(old / name) != digest}
    again = _manifest(new) or {"files": {}, "models": []}
    same = {model["artifact"] for model in said["models"]} & {model["artifact"] for model in again["models"]}
    for model in said["models"]:
        if model["artifact"] in same:
            changed |= {
                name for name in _of(model, said) if again["files"].get(name) not in (None, _digest(old / name))
            }
    return sorted(changed)


def _of(model: dict[str, Any], manifest: dict[str, Any]) -> Iterator[str]:
    yield from (name for name in manifest["files"] if name == model["file"] or name.startswith(f"{model['file']}/"))


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        value = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and {"files", "models"} <= set(value) else None


def _digest(file: Path) -> str | None:
    try:
        return digest_file(file)
    except OSError:
        return None
