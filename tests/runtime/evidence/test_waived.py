"""Evidence of a release that rests on a waiver warns, and names who let what through."""

import json

from titrant.api.runs import VERDICTS
from titrant.runtime.evidence.statements import RESULTS


def test_has_a_result_for_every_verdict_that_a_run_can_end_with():
    assert set(RESULTS) == {*VERDICTS} - {"UNFINISHED", "DAMAGED"}
    assert [verdict for verdict, result in RESULTS.items() if result == "PASSED"] == ["PASS"]


def test_warns_and_names_the_waiver(records, facts, texts):
    made = records.released()
    candidate = next(one for one in made["run"]["candidates"] if one["candidate"] == made["run"]["released"][0])
    result = candidate["judgement"]["results"][0]
    result["verdict"] = candidate["judgement"]["verdict"] = "FAIL"
    candidate["judgement"]["proven"] = False
    waiver = {"reason": "a rare class", "by": "J. Doe", "until": "2027-01-31"}
    candidate["waived"] = [{"gate": result["gate"], "verdict": "FAIL", **waiver}]
    made["run"]["verdict"] = "WAIVED"
    written = texts(facts(made))
    predicate = json.loads(written["test-result.intoto.json"])["predicate"]
    assert predicate["result"] == "WARNED"
    words = f"{result['gate']} (waived by J. Doe until 2027-01-31: a rare class)"
    assert [words in text for text in predicate["failedTests"]] == [True]
    assert not any(result["gate"] in text for text in predicate["passedTests"])
    assert "FAIL, waived by J. Doe until 2027-01-31: a rare class" in written["model-card.md"]
