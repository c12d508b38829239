"""The contract as one table of gates: presets, target limits and free gates, with the cases each needs and has."""

from collections.abc import Iterator
from dataclasses import replace

from titrant.compiler.decisions import Chain
from titrant.compiler.gate_cases import with_cases
from titrant.compiler.gate_presets import bias, not_assessable, overall, safety
from titrant.compiler.gate_targets import targets
from titrant.compiler.rules.presets import Preset, Presets
from titrant.compiler.rules.question import Question
from titrant.schema.facts import ModelFacts
from titrant.schema.gate import Gate
from titrant.schema.gate_test import gate_test

# ONNX nodes whose scale is found from the batch at hand.
DYNAMIC_NODES = ("DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")


def gates(question: Question, presets: Presets, chains: tuple[Chain, ...], dynamic: frozenset[str]) -> tuple[Gate, ...]:
    """Write the whole contract; `dynamic` names the methods whose activation scales depend on the batch."""
    rows = (
        *overall(question, presets),
        *safety(question, presets),
        *bias(question, presets),
        *_batch_invariance(question, presets, chains, dynamic),
        *_baseline(question),
        *targets(question),
        *_free(question),
    )
    return tuple(with_cases(gate, question.data, presets.confidence) for gate in _unique(rows))


def _batch_invariance(
    question: Question, presets: Presets, chains: tuple[Chain, ...], dynamic: frozenset[str]
) -> Iterator[Gate]:
    """Add a row that is never proven, unless no candidate has scales that depend on the batch."""
    preset = presets.thresholds.get("batch_invariance")
    if preset is None or not depends_on_batch(chains, dynamic, question.model):
        return
    reason = "a candidate's activation scales depend on the batch, and this version does not judge batch invariance"
    yield not_assessable("batch_invariance", "batch_invariance", "same_decision", preset, reason)


def depends_on_batch(chains: tuple[Chain, ...], dynamic: frozenset[str], model: ModelFacts) -> bool:
    """Whether some candidate answers a case by who shares its batch: by its method, or because the original does."""
    return any(chain.method in dynamic for chain in chains) or any(
        layer.type in DYNAMIC_NODES for layer in model.layers
    )


def _baseline(question: Question) -> Iterator[Gate]:
    baseline = question.recipe.validation.baseline
    if baseline is not None:
        where = question.bound.where("validation", "baseline", "at_least")
        test = gate_test(baseline.metric, "at_least")
        yield Gate("baseline", "baseline", baseline.metric, "all", "at_least", baseline.at_least, test, where)


def _free(question: Question) -> Iterator[Gate]:
    for place, gate in enumerate(question.recipe.validation.gates):
        where = question.bound.where("validation", "gates", place)
        name = gate.name or f"{gate.metric}.{gate.slice}.{gate.comparison}".replace(" ", "_")
        reason = unknown_slice(question, gate.slice)
        if reason:
            preset = Preset(gate.threshold, where, True)
            yield not_assessable(name, "gates", gate.metric, preset, reason, slice_=gate.slice)
            continue
        test = gate_test(gate.metric, gate.comparison)
        yield Gate(name, "gates", gate.metric, gate.slice, gate.comparison, gate.threshold, test, where)


def unknown_slice(question: Question, slice_: str) -> str:
    """Say why a slice has no evaluation rows; "" when it has some."""
    evaluation = question.data.roles["evaluation"]
    kind, _, name = slice_.partition(" ")
    if kind == "class" and not evaluation.classes.get(name):
        return f"no evaluation row is of class {name}"
    group, _, value = name.partition(".")
    if kind == "subgroup" and not evaluation.subgroups.get(group, {}).get(value):
        return f"no evaluation row is in subgroup {name}"
    return ""


def _unique(rows: tuple[Gate, ...]) -> Iterator[Gate]:
    """Number an id that stands twice: a free gate may be called as a preset is."""
    seen: dict[str, int] = {}
    for gate in rows:
        seen[gate.id] = seen.get(gate.id, 0) + 1
        yield gate if seen[gate.id] == 1 else replace(gate, id=f"{gate.id}.{seen[gate.id]}")
