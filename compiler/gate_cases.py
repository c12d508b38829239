"""How many cases a gate needs for 80 % power, and how many there are."""

from dataclasses import replace

from titrant.compiler.gate_power import needed_cases
from titrant.schema.facts import DataFacts, RoleFacts
from titrant.schema.gate import Gate


def with_cases(gate: Gate, data: DataFacts, confidence: float) -> Gate:
    """Fill in the cases that a gate needs and has; unchanged where it counts none (size, time) or is not assessable."""
    if gate.test == "not_assessable" or gate.preset == "target":
        return gate
    needed, assumption = needed_cases(gate, confidence)
    return replace(gate, needed_cases=needed, available_cases=available_cases(gate, data), assumption=assumption)


def available_cases(gate: Gate, data: DataFacts) -> int | None:
    """Return how many evaluation cases a gate's metric counts: its denominator, within its slice."""
    evaluation = data.roles.get("evaluation")
    if evaluation is None:
        return 0
    kind, _, name = gate.slice.partition(" ")
    if kind == "class":
        return evaluation.classes.get(name, 0)
    if kind == "subgroup":
        return min(_in_subgroup(gate.metric, one, evaluation) for one in _values(name))
    return _overall(gate.metric, evaluation, data.positive)


def _values(name: str) -> list[tuple[str, str]]:
    """Split "G.a" or "G.a / G.b" into (group, value) pairs; a value may hold dots, a group may not."""
    first, _, second = name.partition(" / ")
    parts = [one.partition(".") for one in (first, second) if one]
    return [(group, value) for group, _, value in parts]


def _in_subgroup(metric: str, place: tuple[str, str], evaluation: RoleFacts) -> int:
    group, value = place
    rows = evaluation.subgroups.get(group, {}).get(value, 0)
    positives = evaluation.positives.get(group, {}).get(value, 0)
    if metric in ("sensitivity", "kept"):
        return positives
    return rows - positives if metric == "specificity" else rows


def _overall(metric: str, evaluation: RoleFacts, positive: str | None) -> int:
    positives = evaluation.classes.get(positive, 0) if positive is not None else 0
    if metric in ("sensitivity", "kept"):
        return positives
    # Cases that belong together (a patient's images) are one unit of inference.
    return evaluation.rows - positives if metric == "specificity" else evaluation.units
