"""How many cases a gate needs for 80 % power, and how many there are."""

from collections.abc import Mapping
from dataclasses import replace

from titrant.compiler.gate_power import fewest_cases, needed_cases
from titrant.schema.facts import DataFacts, RoleFacts
from titrant.schema.gate import Gate

# What counts the positive class only, and what counts all others.
POSITIVES = ("sensitivity", "kept")
NEGATIVES = "specificity"


def with_cases(gate: Gate, data: DataFacts, confidence: float) -> Gate:
    """Fill in the cases that a gate needs and has; unchanged where it counts none (size, time) or is not assessable."""
    if gate.test == "not_assessable" or gate.preset == "target":
        return gate
    needed, assumption = needed_cases(gate, confidence)
    return replace(gate, needed_cases=needed, available_cases=available_cases(gate, data), assumption=assumption)


def available_cases(gate: Gate, data: DataFacts) -> int | None:
    """Return how many evaluation cases a gate's metric counts: its denominator, in units of `split.by`."""
    evaluation = data.roles.get("evaluation")
    if evaluation is None:
        return 0
    kind, _, name = gate.slice.partition(" ")
    if kind == "class":
        return _of_class(gate.metric, name, evaluation)
    if kind == "subgroup":
        return min(_in_subgroup(gate.metric, one, evaluation) for one in _values(name))
    if data.positive is not None and gate.metric in (*POSITIVES, NEGATIVES):
        return _of_class(gate.metric, data.positive, evaluation)
    return 0 if gate.metric in POSITIVES else evaluation.units


def shortage(gate: Gate, data: DataFacts, confidence: float) -> tuple[int, int] | None:
    """Return the cases without which a gate can never pass and the fewer that there are; None where none are missing.

    A ratio of two groups rests on the first one's cases where the second has all right, and `min_cases` on both.
    """
    available = gate.available_cases
    if available is None:
        return None
    proving = available
    if gate.test == "group_ratio":
        proving = available_cases(replace(gate, slice=gate.slice.partition(" / ")[0]), data) or 0
    fewest = fewest_cases(gate, confidence)
    if proving < fewest:
        return max(fewest, gate.min_cases), proving
    return (gate.min_cases, available) if available < gate.min_cases else None


def _of_class(metric: str, name: str, evaluation: RoleFacts) -> int:
    """Count a class, or for specificity all others."""
    rows = evaluation.classes.get(name, 0)
    if metric == NEGATIVES:
        return evaluation.other_units.get(name, sum(evaluation.classes.values()) - rows)
    return evaluation.class_units.get(name, rows)


def _values(name: str) -> list[tuple[str, str]]:
    """Split "G.a" or "G.a / G.b" into (group, value) pairs; a value may hold dots, a group may not."""
    first, _, second = name.partition(" / ")
    parts = [one.partition(".") for one in (first, second) if one]
    return [(group, value) for group, _, value in parts]


def _in_subgroup(metric: str, place: tuple[str, str], evaluation: RoleFacts) -> int:
    rows, positives = (_at(place, counts) or 0 for counts in (evaluation.subgroups, evaluation.positives))
    if metric in POSITIVES:
        units, count = _at(place, evaluation.positive_units), positives
    elif metric == NEGATIVES:
        units, count = _at(place, evaluation.negative_units), rows - positives
    else:
        units, count = _at(place, evaluation.subgroup_units), rows
    return count if units is None else units


def _at(place: tuple[str, str], counts: Mapping[str, Mapping[str, int]]) -> int | None:
    group, value = place
    return counts.get(group, {}).get(value)
