"""What is known of files that earlier runs released: how each is loaded, and that it takes what the original takes."""

from collections.abc import Mapping
from pathlib import Path

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.decide.rule import EarlierModel, LoadStep
from titrant.compiler.facts.user_operators import Ask
from titrant.compiler.given.file import FileToJudge, given_file
from titrant.schema.contract.earlier import EarlierRelease
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import ModelFacts


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
        advice = "name a run whose file is ONNX, TorchScript or .pt2 with the original's inputs and outputs"
        raise RecipeError(Diagnostic("P152", message, where, advice)) from None
    return EarlierModel(release, LoadStep(given.operator, given.params, given.model))
