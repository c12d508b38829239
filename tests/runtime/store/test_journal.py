"""The journal survives whatever cuts it short."""

import os

from titrant.runtime.store.journal import Journal, read


def test_reads_every_whole_event_whatever_byte_the_last_line_was_cut_at(tmp_path):
    journal = Journal(lambda event: None)
    journal.add("planned", steps=2)
    journal.open(tmp_path / "journal.jsonl")
    journal.add("started", step="a", key="k")
    journal.add("finished", step="a", key="k")
    journal.close()
    data = (tmp_path / "journal.jsonl").read_bytes()
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data) + 1):
        (tmp_path / "cut").write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        assert len(read(tmp_path / "cut")) == whole, length


def test_keeps_what_happened_before_it_had_a_file_in_order(tmp_path):
    told = []
    journal = Journal(told.append)
    journal.add("planned")
    journal.add("progress", done=1)
    journal.open(tmp_path / "journal.jsonl")
    journal.add("closed", exit=0)
    journal.close()
    assert [event["event"] for event in read(tmp_path / "journal.jsonl")] == ["planned", "closed"]
    assert [event["event"] for event in told] == ["planned", "progress", "closed"]


def test_leaves_out_lines_that_are_no_events(tmp_path):
    (tmp_path / "j").write_bytes(b'\x00\xff\n[1]\n{"event": "started"}\n{"other": 1}\n')
    assert read(tmp_path / "j") == [{"event": "started"}]


def test_adds_an_event_by_one_write_and_waits_for_the_disk_only_when_it_closes(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "write", lambda file, line, own=os.write: calls.append("write") or own(file, line))
    monkeypatch.setattr(os, "fsync", lambda file, own=os.fsync: calls.append("fsync") or own(file))
    journal = Journal(lambda event: None)
    journal.open(tmp_path / "journal.jsonl")
    for place in range(3):
        journal.add("measured", step="fit", name="loss", value=place, unit="")
        journal.add("progress", step="fit", done=place, total=3, note="")
    assert calls == ["write"] * 3
    journal.close()
    assert calls == [*["write"] * 3, "fsync"]
