"""Choosing what to judge from recorded figures."""

import math
from dataclasses import replace
from statistics import median

from hypothesis import assume, given
from hypothesis import strategies as st

from titrant.runtime.contract.statistics.paired_runs import TimedRuns, waiting_of
from titrant.runtime.run.choice.figures import CandidateTiming, Figures, Limit, TuningQuality, shown
from titrant.runtime.run.choice.own_figure import OwnFigure
from titrant.runtime.run.choice.shortlist import OBJECTIVES, better, shortlist, sort_key

OBJECTIVE = ("latency", "size")


def timed(wall, cpu=None):
    """Timing of runs in the order of the rounds; CPU time is the wall time of a quiet machine unless it is given."""
    cpu = wall if cpu is None else cpu
    return CandidateTiming(median(wall), TimedRuns(tuple(wall), tuple(cpu), waiting_of(wall, cpu, 1)))


def one(name, rank, latency, size, **quality):
    timing = timed([latency * (0.99 + 0.005 * (count % 5)) for count in range(60)])
    return Figures(name, rank, size, timing, TuningQuality(rows=1000, **quality))


def names(choices, shortlisted=True):
    return [choice.candidate for choice in choices if choice.shortlisted == shortlisted]


def test_keeps_each_candidate_that_beats_every_gentler_one_in_order_of_rank():
    found = [one("static", 2, 0.3, 100), one("plain", 0, 1.0, 400), one("dynamic", 1, 0.6, 100)]
    assert names(shortlist(found, OBJECTIVE, (), None, 4)) == ["plain", "dynamic", "static"]


def test_leaves_out_a_more_aggressive_candidate_that_is_hardly_faster_and_hardly_smaller():
    choices = shortlist([one("plain", 0, 1.0, 400), one("dynamic", 1, 0.98, 390)], OBJECTIVE, (), None, 4)
    assert names(choices) == ["plain"]
    assert choices[1].because == "no better than the gentler plain by more than 3% in latency or 10% in size"
    assert names(shortlist([one("plain", 0, 1.0, 400), one("x", 1, 0.95, 390)], OBJECTIVE, (), None, 4)) == [
        "plain",
        "x",
    ]


def runs_of(name, rank, size, ratios, **quality):
    """A candidate that takes so many times the millisecond that the rounds of another took."""
    return Figures(name, rank, size, timed([1e-3 * ratio for ratio in ratios]), TuningQuality(rows=1000, **quality))


def test_takes_the_gentler_of_two_where_the_smaller_file_is_shown_to_be_slower():
    """ResNet-20 with AMX: int8 was 7 % slower than bf16 by its own timing, counted as alike, and size decided."""
    bf16 = runs_of("openvino.bf16", 1, 400, [1.0] * 60)
    for slower, chosen in ((1.07, ["openvino.bf16"]), (1.02, ["openvino.bf16", "openvino.ptq"])):
        ptq = runs_of("openvino.ptq", 2, 100, [slower * (0.99 + 0.005 * (place % 5)) for place in range(60)])
        choices = shortlist([bf16, ptq], OBJECTIVE, (), None, 4)
        assert names(choices) == chosen
    ptq = runs_of("openvino.ptq", 2, 100, [1.07] * 60)
    because = shortlist([bf16, ptq], OBJECTIVE, (), None, 4)[1].because
    assert because == "1.07× slower than the gentler openvino.bf16 (1.07–1.07)"
    assert names(shortlist([bf16, ptq], ("size", "latency"), (), None, 4)) == ["openvino.bf16", "openvino.ptq"]


def test_lets_size_decide_only_where_the_runs_rule_out_that_the_smaller_file_is_a_tenth_slower():
    bf16 = runs_of("bf16", 1, 400, [1.0] * 60)
    for spread, chosen in ((0.05, ["bf16", "int8"]), (0.15, ["bf16"])):
        rounds = [1 + spread * (1 if place % 2 else -1) for place in range(60)]
        assert names(shortlist([bf16, runs_of("int8", 2, 100, rounds)], OBJECTIVE, (), None, 4)) == chosen
    # That it may be much faster is nothing that speaks against it.
    rounds = [1.01 if place % 2 else 0.6 for place in range(60)]
    assert names(shortlist([bf16, runs_of("int8", 2, 100, rounds)], OBJECTIVE, (), None, 4)) == ["bf16", "int8"]


def test_takes_a_small_difference_of_few_rounds_for_none():
    plain = runs_of("plain", 0, 400, [1.0] * 5)
    for faster, chosen in ((0.95, ["plain"]), (0.85, ["plain", "x"])):
        assert names(shortlist([plain, runs_of("x", 1, 400, [faster] * 5)], OBJECTIVE, (), None, 4)) == chosen
    slower = runs_of("x", 1, 100, [1.05] * 5)
    assert names(shortlist([plain, slower], OBJECTIVE, (), None, 4)) == ["plain", "x"]


def test_judges_one_plain_conversion_since_none_is_gentler_than_another():
    def plain(name, rank, latency, kept=1.0):
        return replace(one(name, rank, latency, 400, kept=kept, agreement=kept, original=0.9), plain=True)

    torchscript, onnx, openvino = plain("torchscript", 0, 3.0), plain("onnx", 1, 1.0), plain("openvino", 2, 1.4)
    choices = shortlist([torchscript, onnx, openvino, one("int8", 3, 0.5, 100)], OBJECTIVE, (), 0.95, 4)
    assert names(choices) == ["onnx", "int8"]
    because = {choice.candidate: choice.because for choice in choices}
    assert because["torchscript"] == "3.0× slower than onnx (3.0–3.0)"
    assert because["openvino"] == "1.40× slower than onnx (1.40–1.40)"
    for other in (("quality",), ("size",)):  # which do not tell them apart
        assert names(shortlist([torchscript, onnx, openvino], other, (), 0.95, 4)) == ["onnx"]
    # A conversion that lost something does not take the place of one that lost nothing.
    lossy = plain("onnx", 1, 1.0, kept=0.999)
    assert names(shortlist([torchscript, lossy], OBJECTIVE, (), 0.95, 4)) == ["torchscript", "onnx"]


def test_leaves_out_what_keeps_too_little_of_the_fine_tuned_original():
    found = [one("int8", 0, 1.0, 400, kept=0.99, agreement=0.99, original=0.8)]
    found.append(one("smaller", 1, 0.5, 100, kept=1.02, fine_tuned=0.9, agreement=0.95, original=0.8))
    choices = shortlist(found, OBJECTIVE, (), 0.97, 4)
    assert names(choices) == ["int8"]
    assert "it keeps 0.9000 of the fine-tuned original's quality" in choices[1].because


def test_lets_size_decide_when_latencies_are_as_good_as_each_other():
    found = [one("plain", 0, 1.0, 400), one("int8", 1, 0.97, 100)]
    assert names(shortlist(found, OBJECTIVE, (), None, 4)) == ["plain", "int8"]


def test_leaves_out_what_a_target_limit_would_fail_so_that_it_does_not_stop_the_judging():
    found = [one("plain", 0, 1.0, 400), one("int8", 1, 0.5, 100)]
    choices = shortlist(found, OBJECTIVE, (Limit("size", "at_most", 200),), None, 4)
    assert names(choices) == ["int8"]
    assert "its size is 400 B, the target says at most 200 B" in choices[1].because


def test_leaves_out_what_runs_otherwise_than_planned_so_that_it_does_not_stop_the_judging():
    found = [one("plain", 0, 1.0, 400, as_planned=0.75), one("int8", 1, 0.5, 100, as_planned=1.0), one("x", 2, 0.2, 9)]
    limit = Limit("layers_as_planned", "at_least", 1.0)
    choices = shortlist(found, OBJECTIVE, (limit,), None, 4)
    assert names(choices) == ["int8", "x"]
    assert choices[-1].because == "25% of its layers run in another precision than was planned"
    (nearest,) = shortlist(found[:1], OBJECTIVE, (limit,), None, 4)
    assert nearest.shortlisted  # so that the report shows the row that fails


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
    assert choices[1].because == "1.20× slower than the gentler plain (1.20–1.20)"


def test_names_the_figures_of_an_objective_that_is_not_about_time():
    found = [one("plain", 0, 1.0, 100), one("int8", 1, 1.0, 400)]
    assert (
        shortlist(found, ("size",), (), None, 4)[1].because
        == "its size of 400 B is worse than 100 B of the gentler plain"
    )


def busy(quiet, stolen, seed):
    """Runs of a model on a machine that takes `stolen` seconds from every other run, elsewhere for each model."""
    wall = [quiet + stolen * ((count * 7 + seed) % 10 < 6) for count in range(60)]
    return timed(wall, [quiet * (1 + 0.002 * (count % 7)) for count in range(60)])


def test_does_not_release_a_slower_file_whose_interval_overlaps_on_a_busy_machine():
    """vision/02: medians of 1.6 and 16.2 ms, quiet 0.74 and 1.5 ms; the overlap counted as a tie, and size decided."""
    unchanged = Figures("unchanged", 0, 585_523, busy(0.74e-3, 15e-3, 0))
    static = Figures("ort.static", 4, 320_717, busy(1.5e-3, 15e-3, 3))
    choices = shortlist([unchanged, static], OBJECTIVE, (), 0.98, 4)
    assert names(choices) == ["unchanged"]
    assert choices[1].because == (
        "2.0× slower than the gentler unchanged (2.0–2.0), by CPU time, since the machine was busy"
    )


def test_says_by_which_clock_a_faster_file_was_chosen_on_a_busy_machine():
    found = [Figures("plain", 0, 100, busy(2e-3, 9e-3, 0)), Figures("fast", 1, 100, busy(1e-3, 9e-3, 3))]
    choices = shortlist(found, OBJECTIVE, (), None, 4)
    assert names(choices) == ["plain", "fast"]
    assert "better than every gentler one in latency, by CPU time, since the machine was busy" in choices[1].because


def test_leaves_what_it_cannot_tell_to_no_later_objective():
    # Two threads: process CPU time is no measure of a run.
    stolen = [0.7, 9.0, 0.8, 11.0, 0.9, 8.0] * 10
    untold = CandidateTiming(median(stolen), TimedRuns(tuple(stolen), (), 4.0))
    found = [
        Figures("plain", 0, 400, CandidateTiming(1.0, TimedRuns((1.0,) * 60, (), 1.0))),
        Figures("b", 1, 100, untold),
    ]
    choices = shortlist(found, OBJECTIVE, (), None, 4)
    assert names(choices) == ["plain"]
    assert choices[1].because == (
        "the machine was too busy to tell whether it is faster than the gentler plain (0.12–1.11×)"
    )
    assert better(found[1], found[0], OBJECTIVE) == 0
    assert better(found[1], found[0], ("size",)) == 1


def test_says_that_so_few_runs_tell_nothing():
    few = (0.5, 2.0, 0.9)
    found = [
        Figures("plain", 0, 400, CandidateTiming(1.0, TimedRuns((1.0,) * 3, (1.0,) * 3, 1.0))),
        Figures("b", 1, 100, CandidateTiming(median(few), TimedRuns(few, few, 1.0))),
    ]
    choices = shortlist(found, OBJECTIVE, (), None, 4)
    assert choices[1].because == "there are too few runs to tell whether it is faster than the gentler plain"


spells = st.lists(st.floats(1.0, 50.0), min_size=59, max_size=90)
jitter = st.floats(0.97, 1.03)


@given(spells, st.floats(1.3, 20.0), st.data())
def test_never_takes_for_faster_what_is_slower_in_every_round(spell, slower, data):
    wobble = data.draw(st.lists(jitter, min_size=len(spell), max_size=len(spell)))
    plain = [1e-3 * common for common in spell]
    slow = [slower * run * off for run, off in zip(plain, wobble, strict=True)]
    found = [
        Figures("plain", 0, 400, timed(plain, [1e-3] * len(spell))),
        Figures("slow", 1, 100, timed(slow, [1e-3 * slower * off for off in wobble])),
    ]
    assert names(shortlist(found, OBJECTIVE, (), None, 4)) == ["plain"]
    found = [Figures("slow", 0, 400, found[1].timing), Figures("plain", 1, 400, found[0].timing)]
    assert names(shortlist(found, OBJECTIVE, (), None, 4)) == ["slow", "plain"]


@given(st.floats(0.05, 20.0), spells, st.floats(0, 100.0))
def test_never_changes_its_mind_for_what_slows_every_model_of_a_round(ratio, spell, added):
    """A slow spell multiplies both runs of a round, another process takes the same from both.

    What is taken from both hides a part of a gap, a fifth of a run at most until CPU time decides: a gap of 13 % stays.
    """
    assume(not math.log(1.1) < abs(math.log(ratio)) < math.log(1.13))
    quiet = {"plain": [1.0] * len(spell), "other": [ratio] * len(spell)}
    slowed = {
        name: [
            run * common + added * (place % 3 > 0) for place, (run, common) in enumerate(zip(runs, spell, strict=True))
        ]
        for name, runs in quiet.items()
    }

    def chosen(wall):
        rank = {"plain": 0, "other": 1}
        made = [Figures(name, rank[name], 100, timed(wall[name], quiet[name])) for name in quiet]
        return names(shortlist(made, OBJECTIVE, (), None, 4))

    assert chosen(slowed) == chosen(quiet)


def test_leaves_out_what_is_bound_to_miss_batch_invariance():
    limit = Limit("batch_invariance", "at_least", 0.98)
    mixed = replace(one("dynamic", 1, 0.3, 100), batch_invariance=0.91)
    choices = shortlist([one("plain", 0, 1.0, 400), mixed], OBJECTIVE, (limit,), None, 4)
    assert names(choices) == ["plain"]
    assert choices[1].because == (
        "at best 0.9100 of its answers to tuning rows stay in other company, at least 0.9800 is asked"
    )


def plainly(name, rank, **values):
    """Figures of which no runs are known."""
    timing = CandidateTiming(p50=values.get("latency"), throughput=values.get("throughput"),
                             peak_memory=values.get("peak_memory"))  # fmt: skip
    return Figures(name, rank, values.get("size", 100), timing, TuningQuality(kept=values.get("quality"), rows=1000))


POSITIVE = st.none() | st.floats(1e-6, 1e6)
FIGURES = st.lists(
    st.fixed_dictionaries(
        {"latency": POSITIVE, "throughput": POSITIVE, "peak_memory": POSITIVE, "quality": st.none() | st.floats(0.5, 1),
         "size": st.integers(1, 10**9)}
    ),
    min_size=1, max_size=7,
)  # fmt: skip
LISTS = st.permutations(tuple(OBJECTIVES)).flatmap(lambda order: st.integers(1, 5).map(lambda count: order[:count]))


@given(FIGURES, LISTS, st.integers(2, 4), st.randoms())
def test_always_judges_the_gentlest_and_the_best_and_never_more_than_it_may(values, objective, length, random):
    found = [plainly(f"c{rank}", rank, **each) for rank, each in enumerate(values)]
    chosen = names(shortlist(found, objective, (), None, length))
    assert chosen[0] == "c0"
    assert len(chosen) <= length
    assert chosen == sorted(chosen)
    # What beats every other in turn is never lost, however short the list.
    for item in found:
        if all(better(item, other, objective) > 0 for other in found if other is not item):
            assert item.candidate in chosen
    random.shuffle(found)
    assert names(shortlist(found, objective, (), None, length)) == chosen


@given(FIGURES, LISTS)
def test_orders_candidates_totally_whatever_the_objectives(values, objective):
    found = [plainly(f"c{rank}", rank, **each) for rank, each in enumerate(values)]
    keys = [sort_key(item, found[0], objective) for item in found]
    assert all(not math.isnan(part) for key in keys for part in key)
    assert len(set(keys)) == len(keys)


def test_goes_through_the_whole_list_of_objectives():
    found = [
        plainly("plain", 0, latency=1.0, peak_memory=100.0, quality=1.0, size=400),
        plainly("small", 1, latency=1.02, peak_memory=98.0, quality=1.0, size=100),
        plainly("light", 2, latency=1.05, peak_memory=50.0, quality=1.0, size=410),
        plainly("fast", 3, latency=0.5, peak_memory=200.0, quality=0.99, size=500),
    ]
    for objective, chosen in (
        (("latency",), ["plain", "fast"]),
        (("latency", "peak_memory"), ["plain", "light", "fast"]),
        (("latency", "peak_memory", "size"), ["plain", "small", "light", "fast"]),
        (("latency", "size"), ["plain", "small", "fast"]),
        (("quality", "peak_memory"), ["plain", "light"]),
        (("size", "latency"), ["plain", "small"]),
    ):
        assert names(shortlist(found, objective, (), None, 4)) == chosen


def test_lets_later_objectives_decide_who_stays_where_the_list_is_too_short():
    found = [
        plainly("plain", 0, latency=1.0, peak_memory=100.0),
        plainly("heavy", 1, latency=0.5, peak_memory=100.0, size=10),
        plainly("light", 2, latency=0.5, peak_memory=50.0),
    ]
    assert names(shortlist(found, ("latency", "peak_memory"), (), None, 2)) == ["plain", "light"]


def costing(candidate, rank, cost, error=0.01, *, original=0.5, latency=1.0):
    """A candidate with a metric of the user's own, of which less is better, from 0 to 5."""
    own = OwnFigure("scores:harm_rate", False, 0.0, 5.0, original, cost, error)
    return replace(plainly(candidate, rank, latency=latency), own=(own,))


def test_a_metric_of_the_users_own_orders_by_its_direction_and_beyond_chance_alone():
    plain, better_by_tenth = costing("plain", 0, 0.5), costing("mended", 1, 0.4)
    noisy, dearer = costing("noisy", 2, 0.3, error=0.2), costing("int8", 3, 0.6, latency=0.1)
    choices = shortlist([plain, better_by_tenth, noisy, dearer], ("scores:harm_rate",), (), None, 4)
    assert names(choices) == ["plain", "mended"]
    because = {choice.candidate: choice.because for choice in choices}
    assert because["mended"] == (
        "judged second, better than every gentler one in scores:harm_rate: scores:harm_rate 0.4000"
    )
    assert because["noisy"].startswith("no better than the gentler plain by more than 10% in scores:harm_rate")
    assert because["int8"] == "its scores:harm_rate of 0.6000 is worse than 0.5000 of the gentler plain"
    assert names(shortlist([plain, dearer], ("latency", "scores:harm_rate"), (), None, 4)) == ["plain", "int8"]
    assert shown(dearer)["scores:harm_rate"] == 0.6


def test_a_gap_of_it_is_a_share_of_what_is_left_to_lose_or_to_gain():
    """A score of .96 beside .98 has twice as far to go, and a perfect original leaves chance alone to decide."""
    low = replace(costing("low", 0, 0.0), own=(OwnFigure("m:f", True, 0.0, 1.0, 0.96, 0.96, 0.0),))
    high = replace(costing("high", 1, 0.0), own=(OwnFigure("m:f", True, 0.0, 1.0, 0.96, 0.98, 0.0),))
    assert better(high, low, ("m:f",)) == 1
    assert better(costing("a", 0, 0.0, original=0.0), costing("b", 1, 0.1, original=0.0), ("scores:harm_rate",)) == 1
    unknown = replace(high, own=())
    assert better(unknown, low, ("m:f",)) == 0
    assert sort_key(unknown, low, ("m:f",))[0] == math.inf


def test_leaves_out_who_harms_a_subgroup_and_of_nothing_but_those_takes_who_harms_least():
    plain, static = one("plain", 0, 1.0, 400, kept=1.0), one("static", 2, 0.3, 100, kept=0.99)
    dynamic = replace(one("dynamic", 1, 0.6, 200, kept=0.99), harms="accuracy on subgroup site.b comes to 0.5000")
    choices = shortlist([plain, dynamic, static], OBJECTIVE, (), 0.95, 4)
    assert names(choices) == ["plain", "static"]
    assert choices[-1].because == dynamic.harms
    spent = {"plain": 2.0, "static": 3.0}
    harming = [
        replace(each, harms="b", tuning=replace(each.tuning, groups={"b": {"spent": spent[each.candidate]}}))
        for each in (plain, static)
    ]
    (chosen, _) = shortlist(harming, OBJECTIVE, (), 0.95, 4)
    assert chosen.candidate == "plain"
    assert chosen.because == "nothing looks able to keep the contract; this comes nearest: b"
