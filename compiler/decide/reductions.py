"""Which reductions candidates are made of before they are quantized, and how far they go.

How far a network can be reduced shows only when it was trained again: each stage stands in the plan, and is made only
where the one before it keeps on tuning rows what is asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from titrant.compiler.bind.check_reduction import AUTO, FAMILIES, ReductionPart, reduction_parts
from titrant.compiler.decide.levels import is_medical, safeguard
from titrant.compiler.decide.measuring import is_plain
from titrant.compiler.decide.rule import Chain, Question, ReductionStage, ReductionStep, RuleAnswer, decision
from titrant.compiler.decide.target import at_device, original_kind
from titrant.compiler.decide.training import fit_params
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import ModelKind
from titrant.runtime.catalog import Declaration, full_params
from titrant.schema.cost import Unmet, Variant
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.facts import ModelFacts
from titrant.schema.plan import Decision, Rejected
from titrant.schema.values.text import first_line
from titrant.schema.values.units import counted

UNCHANGED = "unchanged"
# Layers of one kind that a line names.
_NAMED = 4
RECOVERY = "recovery"
CHECK = "check"
# The share of a network that the medical safeguards let a reduction remove.
MOST_MEDICAL = 0.1


def reductions(question: Question) -> RuleAnswer:
    """Settle an operator for each part of `reduction`: the one that it names, or the gentlest that can run here.

    A part whose extent is to be found out is none of what all candidates share, see `growth`.
    """
    lines: list[Decision] = []
    for part in reduction_parts(question.recipe):
        reduction, line = _part(question, part)
        lines += (line, *_layer_lines(question, part, reduction, reduced_facts(question)))
        if not _stages(question, part, reduction):
            sized = _sized(question, part, reduction)
            lines += _size_lines(question, part, sized)
            steps = (*question.settled.reductions, sized)
            question = replace(question, settled=replace(question.settled, reductions=steps))
    return RuleAnswer(question.settled.reductions, tuple(lines))


def growth(question: Question) -> RuleAnswer:
    """Settle the stages of a reduction whose extent is found out by trying, each with what all candidates share."""
    shared = question.settled.reductions
    for part in reduction_parts(question.recipe):
        reduction, _ = _part(replace(question, settled=replace(question.settled, reductions=())), part)
        stages = _stages(question, part, reduction)
        if stages:
            settled = tuple(
                ReductionStage(f"{reduction.operator}-{stage.suffix}", (_with(reduction, stage.options), *shared))
                for stage in stages
            )
            line = decision(
                question,
                f"reduction.{part.key}.sparsity",
                "sparsity.tried",
                asked="auto",
                chosen=", ".join(stage.name for stage in settled),
                because="in turn, as long as tuning rows keep enough",
                path=("reduction", part.key),
            )
            return RuleAnswer(settled, (line,))
    return RuleAnswer(())


def _with(reduction: ReductionStep, options: Mapping[str, Any]) -> ReductionStep:
    return replace(reduction, options={**reduction.options, **options})


def _stages(question: Question, part: ReductionPart, reduction: ReductionStep) -> tuple[Variant, ...]:
    """Return how far a reduction is tried, where the recipe leaves it open; () where it says so, or nothing is tried.

    The medical safeguards allow one stage, the largest that they allow.
    """
    method = catalog.get(reduction.operator).method
    stages = () if method is None else tuple(each for each in method.variants if not each.against(question.model))
    written = {name for stage in stages for name in (*stage.options, "sparsity")} & set(part.options)
    if written or is_medical(question) or question.recipe.quantization.adapt is not None:
        return ()
    return stages


def _sized(question: Question, part: ReductionPart, reduction: ReductionStep) -> ReductionStep:
    """Settle the share that is removed: as written, else the operator's own; the medical safeguards allow a tenth.

    Raises InfeasibleError P121 where the recipe asks for more than they allow.
    """
    if not is_medical(question) or part.key != "pruning":
        return reduction
    written, reason = part.options.get("sparsity"), safeguard(question)
    if (written is not None and written > MOST_MEDICAL) or "blocks" in part.options:
        asked = "blocks" if "blocks" in part.options else "sparsity"
        where = question.bound.parsed.source.place(("reduction", part.key, asked), "value")
        message = (
            f"{reason} allows a sparsity of at most {MOST_MEDICAL:g}, and {asked}: {part.options[asked]:g} is asked"
        )
        raise InfeasibleError(Diagnostic("P121", message, where, f"write sparsity: {MOST_MEDICAL:g}, or leave it out"))
    if "sparsity" not in catalog.get(reduction.operator).params.model_fields:
        where = question.bound.parsed.source.place(("reduction", part.key), "key")
        message = f"{reason} allows a sparsity of at most {MOST_MEDICAL:g}, and {reduction.operator} takes none"
        raise InfeasibleError(Diagnostic("P121", message, where, "name another method"))
    return reduction if written is not None else _with(reduction, {"sparsity": MOST_MEDICAL})


def _size_lines(question: Question, part: ReductionPart, sized: ReductionStep) -> Iterator[Decision]:
    """Say which share is removed where the recipe does not, and nothing is tried."""
    params = full_params(catalog.get(sized.operator).params, sized.options)
    extent = {"sparsity", "blocks"} & set(part.options)
    if extent or (sparsity := getattr(params, "sparsity", None)) is None:
        return
    medical = "sparsity" in sized.options
    path = ("reduction", part.key, "sparsity")
    yield decision(
        question,
        ".".join(path),
        "sparsity.medical" if medical else "sparsity.default",
        asked="auto" if question.bound.written(*path) else "not written",
        chosen=f"{sparsity:g}",
        because=f"{safeguard(question)} allows no more" if medical else f"what {sized.operator} takes by itself",
        path=path if question.bound.written(*path) else path[:-1],
    )


def reduced_kind(question: Question) -> ModelKind:
    """Return the kind of model that the last settled reduction gives; the original's where there is none."""
    if not question.settled.reductions:
        return original_kind(reduced_facts(question))
    return backend.kinds()[catalog.get(question.settled.reductions[-1].operator).outputs["model"]]


def reduced_facts(question: Question) -> ModelFacts:
    """Return the facts of the model that the settled reductions make of the original."""
    begun = question.settled.student
    model = question.model if begun is None else begun.model
    for reduction in question.settled.reductions:
        declaration = catalog.get(reduction.operator)
        model = declaration.model_after(full_params(declaration.params, reduction.options), model)
    return model


def named_by(chain: Chain, stage: str = "") -> Chain:
    """Put what a chain is made of before the method in front of its id; its training and check go without saying.

    A `stage` of a reduction that is found out by trying is called by its own name. A layout is named at the end.
    """
    before = [stage] if stage else [step.operator for step in chain.before if step.name not in (RECOVERY, CHECK)]
    before = before if chain.student is None else ["student", *before]
    own = [] if before and chain.id == UNCHANGED else [chain.id]
    suffix = f".{chain.layout}" if chain.layout else ""
    return replace(chain, id="+".join([*before, *own]).removesuffix(suffix) + suffix)


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
    options = {**fit_params(question)[0], **part.options} if part.gradual else part.options
    return ReductionStep(fit[0], options, f"reduction.{part.key}"), line


def _unmet(question: Question, part: ReductionPart, declaration: Declaration) -> Iterator[Unmet]:
    """Say why a reduction cannot work on this model or machine, or does not take what is asked for."""
    method, device = declaration.method, question.settled.device
    assert method is not None  # the catalog lists those with a method
    if method.by_name and part.method == AUTO and not part.gradual:
        yield Unmet(method.by_name, f"write method: {method.name.partition('.')[2]}", unasked=True)
        return
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


def grown(question: Question) -> RuleAnswer:
    """Add to the candidates those of each further stage, the most aggressive last."""
    chains = list(question.settled.chains)
    before = {base.id: base for base in sorted(_bases(chains), key=lambda chain: chain.rank)}
    rank = max((chain.rank for chain in chains), default=0)
    for stage in question.settled.growth:
        for base, last in before.items():
            before[base] = _grown(question, base, last, stage)
            if before[base].id not in question.left_out:
                rank += 1
                chains.append(replace(before[base], rank=rank))
    return RuleAnswer(tuple(chains))


def _bases(chains: Sequence[Chain]) -> Iterator[Chain]:
    """Yield what a smaller network can be tried with: each method as it is, and conversions where no method is left."""
    uniform = [chain for chain in chains if not chain.mends]
    quantized = [chain for chain in uniform if not is_plain(chain) and chain.method != "none"]
    yield from quantized or uniform


def _grown(question: Question, base: str, before: Chain, stage: ReductionStage) -> Chain:
    """Return the candidate of a stage that goes on from the one before it, of the network as it is by its id."""
    steps = question.settled.followed(stage.reductions)
    named = named_by(replace(before, id=base.rpartition("+")[2], before=steps), stage.name)
    return replace(named, grows=before.id)
