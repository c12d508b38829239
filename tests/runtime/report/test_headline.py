"""The verdict in words."""

from titrant.runtime.report.page import page
from titrant.runtime.report.record_view import read_record


def ground(record):
    return page(read_record(record)).headline.ground


def open_one(made, **changes):
    """The same record, whose first judged gate that is open has other figures."""
    for candidate in made["run"]["candidates"]:
        for result in (candidate["judgement"] or {"results": ()})["results"]:
            if result["verdict"] == "INCONCLUSIVE":
                result.update(changes)
                return made
    raise AssertionError("no gate is open")


def test_says_that_an_estimate_meets_its_threshold_only_where_there_is_one(records):
    assert "A point estimate that meets the threshold, and no proof: " in ground(records.not_proven())
    assert "Not assessable" not in ground(records.not_proven())
    unknown = ground(open_one(records.not_proven(), estimate=None, lower=None, upper=None))
    assert "Not assessable, and asked for by the level only: " in unknown
    assert "point estimate" not in unknown
