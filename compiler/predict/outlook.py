"""What is expected of every candidate of a plan by facts that stay: latency, size, and how long making takes."""

from collections.abc import Mapping
from dataclasses import replace

from titrant.compiler.decide.measuring import is_plain
from titrant.compiler.decide.rule import Chain, Decisions
from titrant.compiler.lower.chains import entries
from titrant.compiler.lower.plan_graph import Declare
from titrant.compiler.predict.price import price
from titrant.runtime import catalog
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.plan import ONLY_TRAINED, ROUNDED, Candidate, CandidateSearch, Plan
from titrant.schema.values.frozen import dataclass

# What candidates have in common that fail for one reason, or that one error of a prediction is about: the engine, the
# width, calibrated activations, activations scaled as they come.
CandidateKind = tuple[str, int | None, bool, bool] | str


@dataclass(frozen=True)
class Outlook:
    """What is expected of one candidate: seconds of the batch that is judged, bytes of its file, seconds to make it.

    None where that does not follow from the facts. `chain` is what it is made by, `plain` that neither a method nor a
    reduction did; one whose method does not say what it costs is of a `kind` of its own. One that
    waits for another is of a `base`, the candidate of the network as it is that it mends or goes on from, and `grows`
    where it does the latter.
    """

    chain: str
    engine: str
    rank: int
    plain: bool
    kind: CandidateKind
    seconds: float | None = None
    bytes: int | None = None
    making_seconds: float | None = None
    base: str = ""
    grows: bool = False


def outlooks(
    plan: Plan,
    decisions: Decisions,
    hardware: Hardware,
    model: ModelFacts,
    data: DataFacts,
    *,
    declare: Declare = catalog.get,
) -> tuple[tuple[Outlook, ...], ...]:
    """Return what is expected of the candidates of each search, in the order of the searches.

    Neither the bench nor earlier runs count: the same machine would otherwise get another plan after each. Instruction
    sets, layers and rows do, so that figures hold in comparison with each other, for a processor of no certain speed.
    """
    priced = price(plan, replace(hardware, bench=None), model, data, declare=declare, shapes=False)
    chains = {entry.id: entry.chain for asked in entries(decisions) for entry in asked.competing}
    candidates = {candidate.id: candidate for candidate in priced.candidates}
    timed = model.flops is not None and decisions.settled.device == "cpu"
    return tuple(
        tuple(_outlook(candidates[name], chains, priced, search, declare, timed=timed) for name in search.candidates)
        for search in priced.searches
    )


def _outlook(
    candidate: Candidate,
    chains: Mapping[str, Chain],
    plan: Plan,
    search: CandidateSearch,
    declare: Declare,
    *,
    timed: bool,
) -> Outlook:
    chain = chains[candidate.id]
    method = None if chain.method == "none" else declare(catalog.method_operator(chain.method)).method
    priced = method is None or method.arithmetic is not None
    kind: CandidateKind = chain.id
    if method is not None and priced:
        kind = (chain.engine, chain.bits, method.calibrated, method.dynamic_activations)
    timing = next(step for step in plan.steps if step.id == search.timings.rpartition(".")[0])
    cost = timing.prediction.models.get(candidate.id)
    making = [step.prediction.seconds for step in plan.steps if step.candidate == candidate.id and step.stage == "make"]
    return Outlook(
        chain=chain.id,
        engine=chain.engine,
        rank=chain.rank + _later(chain.id, len(chains)),
        plain=is_plain(chain),
        kind=kind,
        seconds=cost.seconds[str(search.timing_batch)] if cost is not None and timed and priced else None,
        bytes=candidate.predicted_bytes,
        making_seconds=None if None in making else sum(filter(None, making)),
        base=_base(chain, chains),
        grows=bool(chain.grows),
    )


def _later(chain: str, candidates: int) -> int:
    """Put what is trained for int8 behind all others, and what it is compared with behind that.

    They are as fast as what they are of; where there is no room for all of them, that is made first.
    """
    return candidates * (chain.endswith(ROUNDED) + 2 * chain.endswith(ONLY_TRAINED))


def _base(chain: Chain, chains: Mapping[str, Chain]) -> str:
    """Return the chain that one waits for at last; "" for one that waits for none."""
    if not chain.grows:
        return chain.mends
    by_id = {each.id: each for each in chains.values()}
    while chain.grows and chain.grows in by_id:
        chain = by_id[chain.grows]
    return chain.id
