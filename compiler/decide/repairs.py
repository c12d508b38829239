"""What is tried where a method loses too much: repairs of it, then mixtures of its precision with a higher one.

All of it stands in the plan and runs only where tuning rows ask for it.
"""

from collections.abc import Iterable, Iterator, Sequence

from titrant.compiler.decide.methods import without_calibration
from titrant.compiler.decide.reductions import reduced_facts
from titrant.compiler.decide.rule import Chain, Question, RuleAnswer, SearchBudget, decision
from titrant.compiler.decide.target import original_kind
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.catalog import Declaration, method_operator
from titrant.runtime.method import Method, Repair
from titrant.schema.cost import Unmet
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.facts import ModelFacts
from titrant.schema.gate import kept_at_least
from titrant.schema.plan import Decision, Rejected
from titrant.schema.samples.binomial import zero_failure_cases
from titrant.schema.values.frozen import replace
from titrant.schema.values.units import counted

# Mixtures that are made at most, each chosen by what the ones before it lost, and evaluations to mend one candidate.
MIXTURES, MENDED_AT_MOST = 4, 5
# From more layers on, what each region damages is estimated rather than measured one by one.
MANY_LAYERS = 50
_REPAIR, _MIX = ("quantization", "repair"), ("search", "mix_layers")


def repairs(question: Question) -> RuleAnswer:
    """Add to each method that has repairs, or can be mixed, what is tried where it loses too much.

    Raises InfeasibleError P065 for a repair that the recipe names and no candidate has.
    """
    bases = [chain for chain in question.settled.chains if _method(chain) is not None]
    offered = {base.id: [*_repairs(question, base)] for base in bases}
    _refuse_unused(question, [repair for each in offered.values() for repair, _ in each])
    against_mixing = _against_mixing(question)
    left = room(question.settled.budget, question.settled.chains, written=question.recipe.search.budget != "auto")
    if not left:
        spent = Unmet("search.budget.evaluations leaves none for it", "allow more evaluations")
        offered = {base: [(repair, unmet or spent) for repair, unmet in each] for base, each in offered.items()}
        against_mixing = against_mixing or spent.cause
    chains: list[Chain] = []
    mended: dict[str, list[str]] = {}
    mixed: list[str] = []
    for chain in question.settled.chains:
        chains.append(chain)
        usable = [repair for repair, unmet in offered.get(chain.id, ()) if unmet is None]
        chains += _repaired(chain, usable)
        if usable:
            mended[chain.id] = [_shown(repair, usable) for repair in usable]
        if _can_mix(chain) and not against_mixing:
            mixed.append(chain.id)
            chains += _mixtures(chain, usable, min(MIXTURES, left))
    lines = [*_repair_lines(question, mended, offered), *_mix_lines(question, bases, mixed, against_mixing, left)]
    return RuleAnswer(ranked(chains), tuple(lines))


def room(budget: SearchBudget, chains: Iterable[Chain], *, written: bool) -> int:
    """Return how many evaluations may be made to mend one candidate: what a budget that is written leaves."""
    if not written or budget.evaluations is None:
        return MENDED_AT_MOST
    made = sum(chain.method != "none" and not chain.mends for chain in chains)
    return max(0, min(MENDED_AT_MOST, budget.evaluations - made))


def _method(chain: Chain) -> Method | None:
    return None if chain.method == "none" else catalog.get(method_operator(chain.method)).method


def _asked(question: Question) -> tuple[str, ...] | None:
    """Return the repairs that the recipe names; None where it leaves them open."""
    asked = question.recipe.quantization.repair
    if asked == "auto":
        return None
    return asked or ()


def _repairs(question: Question, base: Chain) -> Iterator[tuple[Repair, Unmet | None]]:
    """Yield the repairs of a chain's method that are wanted, in order, each with what speaks against it, if anything.

    A variant is not mended: what it is a variant of is.
    """
    method, asked = _method(base), _asked(question)
    if method is None or is_variant(base, method):
        return
    for repair in method.repairs:
        if asked is None and repair.unasked:
            continue
        if asked is None or repair.name in asked:
            yield repair, next(_against(question, base, repair), None)


def is_variant(base: Chain, method: Method) -> bool:
    """Whether `auto` offers a chain beside the method, after which it is called; written options make no variant."""
    return any(base.id.endswith(f".{variant.suffix}") for variant in method.variants)


def _against(question: Question, base: Chain, repair: Repair) -> Iterator[Unmet]:
    """Say why a repair does nothing for a model here."""
    model = reduced_facts(question)
    written = {name for name in repair.options if name in question.recipe.quantization.options}
    if written:
        yield Unmet(f"the recipe sets {', '.join(sorted(written))} itself")
    if repair.bits and base.bits not in repair.bits:
        yield Unmet(f"it is for {' and '.join(map(str, repair.bits))} bits", unasked=True)
    repaired = catalog.get(method_operator(base.method))
    yield from without_calibration(question, repaired, {**base.options, **repair.options})
    for operator in filter(None, (repair.before, repair.after)):
        declaration = catalog.get(operator)
        # What it advises is for who names it as the method.
        yield from (
            replace(unmet, remedy="") for unmet in declaration.requires(declaration.params(), question.hardware, model)
        )
        yield from without_calibration(question, declaration, {})
        if declaration.idle(declaration.params(), model):
            yield Unmet(f"{operator} has nothing to do on this model", unasked=True)
        if not _can_be_given(question, base, declaration, first=operator == repair.before):
            yield Unmet(f"{operator} takes {' or '.join(declaration.inputs['model'].kinds)}", unasked=True)


def _can_be_given(question: Question, base: Chain, declaration: Declaration, *, first: bool) -> bool:
    from titrant.compiler.decide.reductions import reduced_kind

    takes = declaration.inputs["model"].kinds[0]
    given = reduced_kind(question).name if first else backend.kind_of_format(base.format).name
    return backend.conversion(given, takes) is not None


def _refuse_unused(question: Question, offered: Iterable[Repair]) -> None:
    """Raise InfeasibleError where the recipe names a repair that no candidate has: it would be accepted and ignored."""
    there = {repair.name for repair in offered}
    unused = [name for name in _asked(question) or () if name not in there]
    if unused:
        methods = {name: [each for each in catalog.quantization_methods() if name in _names(each)] for name in unused}
        of = "; ".join(
            f"{name} is for {' or '.join(each) or 'no method of this version'}" for name, each in methods.items()
        )
        where = question.bound.parsed.source.place(_REPAIR, "value")
        text = f"no candidate here can be repaired by {', '.join(unused)}"
        raise InfeasibleError(Diagnostic("P065", text, where, f"take it out, or name its method: {of}"))


def _names(method: str) -> list[str]:
    declared = catalog.get(method_operator(method)).method
    return [] if declared is None else [repair.name for repair in declared.repairs]


def _repaired(base: Chain, usable: Iterable[Repair]) -> Iterator[Chain]:
    """Yield a chain for each repair; what is exact stays for those that follow."""
    kept: tuple[str, ...] = ()
    for repair in usable:
        first = _in_order(kept, repair.before)
        yield replace(
            base,
            id=f"{base.id}.{repair.suffix}",
            mends=base.id,
            first=tuple(dict.fromkeys(first)),
            last=tuple(filter(None, (repair.after,))),
            options={**base.options, **repair.options},
        )
        if repair.exact and repair.before:
            kept = first


def _shown(repair: Repair, usable: Sequence[Repair]) -> str:
    """Name a repair, with its options where others of its name are tried too."""
    alike = sum(each.name == repair.name for each in usable) > 1
    options = ", ".join(f"{name}: {value}" for name, value in repair.options.items())
    return f"{repair.name} ({options})" if alike and options else repair.name


def _in_order(kept: tuple[str, ...], before: str) -> tuple[str, ...]:
    """Put an operator behind those that are kept, or before them where it takes what they no longer give."""
    if not before or not kept:
        return (*kept, *filter(None, (before,)))
    given, takes = catalog.get(kept[-1]).outputs["model"], catalog.get(before).inputs["model"].kinds[0]
    return (*kept, before) if backend.conversion(given, takes) is not None else (before, *kept)


def _can_mix(chain: Chain) -> bool:
    method = _method(chain)
    return method is not None and method.mixing is not None and not is_variant(chain, method)


def _mixtures(base: Chain, usable: Iterable[Repair], count: int) -> Iterator[Chain]:
    first = tuple(repair.before for repair in usable if repair.exact and repair.before)
    for place in range(1, count + 1):
        yield replace(base, id=f"{base.id}.mix{place}", mends=base.id, first=first, mix=place)


def _against_mixing(question: Question) -> str:
    """Say why no mixtures are tried; "" where they are."""
    if not question.recipe.search.mix_layers:
        return "search.mix_layers is false"
    retention = kept_at_least(question.settled.contract)
    tuning = question.data.roles.get("tuning")
    if retention is None:
        return "the contract asks for no share of the original's quality that tuning rows could show"
    if tuning is None or not 0 < retention < 1:
        return ""
    due = zero_failure_cases(retention, question.settled.contract.confidence)
    if tuning.rows < due:
        return f"tuning has {tuning.rows:,} rows, and fewer than {due:,} cannot show that a mixture keeps {retention:g}"
    return ""


def ranked(chains: Sequence[Chain]) -> tuple[Chain, ...]:
    """Rank anew from gentle to aggressive: before a base stand what mends it, mixtures first, all of one rank."""
    rank = 0
    ranks: dict[str, int] = {}
    for base in [chain for chain in chains if not chain.mends]:
        mending = [chain for chain in chains if chain.mends == base.id]
        mixtures = [chain for chain in mending if chain.mix]
        ranks |= dict.fromkeys([chain.id for chain in mixtures], rank)
        rank += bool(mixtures)
        for chain in reversed([chain for chain in mending if not chain.mix]):
            ranks[chain.id] = rank
            rank += 1
        ranks[base.id] = rank
        rank += 1
    return tuple(replace(chain, rank=ranks[chain.id]) for chain in chains)


def _repair_lines(
    question: Question, mended: dict[str, list[str]], offered: dict[str, list[tuple[Repair, Unmet | None]]]
) -> Iterator[Decision]:
    asked = question.recipe.quantization.repair
    rejected = tuple(
        Rejected(f"{base}: {repair.name}", unmet.cause, unmet.remedy)
        for base, each in offered.items()
        for repair, unmet in each
        if unmet is not None and (_asked(question) or not unmet.unasked)
    )
    if mended or rejected:
        yield decision(
            question,
            "quantization.repair",
            "repair.auto" if asked == "auto" else "repair.written",
            asked="auto" if asked == "auto" else ", ".join(_asked(question) or ("none",)),
            chosen="; ".join(f"{base}: {', '.join(names)}" for base, names in mended.items()) or "none",
            because="in turn, where it loses too much",
            path=_REPAIR,
            rejected=rejected,
        )


def estimates(method: Method, model: ModelFacts) -> bool:
    """Whether the damage of regions is estimated: of many layers, of an original that the estimate takes."""
    if method.mixing is None or not method.mixing.estimate:
        return False
    many = sum(layer.type in method.layers for layer in model.layers) > MANY_LAYERS
    return many and original_kind(model).name in catalog.get(method.mixing.estimate).inputs["module"].kinds


def _mix_lines(question: Question, bases: list[Chain], mixed: list[str], against: str, left: int) -> Iterator[Decision]:
    if question.recipe.search.check_sensitivity:
        yield _check_line(question, mixed, against or "no method here can be mixed with a higher precision")
    if not any(map(_can_mix, bases)):
        return
    written = question.bound.written(*_MIX)
    yield from _estimate_lines(question, [chain for chain in bases if chain.id in mixed])
    yield decision(
        question,
        "search.mix_layers",
        "mix.none" if against else "mix.asked",
        asked=str(question.recipe.search.mix_layers).lower() if written else "not written",
        chosen="none" if against else f"up to {counted(min(MIXTURES, left), 'mixture')} of {', '.join(mixed)}",
        because=against or "where it loses too much on tuning rows, repaired or not: sensitive regions stay in fp32",
        path=_MIX,
    )


def _check_line(question: Question, mixed: list[str], against: str) -> Decision:
    tuning = question.data.roles.get("tuning")
    rows = f"all {tuning.rows:,} tuning rows" if tuning else "all tuning rows"
    return decision(
        question,
        "search.check_sensitivity",
        "sensitivity.checked",
        asked="true",
        chosen=f"on {rows}" if mixed else "none",
        because="the recipe asks for it, where mixtures are searched" if mixed else against,
        path=("search", "check_sensitivity"),
    )


def _estimate_lines(question: Question, mixed: list[Chain]) -> Iterator[Decision]:
    model = reduced_facts(question)
    methods = [method for chain in mixed if (method := _method(chain)) is not None]
    estimating = [method for method in methods if estimates(method, model)]
    if estimating:
        layers = max(sum(layer.type in method.layers for layer in model.layers) for method in estimating)
        yield decision(
            question,
            "search.mix_layers.sensitivity",
            "sensitivity.estimated",
            asked="not written",
            chosen="one pass of gradients",
            because=f"{layers:,} layers are more than {MANY_LAYERS}; fewer are measured, region by region",
            path=_MIX,
        )
