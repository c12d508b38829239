"""Judge a metric of a whole set of images: by resampling them, and by the images that may fail and have not yet."""

import math
from dataclasses import dataclass, replace

import numpy as np

from titrant.runtime.contract.evidence import Evidence, Unassessable, in_subgroup
from titrant.runtime.contract.paired_tests import compared
from titrant.runtime.contract.statistics.means import BOOTSTRAP, LEAST_CHANGED, RESAMPLES, bootstrap_bounds
from titrant.runtime.contract.statistics.proportions import binomial_upper_bound
from titrant.runtime.contract.statistics.units import grouped
from titrant.runtime.contract.tasks.average_precision import ClassMatches, average_precision
from titrant.runtime.contract.tasks.detection import DetectionAnswers
from titrant.runtime.contract.verdict import GateEstimate
from titrant.schema.gate import Gate, slice_of

GUARDED = ", and no more than if images failed that have not been seen to"
# Where images enough changed to be resampled, so many more are taken to fail whole (benchmarks/contract_simulation.py).
UNSEEN = 5
# Weights that are held at once: resamples times boxes.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class _Sets:
    """Both models' matches on some images (images,) bool, and the unit of each image (images,)."""

    original: tuple[ClassMatches, ...]
    candidate: tuple[ClassMatches, ...]
    units: np.ndarray
    at_half: bool

    def values(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both models' metric with each image so many times: (samples, images) → two of (samples,)."""
        boxes = max((len(matched.scores) for matched in (*self.original, *self.candidate)), default=1)
        step = max(_AT_ONCE // max(boxes, 1), 1)
        parts = [counts[start : start + step] for start in range(0, len(counts), step)]
        old, new = (
            np.concatenate([average_precision(matches, part, at_half=self.at_half) for part in parts])
            for matches in (self.original, self.candidate)
        )
        return old, new


def judge_set(gate: Gate, evidence: Evidence) -> GateEstimate:
    """Bound what is compared of a whole set's metric.

    Units of images are drawn again with replacement, 2,000 times, where the candidate changed something in 20 or more.
    That tells nothing of failures that did not happen yet: the bound is also no better than what is left if so many
    units fail whole as may, by the exact bound of how many have changed, or five where that are 20 or more. A unit that
    fails loses its boxes and has as many false alarms of each class as any image had boxes, all surer than the others;
    those with the most labels fail.
    """
    if evidence.always_valid:
        raise Unassessable("no bound of it holds at any number of looks (validation.looks: open)")
    cases = evidence.cases
    if not isinstance(cases, DetectionAnswers):
        raise Unassessable("there are no boxes")
    among = slice_of(gate)
    inside = in_subgroup(evidence, among) if among.kind == "subgroup" else np.ones(len(evidence.rows), bool)
    places = slice(None) if among.kind != "class" else slice(place := cases.class_place(among.class_name), place + 1)
    sets = _Sets(cases.before[places], cases.after[places], evidence.rows.units, gate.metric.endswith("_50"))
    before, after = (float(values[0]) for values in sets.values(inside[None].astype(np.int64)))
    estimate = compared(gate.comparison, before, after) if math.isfinite(before) else None
    if estimate is None or not math.isfinite(estimate):
        raise Unassessable(f"{gate.metric} is not defined for these cases: no label is there, or the original has 0")
    index, sizes = grouped(sets.units[inside])
    differing = _differing(gate, cases)[inside]
    changed = len(np.unique(index[differing]))
    lower, upper = _bounds(gate, sets, inside, evidence, estimate=estimate, changed=changed)
    words = {"all": "", "class": f" in class {among.class_name}"}.get(among.kind, f" in {among.subgroup}")
    count = int(inside.sum())
    observed = f"{gate.metric.replace('_', ' ')}{words} {before:.4f} → {after:.4f} over {count:,} images"
    return GateEstimate(
        estimate, lower, upper, before, after, count, changed, BOOTSTRAP + GUARDED, observed,
        clean="" if changed else "no change", units=len(sizes), counted="images",
    )  # fmt: skip


def _differing(gate: Gate, cases: DetectionAnswers) -> np.ndarray:
    """Return the images that decide a comparison: that changed, or in an absolute one all that have a label or box."""
    if gate.comparison in ("at_least", "at_most"):
        there = np.zeros(len(cases.rows), bool)
        for matched in cases.after:
            there[matched.images[~matched.right[0]]] = True
            hits = np.bincount(matched.images[matched.right[0]], minlength=len(there))
            there |= hits < matched.counts
        return there
    return cases.differing


def _bounds(
    gate: Gate, sets: _Sets, inside: np.ndarray, evidence: Evidence, *, estimate: float, changed: int
) -> tuple[float | None, float | None]:
    """Return one-sided bounds; of a drop, what fails makes it larger."""
    index, sizes = grouped(sets.units[inside])
    units, places = len(sizes), np.flatnonzero(inside)
    few = changed < LEAST_CHANGED
    failing = UNSEEN
    if few:
        failing = math.ceil(units * binomial_upper_bound(changed, units, evidence.confidence) - 1e-9)
    if failing >= units:
        return None, None
    held = np.sum([matched.counts for matched in sets.original], axis=0)
    labels = np.bincount(index, weights=held[inside], minlength=units)
    worst = np.isin(index, np.argsort(-labels, kind="stable")[:failing])
    fallen = np.zeros(len(inside), bool)
    fallen[places[worst]] = True
    failed = tuple(_fallen(*pair, fallen) for pair in zip(sets.candidate, sets.original, strict=True))
    left = replace(sets, candidate=failed)
    old, new = (float(values[0]) for values in left.values(inside[None].astype(np.int64)))
    guarded = compared(gate.comparison, old, new)
    rising = gate.comparison in ("drop_at_most", "rise_at_most")
    if few:
        return (None, guarded) if rising else (guarded, None)
    generator = np.random.default_rng(evidence.seed)
    drawn = generator.multinomial(units, np.full(units, 1 / units), size=RESAMPLES)
    counts = np.zeros((RESAMPLES, len(inside)), np.int64)
    counts[:, places] = drawn[:, index]
    old_values, new_values = sets.values(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = {
            "retention": new_values / old_values, "drop_at_most": old_values - new_values,
            "rise_at_most": new_values - old_values,
        }.get(gate.comparison, new_values)  # fmt: skip
    bounds = bootstrap_bounds(resampled, estimate, evidence.confidence)
    if bounds is None or guarded is None:
        return None, None
    return (bounds[0], max(bounds[1], guarded)) if rising else (min(bounds[0], guarded), bounds[1])


def _fallen(matched: ClassMatches, other: ClassMatches, fallen: np.ndarray) -> ClassMatches:
    """Return the matches with some images failed: false alarms before all others in the place of their boxes."""
    kept = ~fallen[matched.images]
    most = max(int(np.bincount(side.images, minlength=1).max(initial=0)) for side in (matched, other))
    alarms = np.repeat(np.flatnonzero(fallen), most)
    none = np.zeros((len(matched.right), len(alarms)), bool)
    return ClassMatches(
        np.concatenate([none, matched.right[:, kept]], axis=1),
        np.concatenate([alarms, matched.images[kept]]),
        np.concatenate([np.full(len(alarms), np.inf), matched.scores[kept]]),
        matched.counts,
    )
