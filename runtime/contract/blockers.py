"""Which gates keep a candidate from being released."""

from titrant.runtime.contract.verdict import meets
from titrant.schema.gate import Contract, Gate, GateResult, Judgement, supplied


def tolerable(gate: Gate, result: GateResult) -> bool:
    """Whether a gate lets a candidate through where the contract asks for evidence only."""
    if result.verdict == "INCONCLUSIVE":
        return (gate.test == "not_assessable" and supplied(gate)) or meets(gate, result.estimate)
    return result.verdict == "PASS"


def blockers(contract: Contract, judgement: Judgement) -> tuple[str, ...]:
    """Return the gates without which the candidate would be released: not those that evidence carries."""
    gates = {gate.id: gate for gate in contract.gates}
    unproven = [result for result in judgement.results if result.verdict != "PASS"]
    if contract.require == "evidence":
        unproven = [one for one in unproven if one.gate not in gates or not tolerable(gates[one.gate], one)]
    return tuple(result.gate for result in unproven)
