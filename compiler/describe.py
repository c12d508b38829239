"""Learn of a user's operator from a child process, and plan with it without running its code here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.file_digests import FileDigests
from titrant.compiler.foresight import Ask, Foresight
from titrant.compiler.located import located
from titrant.compiler.packages import version_of
from titrant.compiler.remember import remember, remembered
from titrant.runtime import catalog
from titrant.runtime.catalog import (
    Declaration,
    Method,
    Params,
    Port,
    never,
    no_modules,
    no_requirement,
    unknown_cost,
)
from titrant.schema.canonical import sha256
from titrant.schema.diagnostics import Diagnostic, RecipeError

PACKAGE = "package:"
# Raised when the answer's form changes, so that old answers are asked for again.
_FORM = 3


class UserParams(Params):
    """A user's operator's parameters: their names are checked against its description, their values where it runs."""

    model_config = ConfigDict(extra="allow")


def enter_user_operators(bound: BoundRecipe, ask: Ask, cache: Path, digests: FileDigests) -> None:
    """Enter the user's operator that `quantization.method` names, if it names one, in the catalog.

    Raises RecipeError when it is no reduction, or has no option of a name that the recipe sets.
    """
    reference = bound.recipe.quantization.method
    if ":" not in reference:
        return
    place = _place(bound, cache)
    answer = _remembered(place, bound.folder, digests)
    if answer is None:
        asked = ask({"do": "describe", "operator": reference})
        answer = {part: asked[part] for part in ("operator", "declared", "dependencies")}
        remember(place, answer)

    def foretell(question: dict[str, Any]) -> Mapping[str, Any]:
        return located(bound, lambda: ask(question))

    found = declaration(reference, answer, Foresight(reference, sha256(answer["dependencies"]), foretell, cache))
    _check(bound, found, answer["declared"]["parameters"])
    catalog.enter(found)


def check_described(bound: BoundRecipe, cache: Path) -> tuple[Diagnostic, ...]:
    """Check the options of a user's operator that was described before; a warning (R119) for one that was not.

    Nothing of it runs: until a plan asks a child process, there is nothing to check it against. Raises RecipeError
    where the options are wrong.
    """
    reference = bound.recipe.quantization.method
    if ":" not in reference:
        return ()
    answer = _remembered(_place(bound, cache), bound.folder, FileDigests(cache / "files.json"))
    if answer is None:
        where = bound.parsed.source.place(("quantization", "method"), "value")
        advice = "`titrant plan` runs its module in a child process once, and then its options are checked"
        return (Diagnostic("R119", f"not checked: {reference}", where, advice, "warning"),)
    unasked = Foresight(reference, "", _elsewhere, cache)
    _check(bound, declaration(reference, answer, unasked), answer["declared"]["parameters"])
    return ()


def _place(bound: BoundRecipe, cache: Path) -> Path:
    return cache / f"operator-{sha256([_FORM, bound.recipe.quantization.method, str(bound.folder)])}.json"


def declaration(reference: str, answer: Mapping[str, Any], foresight: Foresight) -> Declaration:
    """Build the declaration of an operator from what the worker's "describe" answered; it cannot be run here.

    What it needs and would cost is asked of `foresight`, where the operator says so itself.
    """
    operator, declared = answer["operator"], answer["declared"]
    foretold = declared["foretells"]
    method = declared["method"]
    return Declaration(
        name=reference,
        version=operator["version"],
        family=declared["family"],
        params=UserParams,
        inputs={name: Port(**{**port, "kinds": tuple(port["kinds"])}) for name, port in declared["inputs"].items()},
        outputs=operator["outputs"],
        consumes=tuple(declared["consumes"]),
        determinism=operator["determinism"],
        requires=foresight.requires if "requires" in foretold else no_requirement,
        loads=foresight.loads if "loads" in foretold else no_modules,
        idle=foresight.idle if "idle" in foretold else never,
        costless=tuple(declared["costless"]),
        predict=foresight.predict if "predict" in foretold else unknown_cost,
        libraries=tuple(operator["libraries"]),
        user_code=declared["user_code"],
        run=_elsewhere,
        doc=declared["doc"],
        method=None
        if method is None
        else Method(**{**method, "name": reference, "bits": tuple(method["bits"]), "layers": tuple(method["layers"])}),
    )


def _elsewhere(*_: Any, **__: Any) -> Mapping[str, Any]:
    raise RuntimeError("a user's operator runs in the worker only")


def _check(bound: BoundRecipe, found: Declaration, parameters: Mapping[str, Any]) -> None:
    source = bound.parsed.source
    where = source.place(("quantization", "method"), "value")
    if found.method is None or "model" not in found.inputs or "model" not in found.outputs:
        message = f"{found.name} cannot be a quantization method: it declares no `method`, or no `model` in and out"
        raise RecipeError(Diagnostic("P011", message, where, "declare it with `method=Method(…)`"))
    names = parameters.get("properties", {})
    unknown = [
        Diagnostic(
            "P012",
            f"{found.name} has no option `{name}`",
            source.place(("quantization", "options", name)),
            f"its options are {', '.join(sorted(names)) or 'none'}",
        )
        for name in bound.recipe.quantization.options
        if name not in names
    ]
    if unknown:
        raise RecipeError(*unknown)


def _remembered(place: Path, folder: Path, digests: FileDigests) -> Mapping[str, Any] | None:
    try:
        answer = remembered(place)
        unchanged = all(_now(file["path"], folder, digests) == file["digest"] for file in answer["dependencies"])
    except (OSError, KeyError, TypeError):
        return None
    return answer if unchanged else None


def _now(path: str, folder: Path, digests: FileDigests) -> str | None:
    """Digest a dependency as it is now; a package's version stands for its digest."""
    if path.startswith(PACKAGE):
        return version_of(path.removeprefix(PACKAGE))
    return digests.of(folder / path)
