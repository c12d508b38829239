"""Simulate how often a faithful candidate passes every gate of a contract, and find the gate that costs most."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from titrant.runtime.contract.power.draws import Draws, SampledRows, sample_of
from titrant.runtime.contract.power.gates import passes
from titrant.schema.facts import RoleFacts
from titrant.schema.gate import BATCH_INVARIANCE, Gate, slice_of
from titrant.schema.power import WANTED, JointPower
from titrant.schema.values.canonical import plain, read_back
from titrant.schema.values.slice import Slice

DRAWS = 2000
# So many (gate, draw) pairs take well under a second; more gates are drawn less often.
_MOST_JUDGED = 1_000_000
_LEAST_DRAWS = 1000
_SEED = 12
_MOST_TIMES = 64
# Of gates that pass as seldom as each other, that one costs most which takes most further rows.
_TIED, _MOST_TIED = 0.005, 4


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer {"gates", "confidence", "evaluation", "positive", "tried"}, gates by their criteria, with {"power"}."""
    gates = tuple(read_back(Gate, {"origin": "", **_fields(gate)}) for gate in request["gates"])
    facts = read_back(RoleFacts, request["evaluation"])
    sample = sample_of(facts, request["positive"], gates, request["tried"])
    return {"power": plain(joint_power(gates, sample, request["confidence"]))}


def _fields(criteria: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in criteria.items() if name != "supplied"}


def joint_power(gates: tuple[Gate, ...], sample: SampledRows, confidence: float) -> JointPower:
    """Draw the candidate, judge every gate in every draw, and count the draws in which all pass."""
    count = min(DRAWS, max(_LEAST_DRAWS, _MOST_JUDGED // max(len(gates), 1)))
    draws = Draws(sample, count, np.random.default_rng(_SEED))
    every, chances, left_out = np.ones(count, bool), {}, []
    for gate in gates:
        passed = passes(gate, draws, confidence)
        if passed is None:
            left_out.append(gate.id)
        else:
            every &= passed
            chances[gate.id] = round(float(passed.mean()), 4)
    if not chances:
        return JointPower(None, left_out=tuple(left_out))
    chance = float(every.mean())
    error = 2 * math.sqrt(max(chance * (1 - chance), 1 / count) / count)
    lowest = min(chances.values())
    tied = [gate for gate in gates if gate.id in chances and chances[gate.id] <= lowest + _TIED][:_MOST_TIED]
    further = {
        gate.id: (None, "") if chances[gate.id] >= WANTED else more_rows(gate, sample, confidence) for gate in tied
    }
    costliest = max(further, key=lambda name: math.inf if further[name][0] is None else float(further[name][0] or 0))
    return JointPower(
        round(chance, 4), round(error, 4), count, chances, costliest, *further[costliest], tuple(left_out)
    )  # fmt: skip


def more_rows(gate: Gate, sample: SampledRows, confidence: float) -> tuple[int | None, str]:
    """Return how many further rows make a gate pass with 90 %, and of what; None where 64 times as many do not.

    They are those that limit it, else, where a group alone would not help, rows of all kinds as they are.
    """
    if gate.metric == BATCH_INVARIANCE:
        return None, ""
    total = sum(sample.sizes.values())
    every = (total, "rows in the same proportions", lambda rows: _times(sample, rows / total))
    for there, of, grown in (_growing(gate, sample), every):
        rows = _enough(lambda rows, grown=grown: _chance(gate, grown(rows), confidence) >= WANTED, there)  # type: ignore[misc]
        if rows is not None:
            return rows - there, of
    return None, ""


Growth = tuple[int, str, Callable[[int], SampledRows]]


def _chance(gate: Gate, sample: SampledRows, confidence: float) -> float:
    passed = passes(gate, Draws(sample, _LEAST_DRAWS, np.random.default_rng(_SEED)), confidence)
    return 0.0 if passed is None else float(passed.mean())


def _enough(does: Callable[[int], bool], there: int) -> int | None:
    """Return the least rows from which on a gate passes often enough, looked for by doubling; within a hundredth."""
    high = max(2 * there, 8)
    while not does(high):
        high *= 2
        if high > _MOST_TIMES * max(there, 8):
            return None
    low = max(there, high // 2)
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if does(middle) else (middle, high)
    return high


def _growing(gate: Gate, sample: SampledRows) -> Growth:
    """Return the rows that limit a gate, what they are, and the sample with so many of them."""
    about, facts = slice_of(gate), sample.facts
    kind = {"sensitivity": "positive", "kept": "positive", "specificity": "rest"}.get(gate.metric, "all")
    if about.kind == "subgroup":
        side = min(about.sides(), key=lambda compared: _inside(facts, compared, kind))
        named = f"{sample.positive} rows" if kind == "positive" else "rows"
        of = f"{named} of {side.subgroup}"
        return _inside(facts, side, kind), of, lambda rows: _in_group(sample, side, kind, rows)
    name = about.class_name if about.kind == "class" else sample.positive
    if kind == "positive" and name in sample.sizes:
        return sample.sizes[str(name)], f"{name} rows", lambda rows: _of_classes(sample, {str(name): rows})
    total = sum(sample.sizes.values())
    return total, "rows", lambda rows: _times(sample, rows / total)


def _times(sample: SampledRows, factor: float) -> SampledRows:
    """Return the sample with so many times the rows of every class and subgroup."""
    sizes = {name: max(1, round(size * factor)) for name, size in sample.sizes.items()}
    grown = _of_classes(sample, sizes)

    def scaled(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
        return {
            group: {value: math.floor(count * factor) for value, count in values.items()}
            for group, values in counts.items()
        }

    facts = replace(
        grown.facts, subgroups=scaled(grown.facts.subgroups), positives=scaled(grown.facts.positives),
        subgroup_units=scaled(grown.facts.subgroup_units), positive_units=scaled(grown.facts.positive_units),
        negative_units=scaled(grown.facts.negative_units),
    )  # fmt: skip
    return replace(grown, facts=facts)


def _inside(facts: RoleFacts, side: Slice, kind: str) -> int:
    rows = facts.subgroups.get(side.group, {}).get(side.value, 0)
    positives = facts.positives.get(side.group, {}).get(side.value, 0)
    return {"positive": positives, "rest": rows - positives}.get(kind, rows)


def _of_classes(sample: SampledRows, sizes: Mapping[str, int]) -> SampledRows:
    """Return the sample with other numbers of rows of some classes, each worth as many units as before."""
    facts, held = sample.facts, {**sample.sizes, **sizes}
    units = {
        name: round(count * held[name] / max(sample.sizes[name], 1))
        for name, count in facts.class_units.items()
        if name in held
    }
    total = sum(held.values())
    return replace(
        sample,
        sizes=held,
        facts=replace(facts, rows=total, units=max(1, round(total * sample.units)), class_units=units),
    )


def _in_group(sample: SampledRows, side: Slice, kind: str, rows: int) -> SampledRows:
    """Return the sample with so many rows in one value of a subgroup, of which the share of positives stays."""
    facts = sample.facts
    before = max(_inside(facts, side, kind), 1)
    positives = facts.positives.get(side.group, {}).get(side.value, 0)
    whole = facts.subgroups[side.group].get(side.value, 0)
    added = rows - before
    more = {"positive": added, "rest": 0}.get(kind, round(added * positives / max(whole, 1)))
    grown = {**sample.sizes}
    others = [name for name in grown if name != sample.positive]
    if sample.positive in grown:
        grown[sample.positive] += more
    if others:
        grown[max(others, key=lambda name: grown[name])] += added - more
    times = rows / before

    def put(counts: Mapping[str, Mapping[str, int]], value: int) -> dict[str, Mapping[str, int]]:
        return {**counts, side.group: {**counts.get(side.group, {}), side.value: value}}

    def scaled(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
        held = counts.get(side.group, {})
        return put(counts, round(held[side.value] * times)) if side.value in held else dict(counts)

    total = sum(grown.values())
    changed = replace(
        facts, rows=total, units=max(1, round(total * sample.units)),
        subgroups=put(facts.subgroups, whole + added),
        positives=put(facts.positives, positives + more) if facts.positives else facts.positives,
        subgroup_units=scaled(facts.subgroup_units), positive_units=scaled(facts.positive_units),
        negative_units=scaled(facts.negative_units),
    )  # fmt: skip
    return replace(sample, sizes=grown, facts=changed)
