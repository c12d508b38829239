"""Put each gate to answers that it must refuse: a gate that lets them through proves nothing of a candidate.

The controls are made of the original's own answers. A comparison that could not have found a difference shows no
equivalence (ICH E10, "assay sensitivity").
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.case_tests import (
    broken_cases,
    image_set_of,
    is_by_case,
    of_one_label,
    permuted_cases,
)
from titrant.runtime.contract.evidence import (
    OF_A_CLASS,
    Evidence,
    SliceAnswers,
    Unlabeled,
    beside,
    select,
    slice_answers,
)
from titrant.runtime.contract.metrics import METRICS, hits
from titrant.runtime.contract.paired_tests import compared
from titrant.runtime.contract.statistics.recalibration import FITS, distorted, logits
from titrant.runtime.contract.statistics.units import distinct_units, grouped
from titrant.runtime.contract.tasks.scores import Unassessable
from titrant.runtime.contract.verdict import meets, tolerable
from titrant.schema.gate import (
    BROKEN,
    MISCALIBRATED,
    NET_BENEFIT,
    PERMUTED,
    SHARES,
    WITHOUT,
    Contract,
    Gate,
    GateResult,
    controls_of,
    slice_of,
)
from titrant.schema.values.slice import Slice

JudgeGate = Callable[[Gate, Evidence], GateResult]
# Broken answers lose so many times what the gate forbids, and this share of the units at least.
_TIMES, _LEAST_SHARE = 2.0, 0.05
# Tests whose bounds take long and whose estimate is quick to have: a control whose estimate misses is refused anyhow.
_SLOW = ("bootstrap", "image_bootstrap", "paired_mean", "delong")


@dataclass(frozen=True)
class Control:
    """Answers that a gate must refuse, as what a candidate's would be, and what they are in words."""

    name: str
    evidence: Evidence
    words: str


def put_to_controls(
    contract: Contract, results: Sequence[GateResult], evidence: Evidence, judge: JudgeGate
) -> tuple[GateResult, ...]:
    """Open every gate that would also let a control through and say which; the others say what they refused.

    A gate that holds the candidate back by itself is put to nothing. Where the gates on answers would together let the
    best constant answer through, all of them are opened.
    """
    gates = {gate.id: gate for gate in contract.gates}
    judged = tuple(_controlled(gates[result.gate], result, contract, evidence, judge) for result in results)
    words = _constant_let_through(contract, judged, evidence, judge)
    if not words:
        return judged
    return tuple(
        _opened(result, words) if controls_of(gates[result.gate]) and not result.let_through else result
        for result in judged
    )


def _controlled(gate: Gate, result: GateResult, contract: Contract, evidence: Evidence, judge: JudgeGate) -> GateResult:
    if not controls_of(gate) or not _lets_through(gate, result, contract.require):
        return result
    refused = []
    for control in controls(gate, beside(gate, evidence)):
        if _passes(gate, control.evidence, contract.require, judge):
            return _opened(result, control.words)
        refused.append(control.name)
    return replace(result, refused=tuple(refused))


def _opened(result: GateResult, words: str) -> GateResult:
    reason = f"it would also pass {words}, and so proves nothing; seen of the candidate: {result.reason}"
    return replace(result, verdict="INCONCLUSIVE", reason=reason, let_through=words)


def _lets_through(gate: Gate, result: GateResult, require: str) -> bool:
    return result.verdict == "PASS" or (require == "evidence" and result.assessable and tolerable(gate, result))


def _passes(gate: Gate, control: Evidence, require: str, judge: JudgeGate) -> bool:
    if gate.test in _SLOW and not meets(gate, _estimate(gate, control)):
        return False
    return _lets_through(gate, judge(gate, control), require)


def _estimate(gate: Gate, evidence: Evidence) -> float | None:
    """Return what the gate compares, without bounds; None where these cases do not define it."""
    if gate.test == "image_bootstrap":
        images = image_set_of(gate, evidence)
        return None if images is None else images.once()[2]
    try:
        cases = slice_answers(evidence, gate.metric, slice_of(gate))
    except Unassessable:
        return None
    compute = METRICS[gate.metric]
    before, after = (compute(answers, cases.labels, cases.positive) for answers in (cases.original, cases.candidate))
    if gate.metric == "brier" and gate.comparison == "retention":
        before, after = after, before  # smaller is better
    return compared(gate.comparison, before, after)


def controls(gate: Gate, evidence: Evidence) -> Iterator[Control]:
    """Yield the answers that a gate must refuse; none where the cases leave nothing to permute or to break."""
    try:
        evidence = of_one_label(gate, evidence)
    except Unassessable:
        return  # the gate itself says what is missing
    for name in controls_of(gate):
        # Gates that are put to the same answers follow one another, and only the last are kept.
        key = name if name == PERMUTED else _breaks(gate)
        if evidence.made.get(name, (None, None))[0] != key:
            evidence.made[name] = key, _made(name, gate, evidence)
        control = evidence.made[name][1]
        if control is not None:
            yield control


def _made(name: str, gate: Gate, evidence: Evidence) -> Control | None:
    if name == PERMUTED:
        return _permuted(evidence)
    if name == WITHOUT:
        return _without(gate, evidence)
    return _broken(gate, evidence) if name == BROKEN else _miscalibrated(gate, evidence)


def _miscalibrated(gate: Gate, evidence: Evidence) -> Control | None:
    """Take the original's decisions with scores that are further off than the gate allows."""
    try:
        cases = slice_answers(evidence, gate.metric, slice_of(gate))
    except Unassessable:
        return None
    positive = cases.positive
    if positive is None or evidence.original is None:
        return None
    labels = (cases.labels == positive).astype(np.float64)
    fitted = FITS[gate.metric](logits(cases.original.probabilities[:, positive]), labels)
    if fitted is None:
        return None  # the gate itself says what is missing
    change = fitted.value, _missed(gate, fitted.value)
    scores = distorted(evidence.original.probabilities, positive, gate.metric, change)
    answers = replace(evidence.original, probabilities=scores)
    words = "the original with scores further off than is allowed"
    return Control(MISCALIBRATED, replace(evidence, candidate=answers), words)


def _without(gate: Gate, evidence: Evidence) -> Control | None:
    """Take the original's answers without the objects that the gate is about."""
    name = slice_of(gate).class_name
    try:
        cases = None if evidence.cases is None else evidence.cases.without(name)
    except Unassessable:
        return None  # the gate itself says what is missing
    if cases is None:
        return None
    words = f"the original without {f'the class {name}' if name else 'any object'}"
    return Control(WITHOUT, replace(evidence, cases=cases), words)


def _missed(gate: Gate, value: float) -> float:
    """Return a coefficient that misses the gate by as much as it allows, given the original's own."""
    if gate.comparison in ("drop_at_most", "rise_at_most"):
        off = max(_LEAST_SHARE, _TIMES * gate.threshold)
        return value - off if gate.comparison == "drop_at_most" else value + off
    off = max(_LEAST_SHARE, abs(value - gate.threshold))
    return gate.threshold - off if gate.comparison == "at_least" else gate.threshold + off


def _permuted(evidence: Evidence) -> Control | None:
    """Give every row the original's answer to another one."""
    words = "the original's answers in another order"
    if evidence.original is None:
        cases = permuted_cases(evidence)
        alike = evidence.permuted_alike
        if alike is None:
            return None if cases is None else Control(PERMUTED, replace(evidence, cases=cases), words)
        return Control(PERMUTED, replace(evidence, alike=alike, cases=cases), words)
    order = np.random.default_rng(evidence.seed).permutation(len(evidence.rows))
    answers = evidence.original.of(order)
    alike = evidence.original.decisions == answers.decisions
    return Control(
        PERMUTED, replace(evidence, candidate=answers, alike=alike, unlabeled=_unlabeled(evidence, None)), words
    )


def _unlabeled(evidence: Evidence, answers: Callable[[Unlabeled], Answers] | None) -> Unlabeled | None:
    """Return the rows without labels with other answers as the candidate's; None: the original's in another order."""
    further = evidence.unlabeled
    if further is None:
        return None
    if answers is None:
        order = np.random.default_rng(evidence.seed).permutation(len(further.rows))
        return replace(further, candidate=further.original.of(order))
    return replace(further, candidate=answers(further))


def _breaks(gate: Gate) -> tuple[object, ...]:
    """Return what tells which answers a gate breaks."""
    among = slice_of(gate).sides()[0] if gate.comparison == "ratio_at_least" else slice_of(gate)
    return gate.metric, among, gate.comparison in ("retention", "ratio_at_least"), forbidden(gate)


def _broken(gate: Gate, evidence: Evidence) -> Control | None:
    """Let the original's answers lose twice what the gate forbids, one unit in twenty at least."""
    if is_by_case(gate, evidence):
        broken = broken_cases(gate, evidence, _units_of, times=_TIMES, least=_LEAST_SHARE)
        if broken is None:
            return None
        cases, share = broken
        words = f"the original with {share:.3g} of its cases broken"
        return Control(BROKEN, replace(evidence, cases=cases), words)
    share = min(1.0, max(_LEAST_SHARE, _TIMES * forbidden(gate)))
    words = f"the original with {share:.3g} of its cases broken"
    among = slice_of(gate).sides()[0] if gate.comparison == "ratio_at_least" else slice_of(gate)
    try:
        if gate.metric in SHARES and evidence.original is None:
            chosen, _ = select(evidence, among)
            rows = _units_of(evidence.rows.units, chosen, chosen, share, evidence.seed)
            return Control(BROKEN, replace(evidence, alike=~rows), words)
        counted, right = _counted(gate.metric, slice_answers(evidence, gate.metric, among), evidence, among)
    except (Unassessable, KeyError):
        return None  # the gate itself says what is missing
    assert evidence.original is not None  # there are labels: cases of a slice have them
    base = right if gate.comparison in ("retention", "ratio_at_least") or gate.metric == "kept" else counted
    rows = _units_of(evidence.rows.units, base, right, share, evidence.seed)
    if not rows.any():
        return None
    positive = slice_answers(evidence, gate.metric, among).positive
    answers = _spoiled(evidence.original, rows, positive)
    alike = evidence.original.decisions == answers.decisions

    def spoiled(further: Unlabeled) -> Answers:
        breakable = _breakable(gate.metric, further, positive)
        chosen = _units_of(further.rows.units, breakable, breakable, share, evidence.seed)
        return _spoiled(further.original, chosen, positive)

    further = _unlabeled(evidence, spoiled)
    return Control(BROKEN, replace(evidence, candidate=answers, alike=alike, unlabeled=further), words)


def _breakable(metric: str, further: Unlabeled, positive: int | None) -> np.ndarray:
    """Return the rows without labels that a gate may lose if their answer is broken; (rows,) bool."""
    decisions = further.original.decisions
    if metric in ("kept", "sensitivity"):
        return np.asarray(decisions == positive)
    return np.asarray(decisions != positive) if metric == "specificity" else np.ones(len(decisions), bool)


def forbidden(gate: Gate) -> float:
    """Return the loss, as a share of the cases, that a gate forbids from there on."""
    return gate.threshold if gate.comparison in ("drop_at_most", "rise_at_most") else 1.0 - gate.threshold


def _counted(metric: str, cases: SliceAnswers, evidence: Evidence, among: Slice) -> tuple[np.ndarray, np.ndarray]:
    """Return which of all rows a metric counts, and of which the original's answer can be broken; (rows,) bool."""
    assert evidence.original is not None
    assert evidence.rows.labels is not None
    labels, decisions = evidence.rows.labels, evidence.original.decisions
    of_a_class = among.kind == "class" and metric in OF_A_CLASS
    inside = np.ones(len(labels), bool) if of_a_class else select(evidence, among)[0]
    if metric in ("agreement", "same_decision"):
        return inside, inside
    if metric == NET_BENEFIT:
        return inside, inside & (labels == cases.positive) & (decisions == cases.positive)
    about = {"kept": "sensitivity"}.get(metric, metric if metric in ("sensitivity", "specificity") else "accuracy")
    counted, right = hits(about, decisions, labels, cases.positive)
    return counted & inside, counted & right & inside


def _units_of(units: np.ndarray, base: np.ndarray, breakable: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose units with something to break until that is a share of the rows in `base`, or all; returns those rows."""
    names, sizes = distinct_units(units[breakable]), grouped(units[breakable])[1]
    order = np.random.default_rng(seed).permutation(len(names))
    # Of a unit some rows may have nothing to break, so that a share of the units is a smaller one of the rows.
    enough = np.searchsorted(np.cumsum(sizes[order]), share * np.count_nonzero(base) - 1e-9) + 1
    some = names[order][:enough]
    rows: np.ndarray = np.isin(units, some, kind="table" if np.ptp(units) <= 8 * len(units) else None) & breakable
    return rows


def _spoiled(original: Answers, rows: np.ndarray, positive: int | None) -> Answers:
    """Answer some rows wrongly, as surely as the original answered: its probabilities of two classes change places."""
    probabilities, decisions = original.probabilities.copy(), original.decisions.copy()
    places = np.flatnonzero(rows)
    before = decisions[places]
    wrong = _another(before, probabilities.shape[1], positive)
    decisions[places] = wrong
    probabilities[places, before], probabilities[places, wrong] = (
        probabilities[places, wrong],
        probabilities[places, before],
    )
    return replace(original, probabilities=probabilities, decisions=decisions)


def _another(decisions: np.ndarray, count: int, positive: int | None) -> np.ndarray:
    """Return another of so many classes for each decision: the one that a gate is about for every other, if any."""
    following = (decisions + 1) % count
    if positive is None:
        return following
    return np.where(decisions == positive, following, positive)


def _constant(shares: np.ndarray, index: int, further: Unlabeled) -> Answers:
    count = len(further.rows)
    return Answers(np.tile(shares, (count, 1)), np.full(count, index), further.original.threshold)


def _constant_let_through(
    contract: Contract, judged: Sequence[GateResult], evidence: Evidence, judge: JudgeGate
) -> str:
    """Return in words the constant answer that every gate on answers would let through, "" where each is refused."""
    verdicts = {result.gate: result for result in judged}
    gates = [gate for gate in contract.gates if controls_of(gate)]
    held_back = [gate for gate in gates if not _lets_through(gate, verdicts[gate.id], contract.require)]
    if evidence.cases is not None and gates and not held_back:
        return _constant_case(gates, contract, evidence, judge)
    if evidence.original is None or evidence.rows.labels is None or not gates or held_back:
        return ""
    shares = np.bincount(evidence.rows.labels, minlength=len(evidence.rows.classes)) / len(evidence.rows)
    for index, name in enumerate(evidence.rows.classes):
        decisions = np.full(len(evidence.rows), index)
        answers = Answers(np.tile(shares, (len(decisions), 1)), decisions, evidence.original.threshold)
        further = _unlabeled(evidence, partial(_constant, shares, index))
        alike = evidence.original.decisions == decisions
        control = replace(evidence, candidate=answers, alike=alike, unlabeled=further)
        if all(_passes(gate, control, contract.require, judge) for gate in gates):
            return f"the constant answer {name}"
    return ""


def _constant_case(gates: Sequence[Gate], contract: Contract, evidence: Evidence, judge: JudgeGate) -> str:
    best = None if evidence.cases is None else evidence.cases.constant()
    if best is None:
        return ""
    answers, words = best
    # It answers as the original does in next to no case.
    control = replace(evidence, cases=answers, alike=np.zeros(len(evidence.rows), bool))
    passes = all(_passes(gate, control, contract.require, judge) for gate in gates)
    return f"the constant answer {words}" if passes else ""
