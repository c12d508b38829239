"""The log beside the journal: everything said while a run goes on, and no secret."""

import importlib.util
import json
import logging
import sys
from pathlib import Path

import pytest

import titrant
from titrant.runtime.store.journal import read

spec = importlib.util.spec_from_file_location("toy_crash_log", Path(__file__).with_name("test_crash_points.py"))
crash = importlib.util.module_from_spec(spec)
sys.modules["toy_crash_log"] = crash
spec.loader.exec_module(crash)

PASSWORD = "hunter2-and-more"


@pytest.fixture
def logger():
    """The logger as it was, whatever a test sets up."""
    found = logging.getLogger("titrant")
    handlers, level, propagate = list(found.handlers), found.level, found.propagate
    yield found
    found.handlers[:], found.level, found.propagate = handlers, level, propagate


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_writes_what_loggers_say_beside_the_journal_and_leaves_them_as_they_were(toy, make_plan, logger):
    before = (list(logger.handlers), logger.level)

    def listen(event):
        if event["event"] == "finished" and event["step"] == "load":
            titrant.get_logger("mine").info("half way", extra={"fields": {"rows": 3}})

    record = crash.run_here(toy, make_plan((1,)), listen=listen)
    folder = toy.home.runs / record.run
    logged = lines(folder / "log.jsonl")
    (mine,) = [line for line in logged if line["logger"] == "titrant.mine"]
    assert (mine["level"], mine["message"], mine["rows"]) == ("info", "half way", 3)
    journal = read(folder / "journal.jsonl")[1:]  # what was planned comes before the run has a folder
    assert [line["event"] for line in logged if line["logger"] == "titrant.run"] == journal
    assert (list(logger.handlers), logger.level) == before


def test_shows_others_no_more_than_they_asked_for(toy, make_plan, logger, caplog):
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.levelname)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    record = crash.run_here(toy, make_plan((1,)))
    levels = {line["level"] for line in lines(toy.home.runs / record.run / "log.jsonl")}
    assert levels == {"debug", "info"}
    assert set(seen) == {"INFO"}
    assert handler.filters == []


def test_tells_no_secret_that_a_library_says(toy, make_plan, logger, tmp_path, monkeypatch):
    """Neither in the journal, the logs, a log file, on the console, in the record nor in the report's values."""
    said = f"cannot reach https://reader:{PASSWORD}@store.example/rows?token={PASSWORD}"
    (toy.folder / "toys.py").write_text(
        (toy.folder / "toys.py")
        .read_text()
        .replace('raise ValueError("seven is\\nnot even")', f'raise ValueError("{said}")')
    )
    titrant.setup_logging("info", tmp_path / "all.jsonl")
    record = toy.run(make_plan((1, 2), make={1: {"do": "raise"}}))
    assert record.candidates[0].because.startswith("ValueError (")
    (failed,) = [event for event in toy.events if event["event"] == "failed"]
    assert failed["said"] == "cannot reach https://<redacted>@store.example/rows?token=<redacted>"
    titrant.get_logger().warning("retry %s", said, extra={"fields": {"api_key": PASSWORD}})
    folder = toy.home.runs / record.run
    written = (*folder.rglob("*"), *toy.home.store.rglob("*"), *toy.home.results.rglob("*"))
    holding = [path.name for path in written if path.is_file() and PASSWORD in path.read_text("utf-8", "replace")]
    assert holding == []
    assert PASSWORD not in (tmp_path / "all.jsonl").read_text()
    assert lines(tmp_path / "all.jsonl")[-1]["api_key"] == "<redacted>"
    assert all(PASSWORD not in json.dumps(event) for event in toy.events)


def test_writes_the_console_log_without_secrets(logger, capsys):
    titrant.setup_logging("warning")
    titrant.get_logger("x").warning("password=%s", PASSWORD)
    titrant.get_logger("x").info("not at this level")
    err = capsys.readouterr().err
    assert err == "W titrant.x: password=<redacted>\n"


def test_takes_a_level_in_any_case_and_a_file_by_its_name(logger, tmp_path):
    titrant.setup_logging(level="INFO", log_file=str(tmp_path / "logs" / "all.jsonl"))
    titrant.get_logger("x").debug("in the file")
    assert lines(tmp_path / "logs" / "all.jsonl")[-1]["message"] == "in the file"


def test_refuses_a_level_that_there_is_not_and_names_a_file_that_cannot_be_written(logger, tmp_path):
    with pytest.raises(ValueError, match="unknown log level 'loud': one of debug, info"):
        titrant.setup_logging("loud")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        titrant.setup_logging("info", tmp_path / "file" / "log.jsonl")


def test_writes_a_traceback_and_what_json_cannot_hold_as_text(logger, tmp_path):
    titrant.setup_logging("error", tmp_path / "log.jsonl")
    try:
        raise ValueError("seven")
    except ValueError:
        titrant.get_logger("x").exception("failed", extra={"fields": {"where": tmp_path, "loss": float("nan")}})
    (line,) = lines(tmp_path / "log.jsonl")
    assert "ValueError: seven" in line["traceback"]
    assert line["where"] == str(tmp_path)
