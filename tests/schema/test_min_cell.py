"""What leaves the home of a judgement on very few cases: the verdict, and no figure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.schema.gate import Contract, Gate, GateResult, Judgement, reason_words
from titrant.schema.min_cell import without_small_groups


def gate(name, slice="all", metric="accuracy", comparison="retention"):
    return Gate(name, "gates", metric, slice, comparison, 0.9, "score_ratio", "x.yaml:1:1")


def result(name, cases, units=None):
    text = f"{cases - 1} of {cases} right"
    return GateResult(name, "PASS", 0.75, 0.5, 0.9, 0.75, 0.75, cases, 1, None, text, "score", units=units)


def shown(*pairs, least=5):
    judgement = Judgement("c", "PASS", True, True, tuple(answer for _, answer in pairs))
    contract = Contract(tuple(asked for asked, _ in pairs), 0.95, "proof")
    made = without_small_groups(contract, judgement, least)
    assert (made.verdict, made.released, made.proven) == ("PASS", True, True)
    return {answer.gate: answer for answer in made.results}


FIGURES = ("estimate", "lower", "upper", "original", "candidate", "cases", "units", "changed", "needed_cases")


def test_shows_a_small_group_by_its_verdict_only():
    small = shown((gate("g", "subgroup sex.f"), result("g", 4)))["g"]
    assert small.verdict == "PASS"
    assert [getattr(small, name) for name in FIGURES] == [None] * len(FIGURES)
    assert reason_words(small) == "it is about fewer than 5 cases, whose figures are not shown (report.min_cell)"


def test_counts_persons_where_several_cases_are_one():
    assert shown((gate("g"), result("g", 40, units=3)))["g"].estimate is None


def test_shows_what_is_large_enough_as_it_was():
    whole = result("g", 5)
    assert shown((gate("g"), whole))["g"] == whole


def test_counts_no_cases_of_a_file_or_a_clock():
    size = GateResult("size", "PASS", 10.0, 10.0, 10.0, 20.0, 10.0, 1, None, None, "size is 10 B", "counted")
    asked = Gate("size", "target", "size", "all", "at_most", 20, "counted", "x.yaml:1:1", "B")
    assert shown((asked, size))["size"] == size


@pytest.mark.parametrize("part", ["subgroup sex.f", "class ill"])
def test_leaves_the_counts_of_the_other_parts_out_which_would_give_it_away(part):
    other = "subgroup sex.m" if part.startswith("sub") else "class well"
    answers = shown(
        (gate("all"), result("all", 171)),
        (gate("small", part), result("small", 3)),
        (gate("other", other), result("other", 90)),
    )
    assert answers["all"].cases == 171
    assert answers["other"].cases is None
    assert answers["other"].estimate == 0.75
    assert "90" not in answers["other"].reason


def test_leaves_out_a_count_that_differs_from_another_by_a_small_group():
    answers = shown((gate("all"), result("all", 171)), (gate("well", metric="specificity"), result("well", 168)))
    assert (answers["all"].cases, answers["well"].cases) == (171, None)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 12))
def test_shows_no_two_counts_that_are_nearer_than_is_allowed(counts, least):
    pairs = [(gate(str(place)), result(str(place), count)) for place, count in enumerate(counts)]
    left = [answer.cases for answer in shown(*pairs, least=least).values() if answer.cases is not None]
    assert all(count >= least for count in left)
    assert all(abs(one - other) == 0 or abs(one - other) >= least for one in left for other in left)


def test_tells_not_why_a_comparison_with_a_small_group_has_no_figure():
    unassessable = GateResult(
        "b", "INCONCLUSIVE", *(None,) * 5, 0, None, None, "the sensitivity in sex.f is 0", "not assessable"
    )
    pair = gate("b", "subgroup sex.m / sex.f", "sensitivity", "ratio_at_least")
    small = shown((pair, unassessable), (gate("f", "subgroup sex.f"), result("f", 3)))["b"]
    assert "sex.f" not in reason_words(small)
    large = shown((pair, unassessable), (gate("f", "subgroup sex.f"), result("f", 30)))["b"]
    assert "sex.f is 0" in reason_words(large)
