"""Ask an inspection child what the model and the data are, and remember the answer while nothing has changed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.describe import Ask, enter_user_operators
from titrant.compiler.file_digests import DigestedFile, FileDigests
from titrant.compiler.lowering.data import Files, data_load, data_split, data_transform
from titrant.compiler.lowering.model import model_load
from titrant.compiler.packages import installed
from titrant.compiler.read_facts import read_data_facts, read_model_facts
from titrant.compiler.remember import remember
from titrant.schema.canonical import canonical_json, sha256
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.plan import without_paths

# Raised when the answer's form changes, so that old answers are asked for again.
_FORM = 2


@dataclass(frozen=True)
class Facts:
    """What inspection found, and the digests of the files that the recipe names."""

    model: ModelFacts
    data: DataFacts
    files: Mapping[str, DigestedFile] = field(default_factory=dict)


def digest_files(bound: BoundRecipe, digests: FileDigests | None = None) -> dict[str, DigestedFile]:
    """Digest every file and folder that the recipe names, by its key; RecipeError for one that cannot be read."""
    digests = FileDigests() if digests is None else digests
    found = {}
    for key, path in bound.files.items():
        try:
            found[key] = DigestedFile(path, digests.of(path))
        except OSError as error:
            where = bound.parsed.source.place(tuple(key.split(".")), "value")
            raise RecipeError(
                Diagnostic("P010", f"{path} cannot be read: {error.strerror}", where, "check the path and its rights")
            ) from None
    return found


def request(bound: BoundRecipe, files: Files | None = None) -> dict[str, Any]:
    """Write what the inspection child needs: the parameters of the steps that load data and model."""
    files = digest_files(bound) if files is None else files
    operator, model = model_load(bound, files)
    steps = {
        "data.load": data_load(bound, files),
        "data.split": data_split(bound),
        "data.transform": data_transform(bound),
        operator: model,
    }
    return {"seed": bound.recipe.seed, "steps": steps}


def facts(bound: BoundRecipe, ask: Ask, cache: Path) -> Facts:
    """Return what is known of the recipe's model and data, asking only when something that the answer rests on moved.

    `ask` is the worker's; `cache` is the home's folder for facts. An answer is kept under the digest of its request
    (with files by content) and of the library versions, and believed while every file that it depended on has the
    digest it had. A user's operator is asked about too, and enters the catalog.
    """
    digests = FileDigests(cache / "files.json")
    files = digest_files(bound, digests)
    wanted = request(bound, files)
    rest = {
        "form": _FORM,
        "packages": {**installed(), **installed(("titrant",))},
        "folder": str(bound.folder) if bound.user_code else "",
    }
    key = sha256({"request": without_paths(wanted), **rest})
    place = cache / f"{key}.json"
    answer = _remembered(place, digests)
    if answer is None:
        asked = _located(bound, lambda: ask({"do": "inspect", **wanted}))
        # As it will be read back: the order of keys must not depend on whether the answer was remembered.
        answer = json.loads(canonical_json({part: asked[part] for part in ("model", "data", "dependencies")}))
        remember(place, answer)
    enter_user_operators(bound, ask, cache, digests)
    digests.save()
    return Facts(read_model_facts(answer["model"]), read_data_facts(answer["data"]), files)


def _located(bound: BoundRecipe, ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Ask, and point what the child finds wrong with the recipe at the recipe's lines."""
    try:
        return ask()
    except RecipeError as error:
        raise RecipeError(*(_placed(bound, diagnostic) for diagnostic in error.diagnostics)) from None


def _placed(bound: BoundRecipe, diagnostic: Diagnostic) -> Diagnostic:
    if diagnostic.where is not None or not diagnostic.key:
        return diagnostic
    where = bound.parsed.source.place(tuple(diagnostic.key.split(".")), "value")
    return replace(diagnostic, where=where)


def _remembered(place: Path, digests: FileDigests) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        unchanged = all(digests.of(Path(file["path"])) == file["digest"] for file in answer["dependencies"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if unchanged else None
