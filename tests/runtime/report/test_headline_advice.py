"""What would help."""

from titrant.runtime.report.page import page
from titrant.runtime.report.record_view import read_record


def advice(record):
    return " ".join(page(read_record(record)).advice)


def test_says_how_many_cases_are_missing(records):
    assert "takes 299 cases" in advice(records.inconclusive())
    assert "there are 61. Add 238" in advice(records.inconclusive())


def test_says_what_kept_a_gate_from_being_assessed(records):
    assert "bias in sensitivity could not be assessed: the recipe names no subgroups." in advice(records.inconclusive())


def test_says_to_keep_the_original(records):
    assert advice(records.failed()).startswith("Go on serving the original model; the candidate in quarantine/")
    assert advice(records.nothing_made()) == "Go on serving the original model."


def test_says_how_long_the_run_waited_for_the_disk(records):
    made = records.released()
    finished = [step for step in made["run"]["steps"] if step["status"] == "finished"]
    seconds = sum(step["result"]["seconds"] for step in finished)
    assert "were on the disk" not in advice(made)
    finished[0]["result"]["disk_seconds"] = 1.9
    assert "were on the disk" not in advice(made)
    finished[1]["result"]["disk_seconds"] = 1.9
    assert f"Steps waited 3.8 s of {seconds:.1f} s until their results (" in advice(made)
    assert "were on the disk: set TITRANT_HOME to a folder on a faster one" in advice(made)
    finished[0]["result"]["seconds"] += 100
    assert "were on the disk" not in advice(made)


def test_says_nothing_but_to_serve_in_batches_where_nothing_needs_help(records):
    assert advice(records.released()) == (
        "“ort-static” answers 9.4× as many cases a second in batches of 32 as in batches of 1: where answers may wait "
        "for each other, serve it so."
    )
    made = records.released()
    for timing in made["values"]["timings"].values():
        del timing["8"], timing["32"]
    assert advice(made) == ""
