"""Times, memory and bytes as a ratio to those of an earlier release, and answers beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.earlier.judging import beside_earlier, judge_with_earlier
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judgement
from titrant.runtime.values import Rows
from titrant.schema.gate import Contract, Gate

BLOCKS = [2] * 80


def figures(samples, blocks=BLOCKS, peaks=(5000,) * 6):
    return {"1": {"samples": list(samples), "blocks": list(blocks)}, "peak_samples": list(peaks)}


def answers(decisions):
    probabilities = np.full((len(decisions), 2), 0.1)
    probabilities[np.arange(len(decisions)), decisions] = 0.9
    return Answers(probabilities, np.asarray(decisions))


LABELS = np.array([0, 1] * 200)


def rows():
    count = len(LABELS)
    return Rows("evaluation", {}, LABELS, np.arange(count), np.arange(count, dtype=np.uint64), ("a", "b"), None, {}, {})


def evidence(new=None, stored=None, *, size=None, stored_size=None, candidate=LABELS, original=LABELS, released=None):
    old, made = answers(original), answers(candidate)
    base = Evidence(rows(), old, made, old.decisions == made.decisions, figures=new, size=size)
    beside = {}
    if released is not None:
        then = answers(released)
        beside["regression"] = Evidence(rows(), then, made, then.decisions == made.decisions)
    return beside_earlier(base, beside, {}, (stored, stored_size))


def row(metric, test, threshold, comparison="ratio_at_most"):
    return Gate("g", "regression", metric, "all", comparison, threshold, test, "here")


def judged(gate, seen):
    (result,) = judgement(Contract((gate,), 0.95, "proof"), "c", seen, judge_with_earlier).results
    return result


QUIET = np.random.default_rng(3).lognormal(np.log(0.001), 0.05, 160)


@pytest.mark.parametrize(("metric", "test"), [("latency_p50", "paired_median"), ("latency_p95", "percentile_ratio")])
def test_passes_fails_and_leaves_open_by_the_bound_of_the_ratio(metric, test):
    slower = figures(1.5 * QUIET)
    seen = evidence(slower, figures(QUIET))
    passed = judged(row(metric, test, 2.0), seen)
    assert passed.verdict == "PASS"
    assert passed.estimate == pytest.approx(1.5)
    assert "of the earlier release" in passed.reason
    assert judged(row(metric, test, 1.2), seen).verdict == "FAIL"
    assert judged(row(metric, test, 1.501 if test == "percentile_ratio" else 1.5), seen).verdict != "FAIL"


def test_pairs_turns_so_that_a_slow_machine_leaves_the_median_ratio_as_it_is():
    spell = np.where((np.arange(160) >= 40) & (np.arange(160) < 100), 8.0, 1.0)
    seen = evidence(figures(1.05 * QUIET * spell), figures(QUIET * spell))
    result = judged(row("latency_p50", "paired_median", 1.1), seen)
    assert (result.verdict, round(result.estimate, 6)) == ("PASS", 1.05)


def test_takes_the_bound_further_where_the_new_file_alone_is_slow_in_spells():
    spell = np.where((np.arange(160) >= 40) & (np.arange(160) < 70), 3.0, 1.0)
    result = judged(row("latency_p50", "paired_median", 1.3), evidence(figures(QUIET * spell), figures(QUIET)))
    assert result.verdict == "INCONCLUSIVE"
    assert result.upper > 1.3


@pytest.mark.parametrize(
    ("new", "stored", "why"),
    [
        (None, figures(QUIET), "not timed together"),
        (figures(QUIET), None, "not timed together"),
        (figures(QUIET), {"failed": "a node failed"}, "a node failed"),
        ({"peak_samples": []}, figures(QUIET), "was not timed"),
        (figures(QUIET[:60], [2] * 30), figures(QUIET), "not of the same turns"),
        (figures(QUIET), figures(0 * QUIET), "not of the same turns"),
        (figures(QUIET[:20], [2] * 10), figures(QUIET[:20], [2] * 10), "10 blocks of turns, and"),
    ],
)
def test_leaves_a_ratio_open_that_was_not_measured_on_both(new, stored, why):
    result = judged(row("latency_p95", "percentile_ratio", 1e9), evidence(new, stored))
    assert result.verdict == "INCONCLUSIVE"
    assert why in result.reason


def test_compares_memory_by_bounds_of_both_and_bytes_exactly():
    seen = evidence(figures(QUIET, peaks=(900,) * 6), figures(QUIET, peaks=(1000,) * 6), size=300, stored_size=200)
    assert judged(row("peak_memory", "peak_ratio", 0.9), seen).verdict == "PASS"
    assert judged(row("peak_memory", "peak_ratio", 0.89), seen).verdict == "FAIL"
    few = evidence(figures(QUIET, peaks=(900,) * 5), figures(QUIET, peaks=(1000,) * 5))
    assert "6 are needed" in judged(row("peak_memory", "peak_ratio", 2.0), few).reason
    assert judged(row("size", "size_ratio", 1.5), seen).verdict == "PASS"
    assert judged(row("size", "size_ratio", 1.49), seen).verdict == "FAIL"
    assert judged(row("size", "size_ratio", 9.0), evidence(size=300)).verdict == "INCONCLUSIVE"


def test_keeps_what_the_earlier_release_had_and_not_what_the_original_has():
    """The original loses 40 cases, the release none: what keeps all of the original loses a tenth of the release."""
    worse = LABELS.copy()
    worse[:40] = 1 - worse[:40]
    kept = row("accuracy", "score_ratio", 0.95, "retention")
    seen = evidence(candidate=worse, original=worse, released=LABELS)
    assert judged(kept, seen).verdict == "FAIL"
    assert judged(kept, evidence(candidate=LABELS, original=worse, released=LABELS)).verdict == "PASS"


def test_puts_a_row_beside_the_release_to_controls_made_of_the_release():
    """Controls are the release's own answers, broken: the original is better than it, and would pass while broken."""
    worse = LABELS.copy()
    worse[:100] = 1 - worse[:100]
    kept = row("accuracy", "score_ratio", 0.95, "retention")
    result = judged(kept, evidence(candidate=worse, original=LABELS, released=worse))
    assert (result.verdict, result.let_through) == ("PASS", "")
    assert set(result.refused) == {"permuted", "broken"}


def test_opens_a_row_beside_a_release_that_is_no_better_than_chance():
    """Its answers in another order are as good: whatever keeps what it has proves nothing, good as the original is."""
    chance = np.random.default_rng(5).permutation(LABELS)
    kept = row("accuracy", "score_ratio", 0.8, "retention")
    result = judged(kept, evidence(candidate=LABELS, original=LABELS, released=chance))
    assert (result.verdict, bool(result.let_through)) == ("INCONCLUSIVE", True)


def test_leaves_a_row_open_whose_release_nobody_answered():
    result = judged(Gate("g", "anchor", "accuracy", "all", "retention", 0.9, "score_ratio", "here"), evidence())
    assert (result.verdict, "was not answered" in result.reason) == ("INCONCLUSIVE", True)


@settings(max_examples=15)
@given(
    ratio=st.floats(0.5, 2.0),
    spread=st.floats(0.01, 0.3),
    seed=st.integers(0, 2**16),
    test=st.sampled_from([("latency_p50", "paired_median"), ("latency_p95", "percentile_ratio")]),
)
def test_bounds_lie_on_either_side_of_the_estimate_and_scale_with_it(ratio, spread, seed, test):
    generator = np.random.default_rng(seed)
    stored = generator.lognormal(-7, spread, 200)
    new = ratio * generator.lognormal(-7, spread, 200)
    result = judged(row(*test, 1.0), evidence(figures(new, [2] * 100), figures(stored, [2] * 100)))
    assert result.lower <= result.estimate <= result.upper
    again = judged(row(*test, 1.0), evidence(figures(4 * new, [2] * 100), figures(4 * stored, [2] * 100)))
    assert (again.lower, again.upper) == (pytest.approx(result.lower), pytest.approx(result.upper))
