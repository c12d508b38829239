"""Whether a level suits a model: the planner's own rules, asked about the model alone."""

from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.decide.decide import RULES
from titrant.compiler.decide.levels import fewest_bits
from titrant.compiler.decide.rule import Chain, Question, settle
from titrant.compiler.predict.layer_coverage import LayerAdvice, advise
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.plan import Decision, Rejected
from titrant.schema.values.frozen import dataclass

# The rules that need no more of the data than whether there are rows; in the planner's order.
SUBJECTS = ("level", "device", "threads", "original", "exports", "presets", "reductions", "methods", "number_format")
NO_QUANTIZATION_BITS = 32


@dataclass(frozen=True)
class Suitability:
    """What a level would do with a model on a machine.

    `suits` is false where the level wants to quantize and no method of this version can, or nothing can run at all.
    `chosen` are the candidates that would be made, `rejected` the others with the reason against each. `parameters` and
    `flops` are the model's, as inspected: tied weights once, and two a multiply-add of one case; None where not known.
    """

    level: str
    because: str
    suits: bool
    verdict: str
    chosen: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    warnings: tuple[str, ...]
    layers: tuple[LayerAdvice, ...]
    parameters: int
    flops: int | None


def suitability_of(bound: BoundRecipe, hardware: Hardware, model: ModelFacts, data: DataFacts) -> Suitability:
    """Ask the planner's rules what the recipe's level makes of the model, and each layer what becomes of it.

    Nothing is raised where it can make nothing: that is an answer too.
    """
    question = Question(bound, hardware, model, data)
    lines: list[Decision] = []
    warnings: list[str] = []
    rules = {subject: (name, rule) for subject, name, rule in RULES}
    try:
        for subject in SUBJECTS:
            name, rule = rules[subject]
            answer = rule(question)
            lines += answer.decisions
            warnings += answer.warnings
            question = settle(question, name, answer)
    except InfeasibleError as error:
        return _impossible(bound, model, lines, error)
    chains = question.settled.chains
    method = next(line for line in lines if line.subject == "quantization.method")
    level = next(line for line in lines if line.subject == "level")
    reducing = tuple(chain for chain in chains if chain.method != "none")
    layers = advise(model, hardware, reducing, bound.recipe.quantization)
    suits, verdict = _verdict(question, reducing)
    return Suitability(
        level=level.chosen,
        because=level.because,
        suits=suits,
        verdict=verdict,
        chosen=tuple(chain.id for chain in chains),
        rejected=method.rejected,
        warnings=tuple(warnings),
        layers=layers,
        parameters=model.parameters,
        flops=model.flops,
    )


def _verdict(question: Question, reducing: tuple[Chain, ...]) -> tuple[bool, str]:
    level = question.settled.level
    bits, reason = fewest_bits(question)
    if reducing:
        names = ", ".join(chain.id for chain in reducing)
        return True, f"level {level} suits: {names} can quantize it"
    if bits >= NO_QUANTIZATION_BITS:
        return True, f"level {level} suits: it quantizes nothing ({reason})"
    return False, f"level {level} does not suit: no method of this version can quantize this model here"


def _impossible(bound: BoundRecipe, model: ModelFacts, lines: list[Decision], error: InfeasibleError) -> Suitability:
    level: Any = next((line for line in lines if line.subject == "level"), None)
    first = error.diagnostics[0]
    return Suitability(
        level=level.chosen if level else bound.recipe.level,
        because=level.because if level else "",
        suits=False,
        verdict=f"nothing can be made of it here: {first.message}" + (f" ({first.help})" if first.help else ""),
        chosen=(),
        rejected=(),
        warnings=(),
        layers=(),
        parameters=model.parameters,
        flops=model.flops,
    )
