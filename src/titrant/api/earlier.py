"""Find the releases of earlier runs that a recipe compares with: a run that it names, the last one, the first one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.runtime.store.home import Home, newest_first
from titrant.schema.contract.earlier import ANCHOR, FIRST, PREVIOUS, REGRESSION, EarlierRelease
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.spans import KeyPath
from titrant.schema.plan import GIVEN
from titrant.schema.values.files import json_object

if TYPE_CHECKING:
    from titrant.schema.facts import DataFacts, ModelFacts

_MANIFEST, _RERUN = Path("outputs", "titrant.json"), "rerun.json"
AGAINST: KeyPath = ("validation", "regression", "against")
ANCHORED: KeyPath = ("validation", "anchor")
NOTHING_RECORDED: Mapping[str, str] = {}


def earlier_releases(
    bound: BoundRecipe, home: Home, model: "ModelFacts", data: "DataFacts", recorded: Mapping[str, str]
) -> dict[str, EarlierRelease]:
    """Return the releases that rows compare with, by the preset of the rows; `recorded` names the runs of a rerun.

    `previous` is the newest run by the recipe's name that released something and was of another recipe, model or data:
    a run of this very recipe is the release that is being made, not the one before it. Raises RecipeError P150 where
    there is no such run, P151 where its files are not what it released, P153 where no run released the original.
    """
    validation = bound.recipe.validation
    releases: dict[str, EarlierRelease] = {}
    if validation.regression is not None:
        name = recorded.get(REGRESSION, validation.regression.against)
        folder = _previous(bound, home, model, data) if name == PREVIOUS else _named(bound, home, name, AGAINST)
        releases[REGRESSION] = _release(bound, folder, AGAINST)
    if validation.anchor is not None:
        name = recorded.get(ANCHOR, validation.anchor)
        releases[ANCHOR] = (
            _first(bound, home, model)
            if name == FIRST
            else _release(bound, _named(bound, home, name, ANCHORED), ANCHORED)
        )
    return releases


def _named(bound: BoundRecipe, home: Home, name: str, path: KeyPath) -> Path:
    from titrant.api.runs import find_run

    try:
        return find_run(name, home.path, ended=True)
    except RecipeError as error:
        seen = error.diagnostics[0]
        raise _missing(bound, path, seen.message, seen.help) from None


def _previous(bound: BoundRecipe, home: Home, model: "ModelFacts", data: "DataFacts") -> Path:
    from titrant.compiler.bind.check_files import own_paths
    from titrant.schema.recipe.recipe import recipe_value
    from titrant.schema.values.canonical import sha256

    name = bound.recipe.name
    own = (sha256(own_paths(recipe_value(bound.recipe), bound.parsed)), model.digest, data.digest)
    for folder in newest_first(home.runs, f"-{name}-"):
        plan = json_object(folder / "plan.json") if (folder / _MANIFEST).is_file() else None
        if plan is None or plan.get("name") != name or (folder / _RERUN).exists() or _is_given(plan):
            continue
        if tuple(plan.get(part) for part in ("recipe_digest", "model_digest", "data_digest")) != own:
            return folder
    message = f"no run of {name} in {home.runs} released anything before this recipe, model and data"
    advice = "run the recipe once without `regression`, or name a run: `against: RUN`"
    raise _missing(bound, AGAINST, message, advice)


def _is_given(plan: Mapping[str, Any]) -> bool:
    candidates = plan.get("candidates")
    return isinstance(candidates, list) and any(each.get("method") == GIVEN for each in candidates)


def _first(bound: BoundRecipe, home: Home, model: "ModelFacts") -> EarlierRelease:
    """Walk from the original to the run that released it, on to the run that released that one's, and so on."""
    from dataclasses import replace

    line = list(_line(home, model.digest))
    if not line:
        message = f"no run in {home.runs} released the original, so that nothing comes before it"
        advice = "name the run whose file is the anchor: `anchor: RUN`, or take the line out"
        raise RecipeError(Diagnostic("P153", message, _place(bound, ANCHORED), advice))
    return replace(_release(bound, line[-1], ANCHORED, file=_file_of(line, model.digest)), releases=len(line))


def _line(home: Home, digest: str) -> Iterator[Path]:
    """Yield the runs from the one that released a model back to the first of its line, by content alone."""
    by_file: dict[str, Path] = {}
    for folder in newest_first(home.runs):  # of several runs that released the same bytes the oldest stays
        by_file |= dict.fromkeys(_released(folder).values(), folder)
    seen: set[Path] = set()
    released_by = by_file.get(digest)
    while released_by is not None and released_by not in seen:
        seen.add(released_by)
        yield released_by
        released_by = by_file.get(original_of(released_by))


def _file_of(line: list[Path], digest: str) -> str:
    """Return the file of the last run of a line that the line goes through."""
    wanted = digest if len(line) == 1 else original_of(line[-2])
    return next(name for name, each in _released(line[-1]).items() if each == wanted)


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


def _release(bound: BoundRecipe, folder: Path, path: KeyPath, *, file: str = "") -> EarlierRelease:
    """Read what a run released, its first file unless another is named, and check it against the run's own record."""
    from titrant.runtime.store.placed import forged
    from titrant.runtime.store.run_folder import read_record

    manifest, plan, record = json_object(folder / _MANIFEST), json_object(folder / "plan.json"), read_record(folder)
    if manifest is None:
        advice = "name a run that released one: titrant show runs"
        raise _missing(bound, path, f"{folder.name} released no file", advice)
    if (wrong := forged(folder)) is not None or plan is None or record is None:
        why = "its plan or record cannot be read" if wrong is None else f"{wrong.path.name}: {wrong.why}"
        advice = "name another run, or run that recipe again"
        message = f"what {folder.name} released is damaged: {why}"
        raise RecipeError(Diagnostic("P151", message, _place(bound, path), advice))
    model = next(each for each in manifest["models"] if file in ("", each["file"]))
    sizes = {each.candidate: each.size for each in record.candidates}
    hardware = plan["hardware"]
    place = (folder / "outputs" / model["file"]).absolute()
    return EarlierRelease(
        run=folder.name,
        path=str(place),
        engine=model["engine"],
        bytes=sizes.get(model["candidate"]) or place.stat().st_size,
        machine=hardware["machine"],
        processor=hardware["cpu"],
        instructions=tuple(hardware["instructions"]),
    )


def _place(bound: BoundRecipe, path: KeyPath) -> Any:
    key = path if bound.written(*path) else path[:2]
    return bound.parsed.source.place(key, "value" if key == path else "key")


def _missing(bound: BoundRecipe, path: KeyPath, message: str, advice: str) -> RecipeError:
    return RecipeError(Diagnostic("P150", message, _place(bound, path), advice))
