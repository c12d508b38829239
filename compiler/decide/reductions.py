"""Which reductions every candidate is made of before it is quantized, in the order of the recipe's section."""

from collections.abc import Iterator
from dataclasses import replace

from titrant.compiler.bind.check_reduction import FAMILIES, ReductionPart, reduction_parts
from titrant.compiler.decide.rule import Chain, Question, ReductionStep, RuleAnswer, decision
from titrant.compiler.decide.target import at_device, original_kind
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.catalog import Declaration
from titrant.schema.cost import Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.plan import Decision, Rejected

UNCHANGED = "unchanged"


def reductions(question: Question) -> RuleAnswer:
    """Settle an operator for each part of `reduction`: the one that it names, or the gentlest that can run here."""
    chosen: list[ReductionStep] = []
    lines: list[Decision] = []
    for part in reduction_parts(question.recipe):
        reduction, line = _part(question, part)
        chosen.append(reduction)
        lines.append(line)
    return RuleAnswer(tuple(chosen), tuple(lines))


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
            Rejected(name, str(unmet or "a gentler one can run")) for name, unmet in against.items() if name != fit[0]
        ),
    )
    return ReductionStep(fit[0], _options(part, catalog.get(fit[0])), f"reduction.{part.key}"), line


def _options(part: ReductionPart, declaration: Declaration) -> dict[str, object]:
    """Return the options that an operator has; bind has refused any other of one that the recipe names."""
    return {name: value for name, value in part.options.items() if name in declaration.params.model_fields}


def _unmet(question: Question, part: ReductionPart, declaration: Declaration) -> Iterator[Unmet]:
    """Say why a reduction cannot work on this model or machine."""
    method, device = declaration.method, question.settled.device
    assert method is not None  # the catalog lists those with a method
    original = original_kind(question.model)
    if backend.conversion(original.name, method.takes) is None:
        yield Unmet(f"it takes {backend.kinds()[method.takes].title}, and the original is {original.title}")
        return
    if not method.runs_on(device):
        yield Unmet(f"its kernels do not run on {device}", f"write target.device: {method.devices[0]}")
    params = declaration.params.model_validate(_options(part, declaration))
    yield from declaration.requires(params, at_device(question.hardware, device), question.model)
