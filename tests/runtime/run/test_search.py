"""Choosing what to judge from recorded figures."""

from dataclasses import replace

from titrant.runtime.run.search import CandidateTiming, Figures, Limit, TuningQuality, better, shortlist

OBJECTIVE = ("latency", "size")


def one(name, rank, latency, size, **quality):
    timing = CandidateTiming(latency, (latency * 0.99, latency * 1.01))
    return Figures(name, rank, size, timing, TuningQuality(rows=1000, **quality))


def names(choices, shortlisted=True):
    return [choice.candidate for choice in choices if choice.shortlisted == shortlisted]


def test_keeps_each_candidate_that_beats_every_gentler_one_in_order_of_rank():
    found = [one("static", 2, 0.3, 100), one("plain", 0, 1.0, 400), one("dynamic", 1, 0.6, 100)]
    assert names(shortlist(found, OBJECTIVE, (), None, 4)) == ["plain", "dynamic", "static"]


def test_leaves_out_a_more_aggressive_candidate_that_is_not_better_by_more_than_a_tenth():
    choices = shortlist([one("plain", 0, 1.0, 400), one("dynamic", 1, 0.95, 390)], OBJECTIVE, (), None, 4)
    assert names(choices) == ["plain"]
    assert choices[1].because == "no better than the gentler plain by more than 10% in latency or size"


def test_lets_size_decide_when_latencies_are_as_good_as_each_other():
    found = [one("plain", 0, 1.0, 400), one("int8", 1, 0.97, 100)]
    assert names(shortlist(found, OBJECTIVE, (), None, 4)) == ["plain", "int8"]


def test_counts_no_gap_between_latencies_whose_intervals_overlap():
    noisy = Figures("noisy", 1, 100, CandidateTiming(0.8, (0.5, 1.2)))
    assert better(noisy, one("plain", 0, 1.0, 100), ("latency",)) == 0
    assert better(one("fast", 1, 0.8, 100), one("plain", 0, 1.0, 100), ("latency",)) == 1


def test_leaves_out_what_a_target_limit_would_fail_so_that_it_does_not_stop_the_judging():
    found = [one("plain", 0, 1.0, 400), one("int8", 1, 0.5, 100)]
    choices = shortlist(found, OBJECTIVE, (Limit("size", "at_most", 200),), None, 4)
    assert names(choices) == ["int8"]
    assert "its size is 400 B, the target says at most 200 B" in choices[1].because


def test_gives_up_quality_only_beyond_what_chance_explains():
    bad = one("bad", 1, 0.5, 100, kept=0.90, agreement=0.91, original=0.9)
    close = one("close", 2, 0.3, 100, kept=0.945, agreement=0.95, original=0.9)
    choices = shortlist([one("plain", 0, 1.0, 400), bad, close], OBJECTIVE, (), 0.95, 4)
    assert names(choices) == ["plain", "close"]
    assert "it keeps 0.9000 of the original's quality" in choices[2].because


def test_judges_the_nearest_miss_when_everything_is_hopeless():
    found = [
        one(name, rank, 1.0, 100, kept=quality, agreement=quality, original=1.0)
        for name, rank, quality in (("a", 0, 0.5), ("b", 1, 0.7), ("c", 2, 0.6))
    ]
    choices = shortlist(found, OBJECTIVE, (), 0.95, 4)
    assert names(choices) == ["b"]
    assert "nothing looks able to keep the contract" in choices[0].because


def test_keeps_the_gentlest_and_the_best_of_the_others_when_there_are_too_many():
    found = [one(f"c{rank}", rank, 1.0 / (rank + 1), 100) for rank in range(6)]
    choices = shortlist(found, OBJECTIVE, (), None, 3)
    assert names(choices) == ["c0", "c4", "c5"]
    assert names(choices, shortlisted=False) == ["c1", "c2", "c3"]


def test_does_not_depend_on_the_order_in_which_equal_candidates_are_given():
    found = [one("a", 1, 0.5, 100), one("b", 1, 0.5, 100), one("plain", 0, 1.0, 100)]
    assert names(shortlist(found, OBJECTIVE, (), None, 4)) == ["plain", "a"]


def test_takes_more_throughput_and_quality_as_better():
    fast = Figures("fast", 0, 1, CandidateTiming(throughput=200.0), TuningQuality(0.8))
    slow = Figures("slow", 0, 1, CandidateTiming(throughput=100.0), TuningQuality(0.95))
    assert better(fast, slow, ("throughput",)) == 1
    assert better(fast, slow, ("quality",)) == -1


def test_names_the_figures_where_a_gentler_candidate_is_better():
    choices = shortlist([one("plain", 0, 1.0, 400), one("int8", 1, 1.2, 100)], OBJECTIVE, (), None, 4)
    assert choices[1].because == "its latency of 1.2 s is worse than 1 s of the gentler plain"


def test_leaves_out_what_is_bound_to_miss_batch_invariance():
    limit = Limit("batch_invariance", "at_least", 0.98)
    mixed = replace(one("dynamic", 1, 0.3, 100), batch_invariance=0.91)
    choices = shortlist([one("plain", 0, 1.0, 400), mixed], OBJECTIVE, (limit,), None, 4)
    assert names(choices) == ["plain"]
    assert choices[1].because == (
        "at best 0.9100 of its answers to tuning rows stay in other company, at least 0.9800 is asked"
    )
