"""Which reductions every candidate is made of before it is quantized, in the order of the recipe's section."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from titrant.compiler.bind.check_reduction import FAMILIES, ReductionPart, reduction_parts
from titrant.compiler.decide.rule import Chain, Question, ReductionStep, RuleAnswer, decision
from titrant.compiler.decide.target import at_device, original_kind
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import ModelKind
from titrant.runtime.catalog import Declaration, full_params
from titrant.schema.cost import Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.facts import ModelFacts
from titrant.schema.plan import Decision, Rejected
from titrant.schema.values.text import first_line
from titrant.schema.values.units import counted

UNCHANGED = "unchanged"
# Layers of one kind that a line names.
_NAMED = 4


def reductions(question: Question) -> RuleAnswer:
    """Settle an operator for each part of `reduction`: the one that it names, or the gentlest that can run here."""
    lines: list[Decision] = []
    for part in reduction_parts(question.recipe):
        reduction, line = _part(question, part)
        lines += (line, *_layer_lines(question, part, reduction, reduced_facts(question)))
        steps = (*question.settled.reductions, reduction)
        question = replace(question, settled=replace(question.settled, reductions=steps))
    return RuleAnswer(question.settled.reductions, tuple(lines))


def reduced_kind(question: Question) -> ModelKind:
    """Return the kind of model that the last settled reduction gives; the original's where there is none."""
    if not question.settled.reductions:
        return original_kind(question.model)
    return backend.kinds()[catalog.get(question.settled.reductions[-1].operator).outputs["model"]]


def reduced_facts(question: Question) -> ModelFacts:
    """Return the facts of the model that the settled reductions make of the original."""
    model = question.model
    for reduction in question.settled.reductions:
        declaration = catalog.get(reduction.operator)
        model = declaration.model_after(full_params(declaration.params, reduction.options), model)
    return model


def named_by(chain: Chain) -> Chain:
    """Put what a chain is made of before the method in front of its id."""
    before = [reduction.operator for reduction in chain.before]
    own = [] if before and chain.id == UNCHANGED else [chain.id]
    return replace(chain, id="+".join([*before, *own]))


def _part(question: Question, part: ReductionPart) -> tuple[ReductionStep, Decision]:
    path = ("reduction", part.key)
    against = {name: next(_unmet(question, part, catalog.get(name)), None) for name in part.operators}
    fit = [name for name, unmet in against.items() if unmet is None]
    if not fit:
        where = question.bound.parsed.source.place(path, "key")
        reasons = "; ".join(f"{name}: {unmet.cause}" for name, unmet in against.items() if unmet is not None)
        remedies = "; ".join(unmet.remedy for unmet in against.values() if unmet is not None and unmet.remedy)
        raise InfeasibleError(Diagnostic("P061", f"{part.key} cannot be done here: {reasons}", where, remedies))
    written = len(part.operators) == 1
    line = decision(
        question,
        ".".join(path),
        "reduction.written" if written else "reduction.auto",
        asked=part.method,
        chosen=fit[0],
        because="the recipe names it" if written else f"the gentlest of family {FAMILIES[part.key]} that can run here",
        path=path,
        rejected=tuple(
            Rejected(name, "a gentler one can run") if unmet is None else Rejected(name, unmet.cause, unmet.remedy)
            for name, unmet in against.items()
            if name != fit[0]
        ),
    )
    return ReductionStep(fit[0], part.options, f"reduction.{part.key}"), line


def _unmet(question: Question, part: ReductionPart, declaration: Declaration) -> Iterator[Unmet]:
    """Say why a reduction cannot work on this model or machine, or does not take what is asked for."""
    method, device = declaration.method, question.settled.device
    assert method is not None  # the catalog lists those with a method
    kind = reduced_kind(question)
    if method.takes not in backend.kinds():
        yield Unmet(f"it takes {method.takes}, which no engine here brings")
        return
    if backend.conversion(kind.name, method.takes) is None:
        yield Unmet(f"it takes {backend.kinds()[method.takes].title}, and what it would be given is {kind.title}")
        return
    if not method.runs_on(device):
        yield Unmet(f"its kernels do not run on {device}", f"write target.device: {method.devices[0]}")
    foreign = [name for name in part.options if name not in declaration.params.model_fields]
    if foreign:
        yield Unmet(f"it has no option {', '.join(foreign)}", "take it out, or name another method")
        return
    try:
        params = full_params(declaration.params, part.options)
    except ValueError as error:
        yield Unmet(f"it does not take these options: {first_line(error)}", "change them, or name another method")
        return
    yield from declaration.requires(params, at_device(question.hardware, device), reduced_facts(question))


def _layer_lines(
    question: Question, part: ReductionPart, reduction: ReductionStep, model: ModelFacts
) -> Iterator[Decision]:
    """Say where an operator that takes some layers and leaves others works; `model` is what it is given.

    Layers of which it says the same are one line, and those that stay are its rejected ones.
    """
    declaration = catalog.get(reduction.operator)
    outlooks = declaration.by_layer(full_params(declaration.params, reduction.options), model)
    left: dict[str, list[str]] = {}
    taken: dict[tuple[str, str], list[str]] = {}
    for outlook in outlooks:
        if outlook.becomes:
            taken.setdefault((outlook.becomes, outlook.because), []).append(outlook.name)
        else:
            left.setdefault(outlook.because, []).append(outlook.name)
    rejected = tuple(Rejected(_some(names), because) for because, names in left.items())
    for (becomes, because), names in taken.items():
        yield decision(
            question,
            f"reduction.{part.key}",
            "reduction.layers",
            asked="",
            chosen=f"{_some(names)}: {becomes}",
            because=because,
            path=("reduction", part.key),
            rejected=rejected,
        )
        rejected = ()


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {counted(more, 'more layer')}" if more > 0 else "")
