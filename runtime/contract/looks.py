"""Charge looks at the same evaluation rows: beyond those that were planned a gate that passed proves nothing.

The planned looks share what may go wrong (Bonferroni), which the contract's confidence holds already. A further one has
nothing left to spend: whoever changes a model until it passes on the same rows passes in the end, by chance (22 % of
five looks and 64 % of twenty, at a nominal 5 %, where each is taken for the first).
"""

from dataclasses import replace

from titrant.runtime.contract.judge import conclude
from titrant.schema.gate import Contract, Gate, GateResult, Judgement
from titrant.schema.record import Look

_ROUNDING = 1e-9


def charged(contract: Contract, judgement: Judgement, look: Look | None) -> Judgement:
    """Open every gate on answers that passed in a look beyond the planned ones, and conclude anew."""
    if look is None or not beyond(contract, look):
        return judgement
    gates = {gate.id: gate for gate in contract.gates}
    results = [_open(gates[result.gate], result, look, contract) for result in judgement.results]
    return conclude(contract, judgement.candidate, results)


def beyond(contract: Contract, look: Look) -> bool:
    """Whether the looks up to this one may go wrong more often than the contract allows all of them together."""
    return look.spent > allowed(contract) + _ROUNDING


def allowed(contract: Contract) -> float:
    """Return how often all planned looks together may go wrong."""
    return contract.looks * (1 - contract.confidence)


def _open(gate: Gate, result: GateResult, look: Look, contract: Contract) -> GateResult:
    if result.verdict != "PASS" or not reads_rows(gate):
        return result
    reason = f"{beyond_words(look, contract)}; seen: {result.reason}"
    return replace(result, verdict="INCONCLUSIVE", reason=reason)


def reads_rows(gate: Gate) -> bool:
    """Whether a gate is about what evaluation rows show, rather than about time, size and memory."""
    return gate.preset != "target"


def beyond_words(look: Look, contract: Contract) -> str:
    """Say that a look has nothing to spend, and what would."""
    spent = look.spent - (1 - contract.confidence)
    return (
        f"look number {look.number} at these rows: earlier ones have spent {spent:.3g} of the {allowed(contract):.3g} "
        f"that may go wrong (validation.looks); {look.rows:,} fresh rows would prove as much as a first look"
    )
