"""Which documents of evidence a run writes: as the recipe says, else by its level; others keep their plans."""

import importlib.util
from pathlib import Path
from typing import get_args

import pytest

from titrant.compiler.lower.lower import lower
from titrant.runtime.operators.report.render import RenderParams
from titrant.schema.recipe.observe import REPORT_FORMATS, EvidenceDocument
from titrant.schema.release import DOCUMENTS

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

CRITICAL = case.RECIPE + "level: medical_critical\n"
ALL = tuple(DOCUMENTS)


@pytest.mark.parametrize(
    ("text", "written", "documents", "rule"),
    [
        (case.RECIPE, None, (), None),
        (case.RECIPE, "false", (), "evidence.written"),
        (case.RECIPE, "true", ALL, "evidence.written"),
        (case.RECIPE, "[bom, model_card, bom]", ("model_card", "bom"), "evidence.written"),
        (case.RECIPE, "[]", (), "evidence.written"),
        (CRITICAL, None, ALL, "evidence.level"),
        (CRITICAL, "true", ALL, "evidence.written"),
        (CRITICAL, "[hazards]", ("hazards",), "evidence.written"),
        (CRITICAL, "false", (), "evidence.written"),
    ],
)
def test_writes_what_the_recipe_says_or_its_level(text, written, documents, rule):
    answer = case.decided(text, *([] if written is None else [f"report.evidence={written}"]))
    assert answer.settled.evidence == documents
    lines = [line for line in answer.decisions if line.subject == "report.evidence"]
    # What is as without the key is no decision.
    expected = [] if rule is None or (text is case.RECIPE and not documents) else [rule]
    assert [line.rule for line in lines] == expected
    if text is CRITICAL and written not in (None, "true"):
        assert "would write all" in lines[0].because


def test_has_every_document_that_a_recipe_can_name():
    assert get_args(EvidenceDocument) == ALL


def test_changes_no_key_of_a_report_without_evidence():
    assert RenderParams().model_dump(mode="json") == {"min_cell": 5}
    assert RenderParams(evidence=["bom"]).model_dump(mode="json") == {"min_cell": 5, "evidence": ["bom"]}


@pytest.mark.parametrize(
    ("text", "evidence", "formats", "written"),
    [
        (case.RECIPE, "true", "[html]", ["html", "json"]),
        (case.RECIPE, "[bom]", "[md, html]", ["html", "md", "json"]),
        (CRITICAL, "", "[md]", ["md", "json"]),
        (CRITICAL, "false", "[md]", ["md"]),
        (case.RECIPE, "true", "[json]", ["json"]),
        (case.RECIPE, "", "[html]", ["html"]),
    ],
)
def test_writes_the_report_that_evidence_is_made_from(text, evidence, formats, written):
    changes = [f"report.formats={formats}", *([f"report.evidence={evidence}"] if evidence else [])]
    plan = lower(case.bound(text, *changes), case.decided(text, *changes), case.AVX2, case.MODEL, case.DATA)
    (step,) = [step for step in plan.steps if step.operator == "report.render"]
    assert step.params.get("formats", list(REPORT_FORMATS)) == written
    lines = [line.rule for line in plan.decisions if line.subject == "report.formats"]
    assert lines == (["evidence.json"] if "json" in written and "json" not in formats else [])
