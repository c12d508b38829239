"""Looks at evaluation rows are numbered by what the rows hold, and noted for good."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from titrant.runtime.run.evaluation_looks import (
    SAMPLE,
    LockedLooks,
    evaluation_digest,
    number_look,
    sample_of,
)
from titrant.runtime.run.look_ledger import note_look, noted_looks
from titrant.runtime.store.home import open_home
from titrant.schema.record import Artifact, LookSubject, RowSample, StepResult

RATE = 0.05


def rows(numbers):
    """Sample rows whose digests are spread as a hash spreads them."""
    mixed = sorted({(number * 0x9E3779B97F4A7C15) % 2**64 for number in numbers})
    return RowSample(len(mixed), tuple(f"{number:016x}" for number in mixed[:SAMPLE]))


def what(name):
    return LookSubject(f"recipe {name}", f"files {name}")


def look(sample, name, noted, locked=LockedLooks()):  # noqa: B008 - a frozen value
    return number_look(sample, what(name), RATE, noted, locked)


def numbers(samples):
    """Number one look after the other, each at what another recipe makes."""
    noted = []
    for place, sample in enumerate(samples):
        noted.append(look(sample, place, noted))
    return [one.number for one in noted]


def test_counts_each_new_model_on_the_same_rows_and_what_the_looks_spend():
    sample = rows(range(300))
    noted = []
    for name in ("a", "b", "c"):
        noted.append(look(sample, name, noted))
    assert [one.number for one in noted] == [1, 2, 3]
    assert [one.spent for one in noted] == pytest.approx([0.05, 0.10, 0.15])
    assert [one.with_ledger for one in noted] == [False, True, True]


@pytest.mark.parametrize("count", [100, 1000])
def test_knows_rows_by_their_numbers_where_columns_have_other_names(count, tmp_path):
    def stored(name, ids, first):
        spread = np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        made = {"ids": ids, "units": np.arange(count), "numbers": spread}
        save_file({key: values.astype(np.uint64) for key, values in made.items()}, tmp_path / name)
        return sample_of(tmp_path / name)

    drawn = np.random.default_rng(0).integers(0, 2**63, (3, count)).astype(np.uint64)
    first, renamed, fresh = (stored(str(place), ids, [0, 0, 10**6][place]) for place, ids in enumerate(drawn))
    assert numbers([first, renamed, fresh]) == [1, 2, 1]
    few = np.arange(count) % (count * 9 // 10)  # as of tables with some columns of 0 and 1
    save_file({key: few.astype(np.uint64) for key in ("ids", "units", "numbers")}, tmp_path / "few")
    assert sample_of(tmp_path / "few").numbers == ()


def test_takes_the_same_recipe_or_the_same_bytes_for_the_same_look():
    sample = rows(range(300))
    noted = [look(sample, "a", [])]
    noted.append(look(sample, "b", noted))
    assert look(sample, "a", noted).number == 1
    same_bytes = number_look(sample, LookSubject("another recipe", "files b"), RATE, noted, LockedLooks())
    assert (same_bytes.number, same_bytes.spent) == (2, pytest.approx(0.10))
    same_recipe = number_look(sample, LookSubject("recipe a", "files of a later library"), RATE, noted, LockedLooks())
    assert (same_recipe.number, same_recipe.with_ledger) == (1, False)


def test_counts_added_rows_as_a_further_look_at_the_old_ones():
    assert numbers([rows(range(300)), rows(range(500))]) == [1, 2]
    noted = [look(rows(range(300)), "a", [])]
    assert look(rows(range(500)), "a", noted).number == 2


@given(
    first=st.integers(20, 4000),
    second=st.integers(20, 4000),
    share=st.sampled_from([0.0, 0.02, 0.3, 0.6, 1.0]),
)
def test_looks_again_from_a_tenth_of_the_rows_on_however_many_there_are(first, second, share):
    shared = round(share * min(first, second))
    old = rows(range(first))
    new = rows([*range(shared), *range(10_000, 10_000 + second - shared)])
    again = look(new, "b", [look(old, "a", [])])
    if shared >= 0.2 * second:
        assert again.number == 2
    if shared <= 0.03 * second:
        assert again.number == 1


def test_looks_again_at_a_few_of_many_rows():
    digests = np.random.default_rng(0).integers(0, 2**63, 50_000)

    def drawn(places):
        return RowSample(len(places), tuple(f"{digest:016x}" for digest in np.sort(digests[places])[:SAMPLE]))

    before = [look(drawn(np.arange(len(digests))), "a", [])]
    assert [look(drawn(np.arange(50) + begin), "b", before).number for begin in range(0, 500, 50)] == [2] * 10


def test_knows_rows_of_which_an_older_version_kept_fewer():
    sample = rows(range(3000))
    sample = replace(sample, numbers=sample.ids)
    noted = [replace(look(sample, "a", []), ids=sample.ids[:256], numbers=sample.numbers[:256])]
    assert look(sample, "a", noted).number == 1
    assert look(sample, "b", noted).number == 2
    renamed = replace(rows(range(10**6, 10**6 + 3000)), numbers=sample.numbers)
    assert look(renamed, "b", noted).number == 2


def test_gives_a_look_one_number_above_the_highest_that_a_tenth_carry():
    halves = [rows(range(500)), rows(range(500)), rows(range(400, 1000))]
    assert numbers([*halves, rows(range(300, 700)), rows(range(5000, 6000))]) == [1, 2, 3, 4, 1]


def test_is_not_misled_by_looks_at_far_larger_sets_of_other_rows():
    other = look(rows(range(10**6, 10**6 + 50_000)), "large", [])
    old = look(rows(range(300)), "a", [other])
    assert old.number == 1
    assert look(rows(range(300)), "b", [other, old]).number == 2


def test_takes_what_a_lock_knows_where_the_home_knows_less():
    sample = rows(range(300))
    assert look(sample, "a", [], LockedLooks(highest=3)).number == 4
    assert look(sample, "a", [], LockedLooks(highest=3)).spent == pytest.approx(0.20)
    assert look(sample, "a", [], LockedLooks(highest=3, same=2)).number == 2
    assert look(sample, "a", [], LockedLooks(highest=3)).with_ledger


def test_notes_looks_for_good_and_goes_on_after_a_line_that_a_crash_cut_short(tmp_path):
    home = open_home(tmp_path)
    assert noted_looks(home) == []
    first = look(rows(range(30)), "a", [])
    note_look(home, first)
    with (home.looks / "ledger.jsonl").open("ab") as file:
        file.write(b'{"number": 7, "spe')
    second = look(rows(range(30)), "b", noted_looks(home))
    note_look(home, second)
    assert noted_looks(home) == [first, second]


@pytest.mark.parametrize(
    ("ids", "units", "single"),
    [([5, 3, 2**64 - 1, 3], [0, 1, 2, 1], False), ([5, 3, 2**64 - 1], [0, 1, 1], False), ([5, 3, 9], [4, 7, 2], True)],
)
def test_reads_which_rows_a_file_holds_and_whether_each_is_a_unit(tmp_path, ids, units, single):
    arrays = {"ids": np.array(ids, np.uint64), "units": np.array(units), "input.0": np.zeros((len(ids), 2), np.float32)}
    save_file(arrays, tmp_path / "rows.safetensors")
    sample = sample_of(tmp_path / "rows.safetensors")
    assert sample == RowSample(3, tuple(f"{number:016x}" for number in sorted(set(ids))), single)
    assert json.dumps(sample.ids)


def test_counts_rows_without_labels_among_those_that_were_looked_at(tmp_path):
    files = []
    for name, ids in (("labeled", [5, 3]), ("unlabeled", [9, 3])):
        save_file({"ids": np.array(ids, np.uint64), "units": np.arange(len(ids))}, tmp_path / name)
        files.append(tmp_path / name)
    ids = ("0000000000000003", "0000000000000005", "0000000000000009")
    assert sample_of(*files) == RowSample(3, ids, single=False)  # one row stands in both


def test_digests_the_rows_that_were_loaded_and_how_they_were_split():
    def results(tables, split):
        made = {"data.load": {"tables": tables}, "data.split": {"split": split}, "train.fit": {"model": tables + split}}
        return [StepResult("", op, {p: Artifact("v", d, 1) for p, d in out.items()}) for op, out in made.items()]

    same, other = evaluation_digest(results("a", "b")), evaluation_digest(results("a", "c"))
    assert same == evaluation_digest(results("a", "b")[:2]) != other
