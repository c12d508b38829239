"""The plan says how many rows and how few labels would prove a gate, as judging them will."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence, Unlabeled
from titrant.runtime.contract.unlabeled.judging import judge_with_unlabeled
from titrant.runtime.values import Rows
from titrant.schema.facts import RoleFacts
from titrant.schema.gate import Gate, gate_test
from titrant.schema.labels import EVERY_LABEL, LABELS_OF_DIFFERENT, NO_LABELS, NOTHING, helped_by, labels_needed

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

FURTHER = RoleFacts(2000, 2000, {}, {"size": {"[-inf, 12)": 500, "[12, inf)": 1500}})
NAMED = "data.unlabeled={csv: more.csv}"


def gate_of(metric, comparison, threshold, where="all", preset="gates"):
    return Gate("g", preset, metric, where, comparison, threshold, gate_test(metric, comparison), "here")


def decided(*changes, further=FURTHER, text=case.RECIPE + "level: medical_critical\n"):
    """Decide on a recipe, by facts that know of so many rows without labels."""
    roles = dict(case.DATA.roles) | ({} if further is None else {"unlabeled": further})
    return case.decided(text, *changes, data=replace(case.DATA, roles=roles))


def lines(found):
    return {
        line.subject.removeprefix("labels for "): line for line in found.decisions if line.rule.startswith("labels.")
    }


@pytest.fixture(autouse=True)
def more(tmp_path, monkeypatch):
    (tmp_path / "more.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)


def test_says_of_each_gate_how_few_labels_would_prove_it():
    shown = lines(decided(NAMED))
    assert set(shown) > {"retention", "clinical_relevance", "safety.kept", "bias.size.[12, inf)"}
    assert shown["clinical_relevance"].chosen == "no label of 2,000 rows"
    assert re.fullmatch(r"(no label|labels of about \d+) of 2,000 rows", shown["retention"].chosen)
    assert re.fullmatch(r"[\d,]+ rows are needed, and there are [\d,]+", shown["safety.kept"].chosen)
    assert "labeled cases without them" in shown["retention"].because
    (every,) = [line for line in shown.values() if line.rule == "labels.every"]
    assert "calibration" in every.subject
    assert "safety.sensitivity" in every.subject
    assert "reference" not in every.subject


def test_says_nothing_without_such_rows():
    assert lines(decided(further=None)) == {}


def test_counts_them_among_the_cases_that_a_gate_has():
    before, after = (
        {gate.id: gate.available_cases for gate in decided(*changes, further=further).settled.contract.gates}
        for changes, further in (((), None), ((NAMED,), FURTHER))
    )
    assert after["retention"] == before["retention"] + 2000
    assert before["safety.kept"] < after["safety.kept"] < before["safety.kept"] + 2000
    assert after["calibration"] == before["calibration"]
    assert after["bias.size.[12, inf)"] > before["bias.size.[12, inf)"]


def test_does_not_call_unprovable_what_they_prove():
    few = decided(further=None, text=case.RECIPE + "validation: {retention: 0.999}\n")
    assert any("gate retention can never be proven" in warning for warning in few.warnings)
    many = replace(FURTHER, rows=9000, units=9000)
    enough = decided(NAMED, further=many, text=case.RECIPE + "validation: {retention: 0.999}\n")
    assert not any("gate retention can never be proven" in warning for warning in enough.warnings)


@pytest.mark.parametrize(
    ("gate", "helped"),
    [
        (gate_of("same_decision", "at_least", 0.9), NO_LABELS),
        (gate_of("accuracy", "retention", 0.9), LABELS_OF_DIFFERENT),
        (gate_of("accuracy", "retention", 0.9, "subgroup sex.f"), LABELS_OF_DIFFERENT),
        (gate_of("accuracy", "drop_at_most", 0.1), LABELS_OF_DIFFERENT),
        (gate_of("kept", "at_least", 0.9, "class ill"), LABELS_OF_DIFFERENT),
        (gate_of("sensitivity", "retention", 0.9), LABELS_OF_DIFFERENT),
        (gate_of("accuracy", "retention", 0.9, "class ill"), EVERY_LABEL),
        (gate_of("accuracy", "at_least", 0.9), EVERY_LABEL),
        (gate_of("sensitivity", "drop_at_most", 0.1), EVERY_LABEL),
        (gate_of("brier", "rise_at_most", 0.02), EVERY_LABEL),
        (gate_of("auroc", "retention", 0.9), EVERY_LABEL),
        (gate_of("accuracy", "at_least", 0.5, preset="reference"), NOTHING),
        (gate_of("batch_invariance", "at_least", 0.9), NOTHING),
        (gate_of("size", "at_most", 100.0, preset="target"), NOTHING),
    ],
)
def test_knows_which_labels_help_a_gate(gate, helped):
    assert helped_by(gate) == helped


def judged(generator, gate, labeled, further, labels):
    """Judge a faithful candidate on so many rows with and without labels, of which so many get a label."""

    def drawn(count):
        truth = (generator.random(count) < 0.3).astype(np.int64)
        old = np.where(generator.random(count) < 0.9, truth, 1 - truth)
        change = generator.random(count) < 0.005
        # Half of what changes is for the worse, whatever the original is worth.
        worse = generator.random(count) < 0.5
        new = np.where(change, np.where(worse, 1 - truth, truth), old)
        return truth, np.where(change, np.where(worse, truth, 1 - truth), old), new

    def sure(decisions):
        return Answers(np.stack([1 - decisions, decisions], axis=1).astype(float), decisions)

    def rows(count, truth=None):
        return Rows("evaluation", {}, truth, np.arange(count), np.arange(count, dtype=np.uint64), ("well", "ill"), 1)

    truth, old, new = drawn(labeled)
    hidden, before, after = drawn(further)
    told = np.full(further, -1)
    places = generator.permutation(np.flatnonzero(before != after))[:labels]
    told[places] = hidden[places]
    unlabeled = Unlabeled(rows(further), sure(before), sure(after), told)
    evidence = Evidence(rows(labeled, truth), sure(old), sure(new), old == new, unlabeled=unlabeled)
    return judge_with_unlabeled(gate, evidence).verdict == "PASS"


@pytest.mark.parametrize(
    ("gate", "over"),
    [
        (gate_of("accuracy", "retention", 0.99), 0.9), (gate_of("accuracy", "retention", 0.995), 0.9),
        (gate_of("accuracy", "drop_at_most", 0.01), 0.9), (gate_of("kept", "at_least", 0.95), 0.27),
    ],
)  # fmt: skip
def test_predicts_rows_and_labels_that_prove_the_gate(gate, over):
    needed = labels_needed(gate, rows=10**6, labeled=200, over=over, confidence=0.95).rows
    fewer = labels_needed(gate, rows=3 * needed, labeled=200, over=over, confidence=0.95).labels
    assert fewer < 0.005 * 3 * needed
    generator = np.random.default_rng(8)
    power = np.mean([judged(generator, gate, 200, needed, needed) for _ in range(60)])
    with_few = np.mean([judged(generator, gate, 200, 3 * needed, fewer) for _ in range(60)])
    assert 0.6 <= power <= 1
    assert with_few >= 0.6
    half = labels_needed(gate, rows=needed // 3, labeled=200, over=over, confidence=0.95)
    assert (half.rows, half.labels) == (needed, None)


def test_predicts_that_no_number_of_rows_proves_what_cannot_be():
    assert (
        labels_needed(gate_of("accuracy", "retention", 1.0), rows=10**6, labeled=200, over=0.9, confidence=0.95).rows
        is None
    )


def test_promises_nothing_of_labels_in_open_looks_and_prices_bets_where_none_is_needed():
    text = "validation={looks: open}"
    found = decided(NAMED, text)
    shown = lines(found)
    assert "retention" not in shown
    (every,) = [line for line in shown.values() if line.rule == "labels.every"]
    assert "retention" in every.subject
    assert "open looks" in every.because
    gates = {gate.id: gate for gate in found.settled.contract.gates}
    alone = {gate.id: gate for gate in decided(text, further=None).settled.contract.gates}
    assert gates["retention"].available_cases == alone["retention"].available_cases
    agreement = gates["clinical_relevance"]
    assert agreement.available_cases == alone["clinical_relevance"].available_cases + 2000
    enough = agreement.needed_cases <= agreement.available_cases
    assert (shown["clinical_relevance"].chosen == "no label of 2,000 rows") is enough
