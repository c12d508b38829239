"""The report says in which batches a model was judged, whether that matters, and which look at the rows it was."""

import copy

import pytest

from titrant.runtime.report.headline import looks_sentence
from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.page.markdown import markdown_text
from titrant.runtime.report.record_view import read_record
from titrant.schema.gate import Contract
from titrant.schema.record import Look, LookSubject

MIXED = {
    "rows": 256, "batch": 64, "scales": True, "identical": False, "alone": {"differ": 3, "apart": 0.01},
    "company": {"differ": 5, "apart": 0.02}, "outlier": {"differ": 12, "apart": 0.3},
}  # fmt: skip


def made(records, seen):
    record = copy.deepcopy(records.released())
    record["values"]["invariance"] = {"ort-static": seen, "ort-dynamic": {**MIXED, "outlier": None}}
    return page(read_record(record))


def test_says_it_at_the_contract_in_the_table_and_where_advice_stands(records):
    shown = made(records, MIXED)
    (story,) = shown.stories
    assert story.batch.startswith(
        "“ort-static” was judged in batches of 64. Its answers depend on who shares the batch"
    )
    rows = {row.id: row.company for row in shown.candidates}
    assert rows["ort-static"] == "3 of 256 alone, 5 in other company, 12 beside an outlier"
    assert rows["ort-dynamic"] == "3 of 256 alone, 5 in other company"
    assert any("serve it in batches of 64" in sentence for sentence in shown.advice)
    for text in (html_text(shown), markdown_text(shown)):
        assert "was judged in batches of 64" in text
        assert "5 in other company" in text


def test_advises_nothing_where_company_changes_nothing(records):
    ways = {way: {"differ": 0, "apart": 0.0} for way in ("alone", "company", "outlier")}
    shown = made(records, {"rows": 32, "batch": 64, "scales": False, "identical": True, **ways})
    assert "the same bit by bit on 32 rows" in shown.stories[0].batch
    assert not any("shares its batch" in sentence for sentence in shown.advice)


ONCE, FIVE = Contract((), 0.95, "proof"), Contract((), 0.99, "proof", looks=5)


@pytest.mark.parametrize(
    ("look", "contract", "words"),
    [
        (None, ONCE, ""),
        (
            (1, 0.05, False),
            ONCE,
            "First look at these evaluation rows, as far as is known: neither this home nor a lock",
        ),
        ((1, 0.05, True), ONCE, "First look at these evaluation rows: no other models had been judged on them before"),
        ((2, 0.02, True), FIVE, "Look number 2 of 5 planned ones at these evaluation rows"),
        ((2, 0.10, True), ONCE, "Look number 2 at these rows: earlier ones have spent 0.05 of the 0.05"),
    ],
)
def test_says_which_look_it_was_and_what_that_does_to_the_proof(look, contract, words):
    number = None if look is None else Look(look[0], look[1], LookSubject("r", "f"), 171, (), look[2])
    assert looks_sentence(number, contract).startswith(words)
    assert bool(looks_sentence(number, contract)) == bool(words)
