"""Run the decision rules in order over a bound recipe and the facts, first saying what was settled before them."""

from collections.abc import Callable, Mapping

from titrant.compiler.bind.bind import check_facts
from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.decide import (
    contract,
    gate_cases,
    inputs,
    ladder,
    levels,
    measuring,
    number_format,
    recovery,
    reductions,
    repairs,
    target,
    thresholds,
    training,
)
from titrant.compiler.decide.rule import (
    Decisions,
    EarlierModel,
    LeftOut,
    LoadStep,
    Question,
    RuleAnswer,
    decision,
    settle,
)
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.plan import Decision
from titrant.schema.recipe.tasks import TASKS

DecisionRule = Callable[[Question], RuleAnswer]


def trusted(question: Question) -> RuleAnswer:
    """Show every module from elsewhere that `--trust` lets run, by the digest of its file.

    The digest is part of the plan's identity, so a saved plan does not run other code than was trusted.
    """
    outside = [reference for reference in question.bound.user_references if reference.origin == "outside"]
    lines = [
        decision(
            question,
            reference.key,
            "trust.given",
            asked="--trust",
            chosen=f"{reference.reference} ({reference.digest[:16] or 'no file'})",
            because=f"it lies outside the recipe's folder and the installed environment, in {reference.path}",
            path=tuple(int(part) if part.isdigit() else part for part in reference.key.split(".")),
        )
        for reference in outside
    ]
    return RuleAnswer(None, tuple(lines))


def notes(question: Question) -> RuleAnswer:
    """Show what inspection noted of the model and the data: prefixes removed, copies dropped, rows in no group …"""
    model = [_note(question, "model", text) for text in question.model.notes]
    data = [_note(question, "data", text) for text in question.data.notes]
    return RuleAnswer(None, (*model, *data))


def _note(question: Question, section: str, text: str) -> Decision:
    return decision(
        question, section, f"{section}.noted", asked="", chosen="as inspected", because=text, path=(section,)
    )


def judged_output(question: Question) -> RuleAnswer:
    """Say which of several outputs is judged, and what becomes of the others; nothing of a model that has one."""
    recipe, outputs = question.recipe, [spec.name for spec in question.model.outputs]
    kind = TASKS[recipe.task].label
    if kind == "none" or recipe.model.decode is not None or len(outputs) < 2:
        return RuleAnswer(None)
    written = next(iter(measuring.output_names(recipe, question.model.outputs)), "")
    judged = written or outputs[0]
    others = ", ".join(name for name in outputs if name != judged)
    compared = (
        "are compared with nothing: a candidate may change them"
        if kind in _ALONE
        else "count where answers are compared with the original's (agreement), in no other metric"
    )
    line = decision(
        question,
        "model.output.judged",
        "output.written" if written else "output.first",
        asked="written" if written else "not written",
        chosen=judged,
        because=f"the others ({others}) {compared}; `task: unlabeled` compares all",
        path=("model", "output") if written else (),
    )
    return RuleAnswer(None, (line,))


# Labels of tasks that look at one output alone.
_ALONE = ("class", "mask", "tokens")
# Subject, the field of Settled that the rule fills (None: it only says something), and the rule.
RULES: tuple[tuple[str, str | None, DecisionRule], ...] = (
    ("trust", None, trusted),
    ("notes", None, notes),
    ("weights", None, inputs.weights),
    ("inputs", None, inputs.inputs),
    ("state", None, inputs.state),
    ("classes", None, inputs.classes),
    ("subgroups", None, inputs.subgroups),
    ("transforms", None, inputs.transforms),
    ("level", "level", levels.level),
    ("size", None, levels.size),
    ("device", "device", target.device),
    ("threads", "threads", target.threads),
    ("original", "original_engine", target.original_engine),
    ("model_args", "model_args", inputs.model_args),
    ("training", "training", training.training),
    ("exports", "exports", target.exports),
    ("presets", "presets", thresholds.presets),
    ("evidence", "evidence", thresholds.evidence),
    ("student", "student", recovery.student),
    ("teacher", "teacher", recovery.teacher),
    ("reductions", "reductions", reductions.reductions),
    ("sparsity", "growth", reductions.growth),
    ("recovery", "recovery", recovery.recovery),
    ("fine_tuning", "fine_tuning", recovery.fine_tuning),
    ("check", "check", recovery.check),
    ("methods", "chains", ladder.chains),
    ("layout", None, target.layout),
    ("number_format", "chains", number_format.number_format),
    ("layers", None, number_format.layers),
    ("budget", "budget", measuring.budget),
    ("plain", "plain", measuring.plain),
    ("objective", "objective", measuring.objective),
    ("operating_point", "operating_point", measuring.operating_point),
    ("judged_output", None, judged_output),
    ("agreement", None, measuring.agreement),
    ("profile", "profile", measuring.profile),
    ("earlier", "earlier", contract.earlier),
    ("contract", "contract", contract.contract),
    ("repairs", "chains", repairs.repairs),
    ("quantization_aware", "chains", recovery.quantization_aware),
    ("growth", "chains", reductions.grown),
    ("ladder", "ladder", ladder.ladder),
    ("labels", None, gate_cases.labels),
    ("tracking", "tracking", measuring.tracking),
)

NOTHING_LEFT_OUT: Mapping[str, LeftOut] = {}
NOTHING_INSTEAD: Mapping[str, DecisionRule] = {}
NO_OTHERS: Mapping[str, LoadStep] = {}
NONE_EARLIER: Mapping[str, EarlierModel] = {}


def decide(
    bound: BoundRecipe,
    hardware: Hardware,
    model: ModelFacts,
    data: DataFacts,
    *,
    left_out: Mapping[str, LeftOut] = NOTHING_LEFT_OUT,
    instead: Mapping[str, DecisionRule] = NOTHING_INSTEAD,
    others: Mapping[str, LoadStep] = NO_OTHERS,
    earlier: Mapping[str, EarlierModel] = NONE_EARLIER,
) -> Decisions:
    """Settle everything that the recipe leaves open, each choice with its reason and its rejected alternatives.

    A function of its arguments; `left_out` are candidates not to make, `instead` holds rules that take the place of
    others, by subject, `others` load the models beside the original, and `earlier` are releases that rows compare with.
    Raises RecipeError where model and data contradict the recipe, InfeasibleError where the recipe cannot be carried
    out on `hardware`.
    """
    warnings = list(check_facts(bound, model, data))
    question = Question(bound, hardware, model, data, left_out=left_out, others=others, earlier=earlier)
    lines: list[Decision] = []
    for subject, name, rule in RULES:
        answer = instead.get(subject, rule)(question)
        lines += answer.decisions
        warnings += answer.warnings
        question = settle(question, name, answer)
    return Decisions(tuple(lines), question.settled, tuple(dict.fromkeys(warnings)))
