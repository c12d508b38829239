"""The ledger of looks: what is damaged is named, what moves with a home stays known, and two runs take turns."""

import shutil
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.run import look_ledger
from titrant.runtime.run.evaluation_looks import number_look
from titrant.runtime.run.look_ledger import locked_looks, note_look, noted_looks, writing
from titrant.runtime.store.home import open_home
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.record import Look, LookSubject, RowSample

ROWS = RowSample(3, ("01", "02", "03"))
FIRST, SECOND = (
    Look(number, 0.05 * number, LookSubject(f"recipe {number}", f"files {number}"), 3, ROWS.ids) for number in (1, 2)
)
LINE = b'{"number":1,"spent":0.05,"judged":{"recipe":"recipe 1","files":"files 1"},"rows":3,"ids":["01","02","03"]}'


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


def ledger(home):
    return home.looks / "ledger.jsonl"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (LINE.replace(b"0.05", b"?!"), "Expecting value"),
        (LINE.replace(b'"rows":3', b'"rows":"three"'), "rows"),
        (LINE.replace(b'"judged"', b'"judgf"'), "judged"),
        (b"[]", "a list where a mapping is due"),
        (b"\xc3\x28 garbage", "utf-8"),
        (LINE + LINE, "Extra data"),
    ],
)
def test_names_a_damaged_line_its_place_and_what_mends_it(home, line, why):
    note_look(home, FIRST)
    with ledger(home).open("ab") as file:
        file.write(line + b"\n")
    note_look(home, SECOND)
    with pytest.raises(StepError) as raised:
        noted_looks(home)
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "X433"
    assert diagnostic.message.startswith(f"{ledger(home)}:2 is no look at evaluation rows: ")
    assert why in diagnostic.message
    assert "take line 2 out" in diagnostic.help


@given(st.integers(0, len(LINE) - 1), st.integers(0, 20))
def test_leaves_out_a_line_wherever_a_crash_cut_it_short(tmp_path_factory, kept, zeros):
    home = open_home(tmp_path_factory.mktemp("home"))
    note_look(home, FIRST)
    with ledger(home).open("ab") as file:
        file.write(LINE[:kept] + b"\0" * zeros)
    assert noted_looks(home) == [FIRST]
    note_look(home, SECOND)
    assert noted_looks(home) == [FIRST, SECOND]


def test_leaves_out_lines_of_versions_that_charged_nothing(home):
    home.looks.mkdir(parents=True)
    ledger(home).write_bytes(LINE.replace(b'"spent":0.05,', b"") + b"\n")
    assert noted_looks(home) == []


def test_knows_the_same_looks_in_a_home_that_was_copied_to_another_machine(home, tmp_path):
    note_look(home, FIRST)
    shutil.copytree(home.path, tmp_path / "copy")
    copy = open_home(tmp_path / "copy")
    assert noted_looks(copy) == [FIRST]
    assert number_look(ROWS, LookSubject("another", "others"), 0.05, noted_looks(copy)).number == 2
    assert number_look(ROWS, FIRST.judged, 0.05, noted_looks(copy)) == FIRST


def test_numbers_the_looks_of_runs_at_one_moment_one_after_the_other(home):
    def look(name):
        with writing(home):
            note_look(home, number_look(ROWS, LookSubject(name, name), 0.05, noted_looks(home)))

    threads = [threading.Thread(target=look, args=(f"model {place}",)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.number for one in noted_looks(home)] == list(range(1, 9))


def test_says_so_where_another_process_holds_the_ledger(home, monkeypatch):
    monkeypatch.setattr(look_ledger, "_SECONDS", 0.01)
    with writing(home), pytest.raises(StepError, match="another process has held") as raised, writing(home):
        pass
    assert raised.value.diagnostics[0].code == "X434"


LOCK = """\
titrant_lock: 1
name: small
entries:
{entries}"""
ENTRY = """\
  {name}:
    recipe: {recipe}
    model: m
    data: d
    evaluation: {{digest: rows, runs: {runs}}}
    run: r
    titrant: "1"
    hardware: {{system: linux, machine: x, python: "3.12", instructions: [], accelerators: [], packages: {{}}}}
    decisions: {{}}
    searches: {{}}
    candidates: {{}}
    gates: {{}}
    steps: {{}}
"""


class _Plan:
    recipe_digest = "mine"


def locked(folder, text):
    (folder / "recipe.lock.yaml").write_text(text)
    return locked_looks(_Plan(), folder / "recipe.yaml", "rows")


def test_takes_the_highest_number_of_a_lock_that_has_the_entries_of_both_sides_of_a_merge(tmp_path):
    entries = ENTRY.format(name="a", recipe="theirs", runs=3) + ENTRY.format(name="b", recipe="mine", runs=2)
    found = locked(tmp_path, LOCK.format(entries=entries))
    assert (found.highest, found.same) == (3, 2)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ("<<<<<<< HEAD\n" + ENTRY.format(name="a", recipe="mine", runs=2) + "=======\n", "line 4"),
        (ENTRY.format(name="a", recipe="mine", runs=2) * 2, "line 17"),
        (ENTRY.format(name="a", recipe="mine", runs="2, runs: 3"), "line 8"),
    ],
    ids=["conflict markers", "an entry twice", "both numbers"],
)
def test_refuses_a_lock_that_a_merge_left_broken_and_says_where(tmp_path, entries, why):
    with pytest.raises(RecipeError) as raised:
        locked(tmp_path, LOCK.format(entries=entries))
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "P091"
    assert f"recipe.lock.yaml cannot be read: {why}" in diagnostic.message
    anew = f"remove it and write it anew: titrant lock {tmp_path / 'recipe.yaml'}"
    merged = "keep the entries of both sides, and of each `runs` the higher number; or "
    assert diagnostic.help == (merged if "<<<" in entries else "restore it from version control; or ") + anew


def test_does_not_believe_a_number_that_was_lowered_by_hand_where_the_home_knows_more(tmp_path):
    found = locked(tmp_path, LOCK.format(entries=ENTRY.format(name="a", recipe="mine", runs=1)))
    seen = number_look(ROWS, LookSubject("mine", "files"), 0.05, [FIRST, SECOND], found)
    assert (seen.number, seen.spent) == (3, pytest.approx(0.15))
