"""Releases of earlier runs of a home: the last one by a name, the line that a model comes from, what a run released."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.store.home import Home, newest_first
from titrant.runtime.store.placed import forged
from titrant.runtime.store.run_folder import MANIFEST, read_record
from titrant.schema.contract.earlier import EarlierRelease
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.plan import GIVEN
from titrant.schema.values.files import json_object

_MANIFEST, _RERUN = Path("outputs", MANIFEST), "rerun.json"
# What one recipe, model and data are digested as, in a plan.
_MADE_OF = ("recipe_digest", "model_digest", "data_digest")
_NAME_ONE = (
    "run the recipe once without `regression`, or name a run: a judgement by `titrant validate` counts by name only"
)


def previous_release(home: Home, name: str, made_of: tuple[str, str, str]) -> Path:
    """Return the newest run by a recipe's name that released something and was of another recipe, model or data.

    `made_of` are the digests of those that are planned: a run of them is the release that is being made, not the one
    before it. Reruns and judgements of files from elsewhere are passed over. Raises RecipeError P150 for none.
    """
    for folder in newest_first(home.runs, f"-{name}-"):
        plan = json_object(folder / "plan.json") if (folder / _MANIFEST).is_file() else None
        if plan is None or plan.get("name") != name or (folder / _RERUN).exists() or _is_given(plan):
            continue
        if tuple(plan.get(part) for part in _MADE_OF) != made_of:
            return folder
    message = f"no run of {name} in {home.runs} released anything before this recipe, model and data"
    raise RecipeError(Diagnostic("P150", message, help=_NAME_ONE))


def _is_given(plan: Mapping[str, Any]) -> bool:
    candidates = plan.get("candidates")
    return isinstance(candidates, list) and any(each.get("method") == GIVEN for each in candidates)


def first_release(home: Home, model: str) -> tuple[Path, str, int]:
    """Return the run that began the line of a model, by its digest, the file it released, and how long the line is.

    From the run that released the model to the run that released what that one was made of, and so on: by content
    alone, so that copies count. Raises RecipeError P153 where no run released the model.
    """
    runs = list(_line(home, model))
    if not runs:
        message = f"no run in {home.runs} released the original, so that nothing comes before it"
        advice = "name the run whose file is the anchor, or take the line out"
        raise RecipeError(Diagnostic("P153", message, help=advice))
    digest = model if len(runs) == 1 else original_of(runs[-2])
    file = next(name for name, each in _released(runs[-1]).items() if each == digest)
    return runs[-1], file, len(runs)


def _line(home: Home, model: str) -> Iterator[Path]:
    by_file: dict[str, Path] = {}
    for folder in newest_first(home.runs):  # of several runs that released the same bytes the oldest stays
        by_file |= dict.fromkeys(_released(folder).values(), folder)
    seen: set[Path] = set()
    released_by = by_file.get(model)
    while released_by is not None and released_by not in seen:
        seen.add(released_by)
        yield released_by
        released_by = by_file.get(original_of(released_by))


def original_of(folder: Path) -> str:
    """Return the digest of the model that a run was given; "" where nothing says."""
    manifest = json_object(folder / _MANIFEST) or {}
    return str(manifest.get("original") or (json_object(folder / "plan.json") or {}).get("model_digest", ""))


def _released(folder: Path) -> dict[str, str]:
    """Return the model files that a run released, with their digests; {} for one that released none."""
    manifest = json_object(folder / _MANIFEST) or {}
    files, models = manifest.get("files"), manifest.get("models")
    if not isinstance(files, dict) or not isinstance(models, list):
        return {}
    return {model["file"]: files[model["file"]] for model in models if model.get("file") in files}


def release_of(folder: Path, file: str = "") -> EarlierRelease:
    """Return what a run released, its first file unless another is named, checked against the run's own record.

    Raises RecipeError P150 where it released nothing, P151 where its files are not what it released.
    """
    manifest, plan, record = json_object(folder / _MANIFEST), json_object(folder / "plan.json"), read_record(folder)
    if manifest is None:
        advice = "name a run that released one: titrant show runs"
        raise RecipeError(Diagnostic("P150", f"{folder.name} released no file", help=advice))
    if (wrong := forged(folder)) is not None or plan is None or record is None:
        why = "its plan or record cannot be read" if wrong is None else f"{wrong.path.name}: {wrong.why}"
        message = f"what {folder.name} released is damaged: {why}"
        raise RecipeError(Diagnostic("P151", message, help="name another run, or run that recipe again"))
    model = next(each for each in manifest["models"] if file in ("", each["file"]))
    sizes = {each.candidate: each.size for each in record.candidates}
    hardware, place = plan["hardware"], (folder / "outputs" / model["file"]).absolute()
    return EarlierRelease(
        run=folder.name,
        path=str(place),
        engine=model["engine"],
        bytes=sizes.get(model["candidate"]) or place.stat().st_size,
        machine=hardware["machine"],
        processor=hardware["cpu"],
        instructions=tuple(hardware["instructions"]),
    )
