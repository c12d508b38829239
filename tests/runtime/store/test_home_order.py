"""The runs of a home in the order in which they began."""

import json

from titrant.runtime.store.home import begun_before, newest_first


def begin(runs, name, time=None):
    (runs / name).mkdir(parents=True)
    if time is not None:
        line = json.dumps({"event": "planned", "time": f"2026-11-21T10:00:{time}+00:00"})
        (runs / name / "journal.jsonl").write_text(f"{line}\n{{}}\n")


def names(runs, part=""):
    return [folder.name for folder in newest_first(runs, part)]


def test_asks_the_journal_about_runs_of_one_second(tmp_path):
    begin(tmp_path, "20261121T100000Z-zebra-11111111", "00.100")
    begin(tmp_path, "20261121T100000Z-apple-22222222", "00.900")
    begin(tmp_path, "20261121T100000Z-apple-22222222-2", "00.300")
    begin(tmp_path, "20261121T095959Z-zebra-11111111")
    assert [name[9:22] for name in names(tmp_path)] == [
        "100000Z-apple",
        "100000Z-apple",
        "100000Z-zebra",
        "095959Z-zebra",
    ]
    assert names(tmp_path)[0] == "20261121T100000Z-apple-22222222"
    first, second, third, fourth = newest_first(tmp_path)
    assert begun_before(tmp_path, first.name) == [second, third, fourth]
    assert begun_before(tmp_path, second.name, "-zebra-") == [third, fourth]
    assert begun_before(tmp_path, "20261121T100000Z-gone-11111111") == [first, second, fourth]
    assert names(tmp_path, "-zebra-") == ["20261121T100000Z-zebra-11111111", "20261121T095959Z-zebra-11111111"]


def test_takes_what_is_no_run_and_what_cannot_be_read_for_the_oldest(tmp_path):
    begin(tmp_path, "zzz")
    begin(tmp_path, "20261121T100000Z-a-11111111", "00.100")
    begin(tmp_path, "20261121T100000Z-b-11111111")
    (tmp_path / "20261121T100000Z-b-11111111" / "journal.jsonl").write_text('{"event": "pla')
    assert names(tmp_path) == ["20261121T100000Z-a-11111111", "20261121T100000Z-b-11111111", "zzz"]


def test_finds_nothing_where_no_home_is(tmp_path):
    assert names(tmp_path / "nowhere") == []
