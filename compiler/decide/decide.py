"""Run the decision rules, in order, over a bound recipe and the facts."""

from collections.abc import Callable
from dataclasses import replace

from titrant.compiler.bind.bind import check_facts
from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.decide import contract, levels, measuring, methods, number_format, target, thresholds, training
from titrant.compiler.decide.rule import Decisions, Question, RuleAnswer
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.plan import Decision

DecisionRule = Callable[[Question], RuleAnswer]

# Subject and rule; a rule reads what the rules before it settled, by subject.
RULES: tuple[tuple[str, DecisionRule], ...] = (
    ("trust", measuring.trusted),
    ("notes", measuring.notes),
    ("level", levels.level),
    ("size", levels.size),
    ("device", target.device),
    ("threads", target.threads),
    ("original", target.original_engine),
    ("model_args", training.model_args),
    ("training", training.training),
    ("exports", target.exports),
    ("presets", thresholds.presets),
    ("methods", methods.chains),
    ("number_format", number_format.number_format),
    ("objective", measuring.objective),
    ("operating_point", measuring.operating_point),
    ("profile", measuring.profile),
    ("contract", contract.contract),
)


def decide(bound: BoundRecipe, hardware: Hardware, model: ModelFacts, data: DataFacts) -> Decisions:
    """Settle everything that the recipe leaves open, each choice with its reason and its rejected alternatives.

    A function of its arguments. Raises RecipeError where model and data contradict the recipe, InfeasibleError where
    the recipe cannot be carried out on `hardware`.
    """
    warnings = list(check_facts(bound, model, data))
    question = Question(bound, hardware, model, data)
    lines: list[Decision] = []
    for subject, rule in RULES:
        answer = rule(question)
        lines += answer.decisions
        warnings += answer.warnings
        question = replace(question, settled={**question.settled, subject: answer.value})
    settled = question.settled
    making, timing = settled["threads"]
    objective, shortlist = settled["objective"]
    return Decisions(
        decisions=tuple(lines),
        level=settled["level"],
        device=settled["device"],
        threads=making,
        timing_threads=timing,
        original_engine=settled["original"],
        model_args=settled["model_args"],
        training=settled["training"],
        exports=settled["exports"],
        chains=settled["number_format"],
        objective=objective,
        shortlist=shortlist,
        operating_point=settled["operating_point"],
        profile=settled["profile"],
        contract=settled["contract"],
        warnings=tuple(dict.fromkeys(warnings)),
    )
