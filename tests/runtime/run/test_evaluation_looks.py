"""Looks at evaluation rows are counted for good, each set of models once."""

from dataclasses import replace

from titrant.runtime.run.evaluation_looks import evaluation_digest, looked, looks_at, note_look, place_of
from titrant.runtime.store.home import open_home
from titrant.schema.record import Artifact, StepRecord, StepResult

ROWS, OTHER = "e" * 64, "f" * 64
LOOKS = ["1" * 64, "2" * 64, "3" * 64]


def test_numbers_looks_in_the_order_in_which_they_came(tmp_path):
    home = open_home(tmp_path)
    assert (looks_at(home, ROWS), place_of(home, ROWS, LOOKS[0])) == (0, 1)
    for look in (*LOOKS, LOOKS[0]):
        note_look(home, ROWS, look)
    assert looks_at(home, ROWS) == 3
    assert [place_of(home, ROWS, look) for look in (*LOOKS, "4" * 64)] == [1, 2, 3, 4]
    assert looks_at(home, OTHER) == 0


def test_goes_on_after_a_line_that_a_crash_cut_short(tmp_path):
    home = open_home(tmp_path)
    note_look(home, ROWS, LOOKS[0])
    with (home.looks / ROWS).open("ab") as file:
        file.write(LOOKS[1][:20].encode())
    note_look(home, ROWS, LOOKS[2])
    assert [place_of(home, ROWS, look) for look in (LOOKS[0], LOOKS[2])] == [1, 2]


def judging(plan):
    steps = tuple(replace(s, operator="validate.predict") if s.id == "baseline" else s for s in plan.steps)
    return replace(plan, steps=steps)


def test_tells_looks_apart_by_what_answered_evaluation_rows(make_plan):
    plan = judging(make_plan((1,)))

    def records(key, other):
        keys = {"baseline": key, "c1": other}
        return [StepRecord(name, "finished", own, StepResult(own, "", {})) for name, own in keys.items()]

    assert looked(plan, records("k", "1")) == looked(plan, records("k", "2")) != looked(plan, records("j", "1"))
    assert looked(plan, [StepRecord("baseline", "unused")]) == ""


def test_digests_the_rows_that_were_loaded_and_how_they_were_split():
    def results(tables, split):
        made = {"data.load": {"tables": tables}, "data.split": {"split": split}, "train.fit": {"model": tables + split}}
        return [StepResult("", op, {p: Artifact("v", d, 1) for p, d in out.items()}) for op, out in made.items()]

    same, other = evaluation_digest(results("a", "b")), evaluation_digest(results("a", "c"))
    assert same == evaluation_digest(results("a", "b")[:2]) != other
