"""A run's folder: its record, also as an earlier version wrote it."""

import json

import pytest

from titrant.runtime.store.run_folder import RECORD, read_record
from titrant.schema.gate import Judgement
from titrant.schema.record import RunRecord
from titrant.schema.values.canonical import plain

MISSED = Judgement("original", "FAIL", False, False, ())
RUN = RunRecord("r", "x", "1" * 64, "FAIL", 5, (), (), (), 3, 0, 1.0, original=MISSED)


def test_reads_back_the_record_of_a_run(tmp_path):
    (tmp_path / RECORD).write_text(json.dumps(plain(RUN)), "utf-8")
    assert read_record(tmp_path) == RUN


def test_reads_how_the_original_was_judged_under_the_name_that_it_had(tmp_path):
    old = plain(RUN)
    old["baseline"] = old.pop("original")
    (tmp_path / RECORD).write_text(json.dumps(old), "utf-8")
    assert read_record(tmp_path).missed


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"baseline": 1}', "[" * 100_000])
def test_takes_what_is_no_record_for_a_run_that_did_not_come_to_its_end(text, tmp_path):
    (tmp_path / RECORD).write_text(text, "utf-8")
    assert read_record(tmp_path) is None
