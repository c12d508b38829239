"""Ask an inspection child what the model and the data are, and remember the answer while nothing has changed."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe, located
from titrant.compiler.bind.check_files import SHARDS
from titrant.compiler.facts.cache import PREFIX, DigestedFile, FileDigests, header_digest, movable, moved
from titrant.compiler.facts.load_steps import (
    ONNX_PARTS,
    DigestedFiles,
    OtherLoad,
    OtherModel,
    data_load,
    data_split,
    data_unlabeled,
    model_load,
    other_loads,
    other_params,
)
from titrant.compiler.facts.transform_steps import data_transform
from titrant.compiler.facts.user_operators import Ask, enter_user_operators
from titrant.compiler.machine.detect import installed
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StaleError, TitrantError
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.plan import files_in, without_paths
from titrant.schema.values.canonical import read_back, sha256
from titrant.schema.values.dependencies import current_digest
from titrant.schema.values.files import remember, remembered, state_of
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason

# Raised when the answer's form changes, so that old answers are asked for again.
_FORM = 19


@dataclass(frozen=True)
class Facts:
    """What inspection found, and the digests of the files that the recipe names (and of those beside an ONNX file)."""

    model: ModelFacts
    data: DataFacts
    files: Mapping[str, DigestedFile] = field(default_factory=dict)
    others: Mapping[str, OtherLoad] = field(default_factory=dict)  # the models beside the original, by key
    architecture: Mapping[str, Any] | None = None  # in plain values, where it was asked for


def digest_files(
    bound: BoundRecipe, digests: FileDigests | None = None, *, by_header: bool = False
) -> dict[str, DigestedFile]:
    """Digest every file and folder that the recipe names, by its key; RecipeError for one that cannot be read.

    With `by_header` large weights are digested by their header only, which takes no time whatever their size.
    """
    digests = FileDigests() if digests is None else digests
    files = {}
    for key, path in bound.files.items():
        header = header_digest(path) if by_header and (key == "model.weights" or key.startswith(SHARDS)) else None
        files[key] = DigestedFile(path, header or _digest(bound, key, path, digests))
    return files


def request(bound: BoundRecipe, files: DigestedFiles | None = None) -> dict[str, Any]:
    """Write what the inspection child needs: the parameters of the steps that load data and model."""
    files = digest_files(bound) if files is None else files
    operator, model = model_load(bound, files)
    steps = {
        "data.load": data_load(bound, files),
        "data.split": data_split(bound),
        "data.transform": data_transform(bound, files),
        operator: model,
    }
    if unlabeled := data_unlabeled(bound, files):
        steps["data.unlabeled"] = unlabeled
    outputs = bound.recipe.model.output or ()
    judged = outputs[0].name if outputs else None
    others = other_params(bound, files)
    return {
        "seed": bound.recipe.seed,
        "steps": steps,
        **({"judged": judged} if judged else {}),
        **({"others": others} if others else {}),
    }


def model_facts(
    bound: BoundRecipe, ask: Ask, cache: Path, *, shown: bool, drawn: bool = False, first_look: bool = False
) -> tuple[ModelFacts, Mapping[str, Any] | None]:
    """Return what is known of the recipe's model alone, and where it is `drawn` its architecture; kept as by `facts`.

    Unless it is `shown` the inputs that the recipe names, only its layers are looked at, not what it answers. At a
    `first_look` a large graph is not opened, of which nothing is planned then. The architecture is in plain values.
    """
    answer = _model_alone(bound, ask, cache, shown=shown, drawn=drawn, first_look=first_look)
    return answer.model, answer.architecture


def _model_alone(bound: BoundRecipe, ask: Ask, cache: Path, *, shown: bool, drawn: bool, first_look: bool) -> "_Answer":
    digests = FileDigests(cache / "files.json")
    operator, params = model_load(bound, digest_files(bound, digests, by_header=True))
    if not shown and "inputs" in params:
        params["inputs"] = []
    look = {"drawn": drawn, "first_look": first_look and operator == "model.load_onnx"}
    asked = {name: True for name, is_asked in look.items() if is_asked}
    answer = _answer(bound, ask, cache, digests, {"seed": bound.recipe.seed, "steps": {operator: params}, **asked})
    digests.save()
    return answer


def file_facts(bound: BoundRecipe, ask: Ask, cache: Path) -> tuple[ModelFacts, DigestedFiles]:
    """Return what is known of a model that is a file, and its digest with those of the files that hold its weights.

    `bound` names no file but that of its `model`. Kept as `facts` does.
    """
    digests = FileDigests(cache / "files.json")
    files = digest_files(bound, digests)
    operator, params = model_load(bound, files)
    answer = _answer(bound, ask, cache, digests, {"seed": bound.recipe.seed, "steps": {operator: params}})
    files = _contents(bound, files, answer.parts, digests)
    digests.save()
    return answer.model, files


def given_facts(
    bound: BoundRecipe, operator: str, files: Mapping[str, Path], ask: Ask, cache: Path
) -> tuple[ModelFacts, dict[str, Any]]:
    """Return what is known of files that an operator loads by itself, and its parameters; kept as `facts` does.

    `files` are by the parameter that takes them.
    """
    digests = FileDigests(cache / "files.json")
    params = {name: file.as_param() for name, file in digest_files(replace(bound, files=files), digests).items()}
    answer = _answer(bound, ask, cache, digests, {"seed": bound.recipe.seed, "steps": {operator: params}})
    digests.save()
    return answer.model, params


def facts(bound: BoundRecipe, ask: Ask, cache: Path, *, contents: bool = True, drawn: bool = False) -> Facts:
    """Return what is known of the recipe's model and data, asking only when something that the answer rests on moved.

    `ask` is the worker's; `cache` is the home's folder for facts. An answer is kept under the digest of its request
    (with files by content, large weights by their header) and of the library versions, and believed while every file
    that it depended on has the digest it had. A user's operator is asked about too, and enters the catalog.

    Without `contents` the files' digests are those that inspection needs: good for looking, not for a plan, whose
    identity rests on every value of the weights. `drawn` asks for the model's architecture too.
    """
    digests = FileDigests(cache / "files.json")
    files = digest_files(bound, digests, by_header=True)
    question = request(bound, files) | ({"drawn": True} if drawn else {})
    answer = _answer(bound, ask, cache, digests, question)
    enter_user_operators(bound, ask, cache, digests)
    model = answer.model
    if contents:
        whole = _contents(bound, files, answer.parts, digests)
        changed = {key: file.digest for key, file in whole.items() if file != files.get(key)}
        files = whole
        if changed:
            model = replace(model, digest=sha256({"model": model.digest, "files": changed}))
    digests.save()
    assert answer.data is not None
    return Facts(model, answer.data, files, other_loads(bound, files, answer.others), answer.architecture)


@dataclass(frozen=True)
class _Answer:
    """What the child says; `data` is None where only the model was asked about."""

    model: ModelFacts
    data: DataFacts | None
    parts: tuple[str, ...] = ()
    others: Mapping[str, OtherModel] = field(default_factory=dict)
    architecture: Mapping[str, Any] | None = None  # in plain values, where it was asked for


def _answer(bound: BoundRecipe, ask: Ask, cache: Path, digests: FileDigests, question: dict[str, Any]) -> _Answer:
    """Return the remembered answer to a request while it holds, else the child's, which is then remembered."""
    rest = {"form": _FORM, "packages": {**installed(), **installed(("titrant",))}}
    folder = str(bound.folder) if bound.user_code else ""
    asking = {"request": without_paths(question), **rest}
    place = cache / f"{sha256({**asking, 'folder': folder})}.json"
    whole = "data.load" in question["steps"]
    answer = _remembered(place, digests, whole=whole)
    # What the user's own code says holds in another folder too, where the same files stand.
    copied = cache / f"{sha256({**asking, 'folder': None})}.json"
    if answer is None and folder and (carried := moved(remembered(copied), bound.folder)):
        remember(place, carried)
        answer = _remembered(place, digests, whole=whole)
    if answer is None:
        asked = located(bound, lambda: _asked(ask, question, digests))
        # As it will be read back: the order of keys must not depend on whether the answer was remembered.
        parts = {part: asked[part] for part in ("model", "data", "dependencies")} | {"parts": asked.get("parts", [])}
        parts |= {part: asked[part] for part in ("others", "architecture") if part in asked}
        kept = remember(place, parts)
        if folder:
            remember(copied, movable(kept, bound.folder))
        answer = read_back(_Answer, kept)
    return answer


def _asked(ask: Ask, question: dict[str, Any], digests: FileDigests) -> Mapping[str, Any]:
    """Return the child's answer; StaleError X350 where a file that it is about was another one meanwhile.

    The answer is kept under the digests in the question, and the data that the child loaded go into the run.
    """
    given = [(Path(file["path"]), file["digest"]) for _, file in files_in(question)]
    states = [state_of(path) for path, _ in given]

    def refuse_changed() -> None:
        for (path, digest), state in zip(given, states, strict=True):
            if state_of(path) != state or _digest_now(path, digest, digests) != digest:
                advice = "plan again, and let the file be while titrant looks at it"
                raise StaleError(Diagnostic("X350", f"{path} changed while titrant looked at it", help=advice))

    try:
        answer = ask({"do": "inspect", **question})
    except TitrantError:
        refuse_changed()  # what is wrong with a half of it says nothing
        raise
    refuse_changed()
    return answer


def _digest_now(path: Path, digest: str, digests: FileDigests) -> str | None:
    try:
        return header_digest(path) if digest.startswith(PREFIX) else digests.of(path)
    except OSError:
        return None


def _contents(
    bound: BoundRecipe, files: DigestedFiles, parts: Sequence[str], digests: FileDigests
) -> dict[str, DigestedFile]:
    """Digest what was known by its header only, and the files beside an ONNX file that hold its weights."""
    whole = dict(files)
    for key, file in files.items():
        if file.digest.startswith(PREFIX):
            whole[key] = replace(file, digest=_digest(bound, key, file.path, digests))
    for place, part in enumerate(parts):
        beside = files["model.onnx"].path.parent / part
        whole[f"{ONNX_PARTS}{place}"] = DigestedFile(beside, _digest(bound, "model.onnx", beside, digests))
    return whole


def _digest(bound: BoundRecipe, key: str, path: Path, digests: FileDigests) -> str:
    try:
        return digests.of(path)
    except OSError as error:
        named = "model.weights" if key.startswith(SHARDS) else key
        where = bound.parsed.source.place(tuple(named.split(".")), "value")
        raise RecipeError(
            Diagnostic("P010", f"{path} cannot be read: {os_reason(error)}", where, "check the path and its rights")
        ) from None


def _remembered(place: Path, digests: FileDigests, *, whole: bool) -> _Answer | None:
    """Return an answer that still holds; a `whole` one tells of the data too."""
    try:
        kept = remembered(place)
        # A path is absolute, so that the folder before it counts for nothing.
        if any(current_digest(item["path"], Path(), digests.of) != item["digest"] for item in kept["dependencies"]):
            return None
        answer = read_back(_Answer, kept)
    except (OSError, KeyError, TypeError, ValueError):  # also a path with a null character
        return None
    return None if whole and answer.data is None else answer
