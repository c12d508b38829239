"""A step's log keeps what was printed, but for secrets."""

import pytest

from titrant.runtime.execution import step_log
from titrant.runtime.execution.step_log import clean_log


def test_takes_out_secrets_and_nothing_else(toy, make_plan):
    toy.run(make_plan((1,), make={1: {"do": "leak"}}))
    (log,) = toy.home.runs.glob("*/steps/*-c1/log.txt")
    text = log.read_text()
    assert "hunter2" not in text
    assert text.splitlines() == ["db_password: <redacted>", "https://<redacted>@host/x", "kept"]


def test_is_cleaned_of_a_step_that_failed_too(toy, make_plan):
    toy.run(make_plan((1, 2), make={2: {"do": "leak and raise"}}))
    (log,) = toy.home.runs.glob("*/steps/*-c2/log.txt")
    assert "hunter2" not in log.read_text()
    assert "seven is" in log.read_text()


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_works_through_a_log_in_whole_lines_and_writes_it_in_place(tmp_path, monkeypatch, size):
    monkeypatch.setattr(step_log, "_BLOCK", size)
    log = tmp_path / "log.txt"
    log.write_bytes(b"one\n\xff\xfe not text\ntoken=abcdefgh\n" + b"x" * 40 + b"\nlast")
    with log.open("ab") as held:
        clean_log(log)
        held.write(b" and more")
    assert log.read_bytes() == b"one\n\xff\xfe not text\ntoken=<redacted>\n" + b"x" * 40 + b"\nlast and more"
    assert list(tmp_path.iterdir()) == [log]


def test_leaves_a_log_without_secrets_alone(tmp_path):
    log = tmp_path / "log.txt"
    clean_log(log)
    log.write_bytes(b"epoch 1\r\nloss 0.5")
    before = log.stat().st_mtime_ns
    clean_log(log)
    assert (log.read_bytes(), log.stat().st_mtime_ns) == (b"epoch 1\r\nloss 0.5", before)
