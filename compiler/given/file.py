"""What is known of a file from elsewhere or before: how it is loaded, and that it takes what the original takes."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.bind.check_files import ENDINGS
from titrant.compiler.decide.rule import EarlierModel, LoadStep
from titrant.compiler.facts.inspect import file_facts, given_facts
from titrant.compiler.facts.load_steps import model_load
from titrant.compiler.facts.user_operators import Ask
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import CodeNamed, FileLoader
from titrant.schema.contract.earlier import EarlierRelease
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import ModelFacts, TensorSpec
from titrant.schema.recipe.model import InputSpec, Model, OutputSpec
from titrant.schema.values.frozen import dataclass

# The keys of `model` that name a file which holds a whole model.
WHOLE = ("onnx", "torchscript", "exported")
_READ = ", ".join(ending for key in WHOLE for ending in ENDINGS[key])
_NOT_THERE = "name the file that was optimized"


@dataclass(frozen=True)
class GivenFile:
    """A file to be judged as it is: what loads it, its bytes, and the engine that it was made for ("": not known).

    `named` is that of its `LoadStep`.
    """

    path: Path
    operator: str
    params: Mapping[str, Any]
    size: int
    model: ModelFacts
    engine: str = ""
    named: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileToJudge:
    """Which file is to be judged as it is: an absolute path, and the engine that it was made for ("": not known)."""

    path: Path
    engine: str = ""


def as_optimized(written: Mapping[str, Any]) -> FileToJudge | None:
    """Return which file a recorded run judged as it was; None for a run of a recipe alone."""
    recorded = written.get("optimized")
    return None if recorded is None else FileToJudge(Path(recorded["path"]), recorded["engine"])


def key_of(path: Path) -> str:
    """Return the key of `model` that reads a file of this name; RecipeError P142 where there is none."""
    for key in WHOLE:
        if path.name.lower().endswith(ENDINGS[key]):
            return key
    if _own_files(path) is not None:
        message = f"{path.name} can be judged, and is nothing that others are compared with"
        advice = f"give the model that it was made of, one of {_READ}, or `recipe` for the recipe's own"
        raise RecipeError(Diagnostic("P142", message, help=advice))
    endings = ", ".join((_READ, *(each.ending for each in _every_own())))
    raise RecipeError(
        Diagnostic("P142", f"{path.name} is no file that can be judged as it is", help=f"give one of {endings}")
    )


def _every_own() -> list[FileLoader]:
    return [kind.loader for kind in backend.kinds().values() if kind.loader is not None]


def _own_files(path: Path) -> FileLoader | None:
    """Return how a file is taken whose kind no key of `model` reads; None for any other."""
    return next((each for each in _every_own() if path.name.lower().endswith(each.ending)), None)


def in_folder(folder: Path) -> Path | None:
    """Return the one file of such a kind that a folder holds, as a model of several files is released; else None."""
    files = [file for each in _every_own() for file in sorted(folder.glob(f"*{each.ending}"))]
    return files[0] if len(files) == 1 else None


def given_file(bound: BoundRecipe, optimized: FileToJudge, ask: Ask, cache: Path, original: ModelFacts) -> GivenFile:
    """Look at a file that was optimized elsewhere.

    Raises RecipeError P142 for a file that is not there or that nothing loads, P143 where it takes or gives something
    else than the original does, and StepError where it is damaged.
    """
    path = optimized.path
    if path.is_dir() and (inside := in_folder(path)) is not None:
        path = inside
    if _own_files(path) is not None:
        return _own_file(bound, replace(optimized, path=path), ask, cache, original)
    key = key_of(path)
    if not path.is_file():
        raise RecipeError(Diagnostic("P142", f"there is no file {path}", help=_NOT_THERE))
    recipe = bound.recipe.model_copy(update={"model": _model(bound, key, path, original)})
    alone = replace(bound, recipe=recipe, files={f"model.{key}": path}, user_references=())
    facts, files = file_facts(alone, ask, cache)
    refuse_other("takes", original.inputs, facts.inputs)
    named = _refuse_other_answers(original.outputs, facts.outputs, nobodys=not _names_its_own(key))
    operator, params = model_load(alone, files, facts=original)
    size = sum(file.path.stat().st_size for file in files.values())
    return GivenFile(path, operator, params, size, facts, optimized.engine, named)


def _own_file(bound: BoundRecipe, optimized: FileToJudge, ask: Ask, cache: Path, original: ModelFacts) -> GivenFile:
    """Look at a file whose kind says itself how it is loaded."""
    path, own = optimized.path, _own_files(optimized.path)
    assert own is not None
    files = own.files(path)
    for file in files.values():
        if not file.is_file():
            raise RecipeError(Diagnostic("P142", f"there is no file {file}", help=_NOT_THERE))
    if bound.recipe.model.state is not None:
        message = f"{path.name} has no state that is fed back, which `model.state` asks for"
        raise RecipeError(
            Diagnostic("P142", message, help="give a file of a graph with such inputs and outputs, .onnx")
        )
    if own.code is not None:
        _refuse_other_code(bound, path, own.code(path))
    facts, params = given_facts(bound, own.operator, files, ask, cache)
    refuse_other("takes", original.inputs, facts.inputs)
    named = _refuse_other_answers(original.outputs, facts.outputs)
    size = sum(file.stat().st_size for file in files.values())
    return GivenFile(path, own.operator, params, size, facts, optimized.engine, named)


def _refuse_other_code(bound: BoundRecipe, path: Path, code: CodeNamed | None) -> None:
    """Refuse a file that would be built by other code than the recipe's own, which alone is trusted."""
    model = bound.recipe.model
    if code is None:
        message = f"{path.name} holds weights, and does not say how their module is built"
        advice = f"name it as model.weights of a recipe, and release or export it from there as one of {_READ}"
        raise RecipeError(Diagnostic("P142", message, help=advice))
    own = [name for name in code.operators if ":" in name and name != bound.recipe.quantization.method]
    if own:
        message = f"{path.name} was changed by `{own[0]}`, which is no operator of titrant's or of the recipe"
        advice = f"name it as quantization.method, or give one of {_READ}: no other code of a file is run"
        raise RecipeError(Diagnostic("P142", message, help=advice))
    args = code.args
    same = args.keys() == model.args.keys() and all(
        type(args[name]) is int if value == "auto" else args[name] == value for name, value in model.args.items()
    )
    if code.factory != model.factory or not same:
        written = ", ".join(f"{name}: {value}" for name, value in args.items())
        message = f"{path.name} is built by `{code.factory}` with {{{written}}}, and the recipe's model is not"
        advice = "judge it by a recipe with that model.factory and these model.args: no other code of a file is run"
        raise RecipeError(Diagnostic("P142", message, help=advice))


def _model(bound: BoundRecipe, key: str, path: Path, original: ModelFacts) -> Model:
    """Write the file as the recipe's model; one that names none of its inputs takes those of the original."""
    written = bound.recipe.model
    if _names_its_own(key):
        return Model(**{key: str(path)}, inputs=written.inputs, state=written.state, output=written.output)  # type: ignore[arg-type]
    inputs = tuple(
        InputSpec(
            name=spec.name,
            shape=tuple(size if isinstance(size, int) else "batch" for size in spec.shape),
            dtype=spec.dtype,  # type: ignore[arg-type]
        )
        for spec in original.inputs
    )
    outputs = written.output or tuple(OutputSpec(name=spec.name) for spec in original.outputs)
    return Model(**{key: str(path)}, inputs=inputs, state=written.state, output=outputs)  # type: ignore[arg-type]


def _names_its_own(key: str) -> bool:
    """Whether a file names its inputs and outputs itself, so that what loads it is not told them."""
    return "inputs" not in catalog.get(f"model.load_{key}").params.model_fields


def _refuse_other_answers(
    original: Sequence[TensorSpec], optimized: Sequence[TensorSpec], *, nobodys: bool = False
) -> dict[str, str]:
    """Refuse a file that gives something else, and return `GivenFile.named`.

    Names do not decide where each gives one output, nor where those of a torch program are nobody's, which is told the
    original's: then the place does.
    """
    same = {spec.name for spec in optimized} == {spec.name for spec in original}
    if same or len(optimized) != len(original) or not (nobodys or len(original) == 1):
        refuse_other("gives", original, optimized)
        return {}
    pairs = list(zip(optimized, original, strict=True))
    refuse_other("gives", original, [replace(spec, name=other.name) for spec, other in pairs])
    return {} if nobodys else {spec.name: other.name for spec, other in pairs}


def refuse_other(verb: str, original: Sequence[TensorSpec], optimized: Sequence[TensorSpec]) -> None:
    """Refuse a file whose inputs or outputs have other names, or other sizes where both are fixed."""
    asked, given = {spec.name: spec for spec in original}, {spec.name: spec for spec in optimized}
    fits = asked.keys() == given.keys() and all(
        _fits(spec, given[name], typed=verb == "takes") for name, spec in asked.items()
    )
    if not fits:
        message = f"the optimized file {verb} {_words(optimized)}, and the original {verb} {_words(original)}"
        advice = "give a file of the same model, its inputs and outputs named as they were"
        raise RecipeError(Diagnostic("P143", message, help=advice))


def _fits(original: TensorSpec, optimized: TensorSpec, *, typed: bool) -> bool:
    if typed and original.dtype != optimized.dtype:
        return False
    sizes = zip(original.shape[1:], optimized.shape[1:], strict=False)
    same = len(original.shape) == len(optimized.shape)
    return same and all(left == right or isinstance(left, str) or isinstance(right, str) for left, right in sizes)


def _words(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} ({', '.join(map(str, spec.shape))})" for spec in specs) or "nothing"


def earlier_models(
    bound: BoundRecipe, releases: Mapping[str, EarlierRelease], ask: Ask, cache: Path, original: ModelFacts
) -> dict[str, EarlierModel]:
    """Look at the file of every release, by the preset of the rows that compare with it.

    Raises RecipeError P152 for a file that nothing loads as it is, or that takes or gives something else than the
    original: what it would answer could not be compared.
    """
    return {name: _earlier(bound, (name, release), ask, cache, original) for name, release in releases.items()}


def _earlier(
    bound: BoundRecipe, named: tuple[str, EarlierRelease], ask: Ask, cache: Path, original: ModelFacts
) -> EarlierModel:
    name, release = named
    try:
        given = given_file(bound, FileToJudge(Path(release.path), release.engine), ask, cache, original)
    except (RecipeError, StepError) as error:
        seen = error.diagnostics[0]
        message = f"the file that {release.run} released cannot be compared with: {seen.message}"
        where = bound.parsed.source.place(("validation", name), "value")
        advice = f"{seen.help}; or name another run" if seen.help else "name another run"
        raise RecipeError(Diagnostic("P152", message, where, advice)) from None
    return EarlierModel(release, LoadStep(given.operator, given.params, given.model, given.named))
