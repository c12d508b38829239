"""How a reduced network is trained again, and the same training of the original that it is compared with."""

from titrant.compiler.decide.levels import is_medical
from titrant.compiler.decide.reductions import RECOVERY
from titrant.compiler.decide.rule import Question, ReductionStep, RuleAnswer, decision
from titrant.compiler.decide.training import fit_params
from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.plan import Decision

_FIT, _DISTILL = "train.fit", "distill.fit"
# The output of a reduction that leaves weights in place and sets them to 0.
MASKED = "masked"


def recovery(question: Question) -> RuleAnswer:
    """Settle the training of what the reductions leave: by labels, or by a teacher's answers as well; None for none."""
    settled, reduction = question.settled, question.recipe.reduction
    taught = None if reduction is None else reduction.distillation
    steps = (*settled.reductions, *(step for stage in settled.growth for step in stage.reductions))
    if not steps and taught is None:
        return RuleAnswer(None)
    if question.recipe.train is None:
        return RuleAnswer(None, (_untrained(question),))
    params, _ = fit_params(question)
    if any(MASKED in catalog.get(step.operator).outputs for step in steps):
        params["keep_zeros"] = True
    operator, because = _FIT, "what a reduction loses is learned again from train rows"
    if taught is not None:
        operator, because = _DISTILL, "what a reduction loses is learned again from train rows and from the teacher"
        params |= {"temperature": taught.temperature, "weight": taught.weight, "layers": taught.layers}
    line = decision(
        question,
        RECOVERY,
        "recovery.distilled" if taught is not None else "recovery.trained",
        asked="",
        chosen=f"{operator}, {params['epochs']} epochs at most",
        because=because,
        path=("train",),
    )
    return RuleAnswer(ReductionStep(operator, params, RECOVERY, RECOVERY), (line,))


def fine_tuning(question: Question) -> RuleAnswer:
    """Settle the training that the original gets beside; None where no candidate is trained."""
    if question.settled.recovery is None:
        return RuleAnswer(None)
    line = decision(
        question,
        "control",
        "control.fine_tuned",
        asked="",
        chosen="the original, fine-tuned as the candidates are",
        because="training alone may gain what a reduction loses",
        path=("train",),
    )
    return RuleAnswer(fit_params(question)[0], (line,))


def _untrained(question: Question) -> Decision:
    if is_medical(question):
        reason = "preserve medical" if question.recipe.preserve == "medical" else "level medical_critical"
        where = question.bound.parsed.source.place(("reduction",), "key")
        message = f"{reason} allows a reduction only where what it loses is learned again"
        raise InfeasibleError(Diagnostic("P120", message, where, "add a `train` section"))
    return decision(
        question,
        RECOVERY,
        "recovery.none",
        asked="",
        chosen="none",
        because="the recipe has no train section",
        path=("reduction",),
    )
