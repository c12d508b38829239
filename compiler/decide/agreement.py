"""When two answers without labels count as the same, output by output: as the recipe says, else by its kind."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.compiler.decide.measuring import output_names
from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.facts import TensorSpec
from titrant.schema.recipe.model import CLASSIFYING
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recipe.validation import Agreement
from titrant.schema.values.frozen import dataclass

# What counts as the same where nothing is said.
TOLERANCES: Mapping[str, float] = {"cosine": 0.99, "relative": 0.01}
_BY_KIND: Mapping[str, str] = {"embedding": "cosine", **dict.fromkeys(CLASSIFYING, "same_class")}
_WORDS: Mapping[str, str] = {
    "same_class": "the same class",
    "cosine": "a cosine of {} or more",
    "neighbor": "the same nearest other case",
    "relative": "a difference of at most {} of its length",
    "absolute": "no entry further off than {}",
}


@dataclass(frozen=True)
class OutputComparison:
    """How two answers of one output are compared, and whether the recipe says so."""

    output: str
    measure: str
    tolerance: float | None
    written: bool

    @property
    def words(self) -> str:
        """The comparison in words, as "a cosine of 0.99 or more"."""
        return _WORDS[self.measure].format(f"{self.tolerance:g}" if self.tolerance is not None else "")


def agreement(question: Question) -> RuleAnswer:
    """Say when two answers agree; settled is nothing, since lowering asks for the comparisons itself."""
    if question.recipe.task != "unlabeled":
        return RuleAnswer(None)
    lines = tuple(
        decision(
            question,
            f"validation.agreement.{compared.output}",
            "agreement.written" if compared.written else "agreement.kind",
            asked=compared.measure if compared.written else "not written",
            chosen=compared.words,
            because="the recipe says so" if compared.written else "what fits the kind of the output (model.output)",
            path=("validation", "agreement") if compared.written else (),
        )
        for compared in comparisons(question.recipe, question.model.outputs)
    )
    return RuleAnswer(None, lines)


def comparisons(recipe: Recipe, outputs: Sequence[TensorSpec]) -> Iterator[OutputComparison]:
    """Yield how each of the model's outputs is compared, in their order."""
    named = output_names(recipe, outputs)
    kinds = {name: spec.kind for name, spec in zip(named, recipe.model.output or (), strict=True)}
    for spec in outputs:
        asked = agreement_of(recipe, spec.name)
        measure: str = asked.measure if asked is not None else "auto"
        several = len(spec.shape) > 1 and spec.shape[-1] != 1
        if measure == "auto":
            measure = _BY_KIND.get(kinds.get(spec.name) or "values", "relative")
            measure = "relative" if measure == "same_class" and not several else measure
        tolerance = asked.tolerance if asked is not None and asked.tolerance is not None else TOLERANCES.get(measure)
        yield OutputComparison(spec.name, measure, tolerance, asked is not None)


def agreement_of(recipe: Recipe, output: str) -> Agreement | None:
    """Return what the recipe says of an output's agreement; None where it says nothing."""
    said = recipe.validation.agreement
    return said if said is None or isinstance(said, Agreement) else said.get(output)


def as_params(recipe: Recipe, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return the comparisons that the recipe states, as parameters of what reads the outputs; by kind needs none."""
    return {
        compared.output: {"measure": compared.measure, "tolerance": compared.tolerance}
        for compared in comparisons(recipe, outputs)
        if compared.written
    }
