"""Judge bias: a proportion in one subgroup over the same in another."""

from titrant.runtime.contract.clusters import shrink, unit_count
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.finding import Finding
from titrant.runtime.contract.group_ratio import Share, lower_bound, upper_bound
from titrant.runtime.contract.judge_pairs import CLUSTERED, Paired, paired
from titrant.runtime.contract.slices import pair_of
from titrant.runtime.contract.unassessable import Unassessable
from titrant.schema.gate import Gate


def judge_groups(gate: Gate, evidence: Evidence) -> Finding:
    """Bound the candidate's metric in the first group over that in the second; the groups share no case."""
    names = pair_of(gate.slice)
    groups = [paired(gate.metric, name, evidence) for name in names]
    one, other = (_share(group, evidence.confidence) for group in groups)
    means = [float(group.candidate.mean()) for group in groups]
    before = [float(group.original.mean()) for group in groups]
    if not means[1]:
        raise Unassessable(f"the {gate.metric} in {names[1].removeprefix('subgroup ')} is 0")
    lower, method = lower_bound(one, other, evidence.confidence)

    def proves(times: float) -> bool:
        return lower_bound(one.times(times), other.times(times), evidence.confidence)[0] >= gate.threshold

    texts = [
        f"{mean:.4f} in {name.removeprefix('subgroup ')} ({int(group.candidate.sum())} of {len(group.candidate)})"
        for mean, name, group in zip(means, names, groups, strict=True)
    ]
    clustered = any(unit_count(group.units) < len(group.units) for group in groups)
    return Finding(
        means[0] / means[1], lower, upper_bound(one, other, evidence.confidence),
        before[0] / before[1] if before[1] else None, means[0] / means[1],
        min(unit_count(group.units) for group in groups), None, method + (CLUSTERED if clustered else ""),
        f"{gate.metric} {texts[0]} against {texts[1]}", counted="cases in the smaller group", proves_with=proves,
    )  # fmt: skip


def _share(group: Paired, confidence: float) -> Share:
    right = group.candidate
    rarer = ~right if right.mean() >= 0.5 else right
    factor = shrink(right - right.mean(), rarer, group.units, confidence)
    return Share(float(right.sum()) * factor, len(right) * factor)
