"""The verdict in words."""

import copy

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


def test_blames_the_original_and_no_candidate_when_the_baseline_is_missed(records):
    made = records.failed()
    gate = dict(made["plan"]["contract"]["gates"][0], id="baseline", preset="baseline", comparison="at_least")
    made["plan"]["contract"]["gates"].append(gate | {"threshold": 0.99})
    result = next(c["judgement"]["results"][0] for c in made["run"]["candidates"] if c["judgement"])
    for candidate in made["run"]["candidates"]:
        candidate["judgement"] = None
        candidate["status"] = "shortlisted"
    made["run"]["original"] = {
        "candidate": "original", "verdict": "FAIL", "released": False, "proven": False,
        "results": [result | {"gate": "baseline", "estimate": 0.9123, "lower": 0.88, "verdict": "FAIL"}],
    }  # fmt: skip
    said = page(read_record(made)).headline
    assert said.sentence == "Not released: the original model itself misses the contract's baseline."
    assert "0.9123 reached (lower bound 0.8800), 0.99 asked" in said.ground
    assert "No candidate was made" in said.ground


def test_says_of_which_file_nothing_could_be_made_and_why(records):
    made = copy.deepcopy(records.released())
    (search,) = made["plan"]["searches"]
    released = made["run"]["released"][0]
    left = next(one for one in made["run"]["candidates"] if one["candidate"] != released)
    left |= {"status": "rejected", "because": "it has no such file", "judgement": None}
    made["plan"]["searches"] = [
        search | {"candidates": [released]},
        search | {"name": "other", "format": "onnx", "candidates": [left["candidate"]]},
    ]
    made["run"] |= {"verdict": "INCONCLUSIVE", "exit": 5, "withheld": ["other"], "unmade": ["other"]}
    said = page(read_record(made)).headline
    assert said.sentence == f"Released “{released}”; nothing could be made for onnx."
    assert said.ground == f"“{left['candidate']}” was not made: it has no such file."


def test_calls_the_original_s_what_it_misses_itself(records):
    made = records.failed()
    gate = made["plan"]["contract"]["gates"][0]
    gate |= {"preset": "gates", "metric": "sensitivity", "comparison": "at_least", "threshold": 0.999}
    for candidate in made["run"]["candidates"]:
        for result in candidate["judgement"]["results"] if candidate["judgement"] else ():
            mine = result["gate"] == gate["id"]
            result.update({"verdict": "FAIL", "original": 0.25, "estimate": 0.25} if mine else {"verdict": "PASS"})
    made["run"]["original_misses"] = [gate["id"]]
    shown = page(read_record(made))
    assert shown.headline.sentence == (
        "Not released: the original model itself misses the contract, and no candidate is to blame."
    )
    assert "The original itself misses 1 of" in shown.headline.ground
    assert "breaks" not in shown.headline.ground
    assert any("the original itself reaches 0.2500, where ≥ 0.999 is asked" in text for text in shown.advice)
    assert not any("Go on serving" in text or "loses more than" in text for text in shown.advice)
