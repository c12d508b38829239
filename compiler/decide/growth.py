"""Which smaller networks are tried after the original's own candidates, in turn, as long as enough is kept.

How far a network can be pruned shows only when it was trained again: each stage stands in the plan, and is made only
where the one before it keeps on tuning rows what is asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from titrant.compiler.decide.measuring import is_plain
from titrant.compiler.decide.reductions import named_by
from titrant.compiler.decide.rule import Chain, Growth, Question, ReductionStep, RuleAnswer


def growth(question: Question) -> RuleAnswer:
    """Add to the candidates those of each further stage of reduction, most aggressive last."""
    chains = question.settled.chains
    grown: list[Chain] = []
    for base in _bases(chains):
        before = base
        for stage in question.settled.growth:
            chain = _grown(question, base, before, stage)
            if chain.id not in question.left_out:
                grown.append(chain)
            before = chain
    last = max((chain.rank for chain in chains), default=0)
    return RuleAnswer((*chains, *_ranked(grown, question.settled.growth, last)))


def _bases(chains: Sequence[Chain]) -> Iterator[Chain]:
    """Yield what a smaller network can be tried with: each method as it is, and conversions where no method is left."""
    uniform = [chain for chain in chains if not chain.mends]
    quantized = [chain for chain in uniform if not is_plain(chain) and chain.method != "none"]
    yield from quantized or uniform


def _grown(question: Question, base: Chain, before: Chain, stage: Growth) -> Chain:
    """Return the candidate of a stage that goes on from the one before it."""
    recovery = question.settled.recovery
    reductions: tuple[ReductionStep, ...] = (*stage.reductions, *((recovery,) if recovery is not None else ()))
    named = named_by(replace(base, id=base.id.rpartition("+")[2], before=reductions), stage.name)
    return replace(named, grows=before.id)


def _ranked(grown: Sequence[Chain], stages: Sequence[Growth], last: int) -> Iterator[Chain]:
    """Rank by stage, and within one as the methods are."""
    of_stage = {stage.reductions: place for place, stage in enumerate(stages)}

    def place(chain: Chain) -> int:
        return next(number for steps, number in of_stage.items() if chain.before[: len(steps)] == steps)

    ordered = sorted(grown, key=lambda chain: (place(chain), chain.rank))
    for rank, chain in enumerate(ordered, last + 1):
        yield replace(chain, rank=rank)
