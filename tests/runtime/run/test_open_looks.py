"""Open looks: a further model takes a smaller share of what may go wrong, and rows that are added cost nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.run.evaluation_looks import SAMPLE, LockedLooks, number_look, number_open_look
from titrant.schema.open_looks import share_of
from titrant.schema.record import LookSubject, RowSample

RATE = 0.05


def rows(numbers, *, single=True):
    mixed = sorted({(number * 0x9E3779B97F4A7C15) % 2**64 for number in numbers})
    return RowSample(len(mixed), tuple(f"{number:016x}" for number in mixed[:SAMPLE]), single)


def look(sample, files, noted, locked=LockedLooks()):  # noqa: B008 - a frozen value
    noted.append(number_open_look(sample, LookSubject(f"recipe {files}", f"files {files}"), RATE, noted, locked))
    return noted[-1]


def test_gives_each_further_model_the_next_share():
    noted = []
    seen = [look(rows(range(300)), name, noted) for name in "abc"]
    assert [one.number for one in seen] == [1, 2, 3]
    assert [one.share for one in seen] == [RATE * share_of(place) for place in (1, 2, 3)]
    assert seen[-1].spent == pytest.approx(RATE * sum(share_of(place) for place in (1, 2, 3)))


def test_charges_nothing_for_rows_that_are_added_to_the_same_files():
    noted = []
    first = look(rows(range(300)), "a", noted)
    look(rows(range(300)), "b", noted)
    more = look(rows(range(2000)), "a", noted)
    assert (more.number, more.share, more.models, more.spent) == (3, first.share, 2, noted[1].spent)
    assert look(rows(range(2000)), "c", noted).share == RATE * share_of(3)


@pytest.mark.parametrize(
    "grown",
    [rows([*range(150), *range(1000, 1200)]), rows(range(200)), rows(range(500), single=False)],
    ids=["some were left out", "fewer", "of units with several rows"],
)
def test_takes_a_further_share_where_rows_were_not_only_added(grown):
    noted = []
    look(rows(range(300)), "a", noted)
    assert look(grown, "a", noted).share == RATE * share_of(2)


def test_takes_what_was_judged_on_the_same_rows_for_the_same_look():
    noted = []
    look(rows(range(300)), "a", noted)
    look(rows(range(300)), "b", noted)
    again = look(rows(range(300)), "a", noted)
    assert (again.number, again.share) == (1, RATE * share_of(1))


def test_begins_anew_on_fresh_rows():
    noted = []
    look(rows(range(300)), "a", noted)
    assert look(rows(range(5000, 5300)), "b", noted).share == RATE * share_of(1)


def test_counts_what_was_spent_by_planned_looks_and_the_other_way_round():
    judged = LookSubject("r", "f")
    planned = number_look(rows(range(300)), judged, RATE, [])
    assert number_open_look(rows(range(300)), LookSubject("s", "g"), RATE, [planned]).spent > RATE
    opened = number_open_look(rows(range(300)), judged, RATE, [])
    assert number_look(rows(range(300)), LookSubject("s", "g"), RATE, [opened]).spent > RATE


def test_does_not_take_a_planned_look_at_the_same_files_for_its_own():
    planned = number_look(rows(range(300)), LookSubject("r", "f"), RATE, [])
    assert number_open_look(rows(range(300)), LookSubject("r open", "f"), RATE, [planned]).number == 2


def test_takes_the_shares_of_looks_that_only_a_lock_knows_as_spent():
    seen = look(rows(range(300)), "a", [], LockedLooks(highest=3))
    assert (seen.number, seen.share) == (4, RATE * share_of(4))
    assert seen.spent == pytest.approx(RATE * sum(share_of(place) for place in range(1, 5)))
    assert look(rows(range(300)), "a", [], LockedLooks(highest=3, same=3)).share == RATE * share_of(3)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 400), st.integers(200, 900), st.booleans()), min_size=1, max_size=30
    )
)
def test_never_spends_more_than_the_rate_on_the_same_rows(steps):
    noted = []
    for model, start, count, single in steps:
        seen = look(rows(range(start, start + count), single=single), str(model), noted)
        assert 0 < seen.share <= seen.spent <= RATE
        assert seen.share in {RATE * share_of(place) for place in range(1, seen.models + 1)}


def test_goes_on_with_the_share_of_its_first_look_however_often_rows_are_added():
    noted = []
    for count in (200, 300, 450, 700, 1000):
        assert look(rows(range(count)), "a", noted).share == RATE * share_of(1)
    assert noted[-1].spent == noted[0].spent
    assert replace(noted[-1], number=1, rows=200, ids=noted[0].ids, with_ledger=False) == noted[0]
