"""How what a reduction leaves, or a student, is trained, by whom, and the same training of the original beside."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from titrant.compiler.bind.check_reduction import GRADUAL
from titrant.compiler.bind.check_training import imitated_methods
from titrant.compiler.decide.levels import is_medical, safeguard
from titrant.compiler.decide.methods import without_calibration
from titrant.compiler.decide.reductions import CHECK, MOST_MEDICAL, RECOVERY, reduced_facts
from titrant.compiler.decide.repairs import is_variant, ranked
from titrant.compiler.decide.rule import Chain, Question, ReductionStep, RuleAnswer, decision
from titrant.compiler.decide.training import fit_params
from titrant.runtime import catalog
from titrant.runtime.catalog import LEAVE, full_params, method_operator
from titrant.schema.cost import Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.facts import ModelFacts
from titrant.schema.plan import ONLY_TRAINED, ROUNDED, Decision, Rejected
from titrant.schema.recipe.recipe import Recipe

_FIT, _DISTILL, _ROUNDED, _CHECK = "train.fit", "distill.fit", "train.quantization_aware", "validate.reduced"
# The output of a reduction that leaves weights in place and sets them to 0.
MASKED = "masked"
_TAUGHT = ("reduction", "distillation")
_ROUNDING = ("train", "quantization_aware")


def student(question: Question) -> RuleAnswer:
    """Settle the student that takes the original's place; None where what is reduced is the original.

    Raises InfeasibleError P107 where its outputs are not the original's, P108 where the medical safeguards allow no
    network that is so much smaller.
    """
    load = question.others.get("student")
    if load is None:
        return RuleAnswer(None)
    _check_outputs(question, "student", load.model)
    share = load.model.parameters / max(question.model.parameters, 1)
    if is_medical(question) and share < 1 - MOST_MEDICAL:
        message = (
            f"{safeguard(question)} allows {MOST_MEDICAL:.0%} of the parameters to go, "
            f"and the student has {share:.0%} of them"
        )
        where = question.bound.parsed.source.place((*_TAUGHT, "student"), "key")
        raise InfeasibleError(Diagnostic("P108", message, where, "name a student that is nearly as large"))
    weights = "weights as given" if load.params["weights"] is not None else "weights drawn from the seed"
    line = decision(
        question,
        "reduction.distillation.student",
        "student.written",
        asked=str(load.params["factory"]),
        chosen=f"{load.model.parameters:,} parameters, {weights}",
        because=f"the recipe names it: {share:.0%} of the original's {question.model.parameters:,}",
        path=(*_TAUGHT, "student"),
    )
    return RuleAnswer(load, (line,))


def teacher(question: Question) -> RuleAnswer:
    """Settle who is imitated, where that is not the original; InfeasibleError P107 where its outputs are others."""
    load = question.others.get("teacher")
    if load is not None:
        _check_outputs(question, "teacher", load.model)
        asked, chosen = str(load.params["factory"]), f"{load.model.parameters:,} parameters"
        because = "the recipe names it in place of the original"
    elif learns_from_fine_tuned(question.recipe):
        asked, chosen = "fine_tuned", "the original, fine-tuned as the candidates are"
        because = "it is trained anyhow, to be held against them, and knows the train rows"
    else:
        return RuleAnswer(None)
    line = decision(
        question,
        "reduction.distillation.teacher",
        "teacher.written",
        asked=asked,
        chosen=chosen,
        because=because,
        path=(*_TAUGHT, "teacher"),
    )
    return RuleAnswer(load, (line,))


def learns_from_fine_tuned(recipe: Recipe) -> bool:
    """Whether what is reduced imitates the original after the same training."""
    taught = None if recipe.reduction is None else recipe.reduction.distillation
    return taught is not None and taught.teacher == "fine_tuned"


def _check_outputs(question: Question, key: str, model: ModelFacts) -> None:
    own, original = ((facts.outputs[0].shape if facts.outputs else ()) for facts in (model, question.model))
    if own != original:
        shown, expected = (f"({', '.join(map(str, shape))})" for shape in (own, original))
        message = f"the {key} answers {shown}, and the original {expected}: nothing compares them"
        where = question.bound.parsed.source.place((*_TAUGHT, key), "key")
        advice = "give it as many outputs, such as `args: {classes: auto}`"
        raise InfeasibleError(Diagnostic("P107", message, where, advice))


def recovery(question: Question) -> RuleAnswer:
    """Settle the training of what the reductions leave: by labels, or by a teacher's answers as well; None for none."""
    reduction = question.recipe.reduction
    taught = None if reduction is None else reduction.distillation
    steps = _steps(question)
    if not steps and taught is None:
        return RuleAnswer(None)
    if question.recipe.train is None:
        return RuleAnswer(None, (_untrained(question),))
    if _rises(question) and taught is None:
        return RuleAnswer(None, (_within(question),))
    params, _ = fit_params(question)
    if any(MASKED in catalog.get(step.operator).outputs for step in steps):
        params["keep_zeros"] = True
    operator, because = _FIT, "what a reduction loses is learned again from train rows"
    if taught is not None:
        operator, because = _DISTILL, "what a reduction loses is learned again from train rows and from the teacher"
        if question.settled.student is not None:
            because = "the student learns from train rows and from the teacher"
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
    rounded = asks_rounding(question.recipe)
    if question.settled.recovery is None and not _rises(question) and not rounded:
        return RuleAnswer(None)
    lost = "quantization" if rounded and question.settled.recovery is None else "a reduction"
    line = decision(
        question,
        "control",
        "control.fine_tuned",
        asked="",
        chosen="the original, fine-tuned as the candidates are",
        because=f"training alone may gain what {lost} loses",
        path=("train",),
    )
    return RuleAnswer(fit_params(question)[0], (line,))


def quantization_aware(question: Question) -> RuleAnswer:
    """Add to each static int8 candidate the same after a training that imitates it, and after one that does not.

    The original that no reduction changed is also only fine-tuned, so that the two trainings can be told apart. Where
    the recipe asks for `auto` both wait: they mend a candidate that loses too much. Raises InfeasibleError P061 where
    no candidate can be trained so.
    """
    chains = question.settled.chains
    asked = asks_rounding(question.recipe)
    bases = [chain for chain in chains if chain.method != "none" and not chain.mends] if asked else []
    if not asked:
        return RuleAnswer(chains)
    against = {base.id: next(_against_rounding(question, base), None) for base in bases}
    added = {base.id: _trained(question, base) for base in bases if against[base.id] is None}
    omitted = {name: left for name, left in question.left_out.items() if _is_imitated(name)}
    if not added and not omitted:
        raise InfeasibleError(_nothing_imitated(question, against))
    rejected = [
        *(Rejected(name, unmet.cause, unmet.remedy, unmet.unasked) for name, unmet in against.items() if unmet),
        *(Rejected(name, left.because) for name, left in omitted.items()),
    ]
    trained = [chain.id for chains in added.values() for chain in chains if chain.id not in omitted]
    line = decision(
        question,
        ".".join(_ROUNDING),
        "quantization_aware.auto" if asked == "auto" else "quantization_aware.written",
        asked="auto" if asked == "auto" else "true",
        chosen=", ".join(trained) or "none",
        because="where it loses too much on tuning rows" if asked == "auto" else "the recipe says so",
        path=_ROUNDING,
        rejected=tuple(rejected),
    )
    return RuleAnswer(_with_trained(question, added), (line,))


def _is_imitated(chain: str) -> bool:
    """Whether a candidate, by its id, is one that can be trained for, or is trained so."""
    own = chain.rpartition("+")[2]
    return any(own == name or own in (name + ONLY_TRAINED, name + ROUNDED) for name in imitated_methods())


def _nothing_imitated(question: Question, against: Mapping[str, Unmet | None]) -> Diagnostic:
    where = question.bound.parsed.source.place(_ROUNDING, "value")
    names = " or ".join(imitated_methods())
    unfit = {name: unmet for name, unmet in against.items() if unmet and not unmet.unasked}
    if unfit:
        message = "; ".join(f"{name}: {unmet.cause}" for name, unmet in unfit.items())
        advice = "; ".join(dict.fromkeys(unmet.remedy for unmet in unfit.values()))
        return Diagnostic("P061", f"quantization-aware training cannot be done here: {message}", where, advice)
    made = f"there are {', '.join(against)}" if against else "no candidate is quantized"
    message = f"quantization-aware training is for candidates of {names}, and {made}"
    return Diagnostic("P061", message, where, "let one be made: by its bits, engine and format, or by its name")


def asks_rounding(recipe: Recipe) -> bool | Literal["auto"]:
    """Return what the recipe says of quantization-aware training."""
    return recipe.train is not None and recipe.train.quantization_aware


def _against_rounding(question: Question, base: Chain) -> Iterator[Unmet]:
    declaration = catalog.get(method_operator(base.method))
    method = declaration.method
    assert method is not None  # a candidate that is quantized has one
    if method.fake_quantization is None:
        yield Unmet("its activations stay in floating point, or their ranges are found as it runs", unasked=True)
    elif is_variant(base, method):
        yield Unmet("what it is a variant of is trained", "name it in quantization.method", unasked=True)
    else:
        params = catalog.get(_ROUNDED).params.model_validate(_rounded_params(question, base))
        yield from catalog.get(_ROUNDED).requires(params, question.hardware, reduced_facts(question))
        yield from without_calibration(question, catalog.get(_ROUNDED), {})


def _rounded_params(question: Question, base: Chain) -> dict[str, Any]:
    """Return the parameters of the training that imitates the method of a candidate, on its own calibration rows."""
    declaration = catalog.get(method_operator(base.method))
    assert declaration.method is not None
    assert declaration.method.fake_quantization is not None
    params = full_params(declaration.params, base.options)
    formats = vars(declaration.method.fake_quantization(params))
    usual = full_params(catalog.get(_ROUNDED).params, {}).model_dump(include={*formats})
    own = {"rows": params.model_dump()["rows"], **formats, LEAVE: tuple(base.options.get(LEAVE, ()))}
    return {**_plain_params(question), **{name: value for name, value in own.items() if value != usual.get(name)}}


def _plain_params(question: Question) -> dict[str, Any]:
    recovery = question.settled.recovery
    return dict(fit_params(question)[0] if recovery is None else recovery.options)


def _trained(question: Question, base: Chain) -> tuple[Chain, ...]:
    """Return a candidate's trained forms as what mends it, the one that is only fine-tuned first."""
    steps = tuple(step for step in base.before if step.name not in (RECOVERY, CHECK))
    checks = tuple(step for step in base.before if step.name == CHECK)
    rounded = ReductionStep(_ROUNDED, _rounded_params(question, base), "int8 is imitated while it is trained", RECOVERY)
    chains = [replace(base, id=base.id + ROUNDED, before=(*steps, rounded, *checks), mends=base.id)]
    if question.settled.recovery is None:
        plain = ReductionStep(_FIT, _plain_params(question), "the same training without imitating int8", RECOVERY)
        chains.insert(0, replace(base, id=base.id + ONLY_TRAINED, before=(plain,), mends=base.id))
    return tuple(chains)


def _with_trained(question: Question, added: Mapping[str, tuple[Chain, ...]]) -> tuple[Chain, ...]:
    """Put trained candidates between the repairs and the mixtures of what they are of, and rank them as repairs.

    Where the recipe asks for them anyhow they wait for nothing.
    """
    chains = question.settled.chains
    placed: list[Chain] = []
    for base in [chain for chain in chains if not chain.mends]:
        mending = [chain for chain in chains if chain.mends == base.id]
        trained = [chain for chain in added.get(base.id, ()) if chain.id not in question.left_out]
        mixtures = [chain for chain in mending if chain.mix]
        placed += [base, *(chain for chain in mending if not chain.mix), *trained, *mixtures]
    if asks_rounding(question.recipe) == "auto":
        return ranked(placed)
    anyhow = {chain.id for trained in added.values() for chain in trained}
    return tuple(replace(chain, mends="") if chain.id in anyhow else chain for chain in ranked(placed))


def check(question: Question) -> RuleAnswer:
    """Settle the user's own check of each reduced network; None where the recipe names none."""
    reduction = question.recipe.reduction
    pruning = None if reduction is None else reduction.pruning
    if pruning is None or pruning.validate_with is None:
        return RuleAnswer(None)
    line = decision(
        question,
        "reduction.pruning.validate",
        "check.written",
        asked=pruning.validate_with,
        chosen="asked about each reduced model",
        because="the recipe names it; a candidate that it refuses is left",
        path=("reduction", "pruning", "validate"),
    )
    return RuleAnswer(ReductionStep(_CHECK, {"check": pruning.validate_with}, line.subject, CHECK), (line,))


def _steps(question: Question) -> tuple[ReductionStep, ...]:
    settled = question.settled
    return (*settled.reductions, *(step for stage in settled.growth for step in stage.reductions))


def _rises(question: Question) -> bool:
    """Whether the reduction is the training itself."""
    return any(step.operator == GRADUAL for step in _steps(question))


def _within(question: Question) -> Decision:
    return decision(
        question,
        RECOVERY,
        "recovery.within",
        asked="",
        chosen=f"within {GRADUAL}",
        because="the network is trained while the masks rise",
        path=("reduction", "pruning", "schedule"),
    )


def _untrained(question: Question) -> Decision:
    if is_medical(question):
        where = question.bound.parsed.source.place(("reduction",), "key")
        message = f"{safeguard(question)} allows a reduction only where what it loses is learned again"
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
