"""Test which subgroups a candidate harms, with p-values corrected for the number of subgroups tested."""

from collections.abc import Sequence
from dataclasses import replace

from titrant.runtime.contract.evidence import Evidence, Unassessable
from titrant.runtime.contract.paired_tests import paired
from titrant.schema.gate import Gate, GateResult, slice_of


def name_harmed(gates: Sequence[Gate], results: Sequence[GateResult], evidence: Evidence) -> tuple[GateResult, ...]:
    """Add to the paired change of each subgroup whether it is shown to be harmed; verdicts stay as they are.

    One exact sign test a subgroup (more lost than gained among the changed units), Holm's correction over all of them:
    many are looked at, and only here is a statement made that holds for one of them by itself.
    """
    p_values: dict[int, float] = {}
    for place, gate in enumerate(gates):
        if gate.preset == "bias" and gate.test == "score_ratio":
            try:
                p_values[place] = _p_value(gate, evidence)
            except Unassessable:
                continue
    if not p_values:
        return tuple(results)
    corrected = dict(zip(p_values, adjusted(list(p_values.values())), strict=True))
    return tuple(
        replace(result, reason=result.reason + _harm_clause(corrected[place], evidence.confidence, len(p_values)))
        if place in corrected
        else result
        for place, result in enumerate(results)
    )


def _p_value(gate: Gate, evidence: Evidence) -> float:
    import numpy as np

    cases = paired(gate.metric, slice_of(gate), evidence)
    _, index = np.unique(cases.units, return_inverse=True)
    net = np.bincount(index, weights=cases.original.astype(float) - cases.candidate)
    return harm(int((net > 0).sum()), int((net < 0).sum()))


def _harm_clause(p_value: float, confidence: float, groups: int) -> str:
    if p_value > 1 - confidence:
        return ""
    return f"; this subgroup is harmed (sign test, p = {p_value:.2g} after Holm's correction for {groups} subgroups)"


def adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values (1979), in the order given.

    Over all that are below alpha, the chance that any is wrong is at most alpha.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return tuple(corrected)


def harm(lost: int, gained: int) -> float:
    """Return the p-value of "no more is lost than gained": the exact sign test on the changed cases."""
    from scipy.special import bdtrc

    return float(bdtrc(lost - 1, lost + gained, 0.5)) if lost and gained + lost else 1.0
