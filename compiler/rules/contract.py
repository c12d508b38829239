"""The contract that follows from presets, limits and candidates."""

from collections.abc import Iterator

from titrant.compiler.decisions import Chain
from titrant.compiler.gate_cases import shortage
from titrant.compiler.gates import depends_on_batch, gates
from titrant.compiler.rules.presets import Presets
from titrant.compiler.rules.question import Answer, Question, decision
from titrant.runtime import catalog
from titrant.schema.facts import DataFacts
from titrant.schema.gate import Contract, Gate
from titrant.schema.plan import Decision


def contract(question: Question) -> Answer:
    """Write the contract, and warn of every gate that the data can never prove."""
    presets: Presets = question.settled["presets"]
    chains: tuple[Chain, ...] = question.settled["number_format"]
    dynamic = frozenset(chain.method for chain in chains if _dynamic(chain))
    rows = gates(question, presets, chains, dynamic)
    lines = tuple(_batch_line(question, presets, chains, dynamic))
    return Answer(
        Contract(rows, presets.confidence, presets.require), lines, warnings_of(rows, question.data, presets.confidence)
    )


def _dynamic(chain: Chain) -> bool:
    if chain.method == "none":
        return False
    method = catalog.get(catalog.method_operator(chain.method)).method
    return method is not None and method.dynamic_activations


def _batch_line(
    question: Question, presets: Presets, chains: tuple[Chain, ...], dynamic: frozenset[str]
) -> Iterator[Decision]:
    """Say what becomes of batch invariance, which this version does not measure."""
    preset = presets.thresholds.get("batch_invariance")
    if preset is None:
        return
    if depends_on_batch(chains, dynamic, question.model):
        named = ", ".join(sorted(dynamic)) or "the original"
        chosen = "not judged in this version: INCONCLUSIVE"
        because = f"activation scales of {named} depend on the batch, and what is not judged is not passed"
    else:
        chosen = "not judged in this version: only static scales"
        because = "no candidate has activation scales that depend on the batch"
    yield decision(
        question,
        "batch invariance",
        "batch_invariance.version",
        asked=f"at least {preset.threshold:g} ({preset.origin})",
        chosen=chosen,
        because=because,
        path=("validation", "batch_invariance"),
    )


def warnings_of(rows: tuple[Gate, ...], data: DataFacts, confidence: float) -> tuple[str, ...]:
    """Say which gates can never be proven with the cases there are, and which are not assessable at all."""
    found = []
    for gate in rows:
        if gate.test == "not_assessable":
            found.append(f"gate {gate.id} is not assessable: {gate.assumption}")
        elif (short := shortage(gate, data, confidence)) is not None:
            found.append(
                f"gate {gate.id} can never be proven: even if no answer changes it takes "
                f"{short[0]} cases, and there are {short[1]}"
            )
    return tuple(found)
