"""A gate that a waiver let through is never shown as passed, in any format."""

import re

from titrant.runtime.report.compare.runs import compare_runs
from titrant.runtime.report.page import html_text, json_text, markdown_text, page
from titrant.runtime.report.page.summary import summary
from titrant.runtime.report.record_view import read_record

WORDS = "waived by J. Doe until 2027-01-31: a rare class"


def waived(records, verdict):
    """A released run, one gate of which did not pass and is waived."""
    made = records.released()
    released = made["run"]["released"][0]
    candidate = next(one for one in made["run"]["candidates"] if one["candidate"] == released)
    result = candidate["judgement"]["results"][0]
    result["verdict"] = verdict
    candidate["judgement"] |= {"verdict": verdict, "proven": False}
    rest = {"reason": "a rare class", "by": "J. Doe", "until": "2027-01-31"}
    candidate["waived"] = [{"gate": result["gate"], "verdict": verdict, **rest}]
    made["plan"]["contract"]["waivers"] = [
        {"gate": gate, **rest} for gate in (result["gate"], candidate["judgement"]["results"][1]["gate"])
    ]
    made["run"]["verdict"] = "WAIVED"
    return made


def test_says_waived_in_every_format(records):
    made = waived(records, "FAIL")
    shown = page(read_record(made))
    assert (shown.headline.word, shown.headline.tone) == ("WAIVED", "warn")
    assert shown.headline.sentence.startswith("Released with waivers: ")
    assert WORDS in shown.headline.ground
    html, markdown, json = html_text(shown), markdown_text(shown), json_text(shown, made)
    assert "! WAIVED (FAIL)" in html
    row = next(line for line in markdown.splitlines() if line.startswith("|") and "WAIVED (FAIL)" in line)
    assert "PASS" not in row
    assert WORDS in re.sub(r"\\", "", markdown)
    assert '"verdict":"WAIVED (FAIL)"' in json
    assert summary(shown).searches[0].verdict == "WAIVED (FAIL)"


def test_shows_no_proof_in_an_inconclusive_gate_that_is_waived_and_names_a_waiver_that_is_not_needed(records):
    shown = page(read_record(waived(records, "INCONCLUSIVE")))
    (story,) = shown.stories
    assert story.contract.rows[0].verdict == "WAIVED (INCONCLUSIVE)"
    assert any("passes: the waiver by J. Doe is not needed" in sentence for sentence in shown.advice)


def test_is_no_plain_answer_beside_another_run(records):
    both = compare_runs({"a": read_record(waived(records, "FAIL")), "b": read_record(records.released())})
    assert [cell.verdict for cell in both.gates[0].cells] == ["WAIVED (FAIL)", "PASS"]


def test_says_of_a_gate_that_blocks_again_that_its_waiver_ended(records):
    made = waived(records, "FAIL")
    candidate = next(one for one in made["run"]["candidates"] if one.pop("waived", None))
    candidate |= {"status": "judged"}
    candidate["judgement"] |= {"released": False}
    made["run"] |= {"released": [], "verdict": "FAIL", "exit": 5, "judged_on": "2027-02-01"}
    shown = page(read_record(made))
    (row,) = (row for row in shown.stories[0].contract.rows if row.verdict == "FAIL")
    words = "the waiver by J. Doe ended with 2027-01-31 (a rare class), and the gate blocks again"
    assert row.reason.startswith(words)
    assert words in html_text(shown)
    assert words in re.sub(r"\\", "", markdown_text(shown))
    assert "not needed" not in " ".join(shown.advice)
