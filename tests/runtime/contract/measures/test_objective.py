"""A user's own metric on tuning rows: what a search is told of it, and what it never takes for a number."""

import numpy as np
import pytest

import titrant
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.measures.objective import own_objective
from titrant.runtime.contract.tasks.detection import DetectionAnswers
from titrant.runtime.contract.tasks.language import LanguageAnswers
from titrant.runtime.contract.tasks.segmentation import SegmentationAnswers
from titrant.runtime.contract.tasks.tokens import TokenScores
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.recipe.own_metric import OwnMetric

CASE, SET = OwnMetric("higher", 0.0, 1.0, "case"), OwnMetric("higher", 0.0, 1.0, "set")


@titrant.metric(better="higher", range=(0, 1), unit="case")
def right(cases):
    return cases.labels == cases.decisions


@titrant.metric(better="higher", range=(0, 1), unit="set")
def share(cases):
    return float((cases.labels == cases.decisions).mean())


@titrant.metric(better="higher", range=(0, 1), unit="case")
def overlap(cases):
    return (cases.labels == cases.decisions).mean(axis=(1, 2))


@titrant.metric(better="higher", range=(0, 1), unit="set")
def needs_all(cases):
    if len(cases) < 600:
        raise KeyError("patient 1234567")
    return 0.5


@titrant.metric(better="higher", range=(0, 1), unit="set")
def undefined(cases):
    return np.nan


def answers(cases=600, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(cases) < 0.4).astype(np.int64)
    old, new = (np.where(rng.random(cases) < wrong, 1 - labels, labels) for wrong in (0.1, 0.2))
    return labels, old, new


@pytest.mark.parametrize(("name", "own"), [("right", CASE), ("share", SET)])
def test_gives_both_numbers_and_how_far_chance_moves_their_difference(evidence, name, own):
    labels, old, new = answers()
    told = own_objective(f"{__name__}:{name}", own, evidence(labels, old, new))
    gains = (new == labels).astype(float) - (old == labels)
    assert (told["original"], told["candidate"]) == pytest.approx(((old == labels).mean(), (new == labels).mean()))
    assert told["error"] == pytest.approx(gains.std() / np.sqrt(len(labels)), rel=0.35)
    assert (told["better"], told["low"], told["high"]) == ("higher", 0.0, 1.0)


def test_chance_is_that_of_units_not_of_rows(evidence):
    labels, old, new = (np.repeat(each, 20) for each in answers(200))
    alone, together = (
        own_objective(f"{__name__}:right", CASE, evidence(labels, old, new, units=units))["error"]
        for units in (np.arange(4000), np.arange(4000) // 20)
    )
    assert together > 2 * alone


def test_says_nothing_of_chance_where_rows_are_too_few_or_a_part_has_no_number(evidence):
    few = own_objective(f"{__name__}:right", CASE, evidence(*answers(4)))
    parts = own_objective(f"{__name__}:needs_all", SET, evidence(*answers()))
    assert (few["error"], parts["error"]) == (None, None)


@pytest.mark.parametrize(
    ("name", "says"), [("undefined", "answers NaN or infinity"), ("needs_all", "raised KeyError (test_objective.py:")]
)
def test_what_has_no_number_ends_the_step_and_shows_no_case(evidence, name, says):
    with pytest.raises(StepError) as caught:
        own_objective(f"{__name__}:{name}", SET, evidence(*answers(200)))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "X605"
    assert says in diagnostic.message
    assert "1234567" not in diagnostic.message


def test_is_called_with_masks():
    labels = np.zeros((40, 4, 4), np.int64)
    labels[:, :2] = 1
    worse = labels.copy()
    worse[:, 0, 0] = 0
    classes = ("background", "organ")
    rows = Rows("tuning", {}, None, np.arange(40), np.arange(40, dtype=np.uint64), classes, targets=labels)
    cases = SegmentationAnswers(rows, labels, worse)
    told = own_objective(f"{__name__}:overlap", CASE, Evidence(rows, None, None, np.ones(40, bool), cases=cases))
    assert (told["original"], told["candidate"], told["error"]) == (1.0, 15 / 16, 0.0)


@titrant.metric(better="higher", range=(0, 1), unit="case")
def right_tokens(cases):
    judged = cases.labels != -100
    assert (cases.decisions[~judged] == -1).all()
    assert (cases.numbers[~judged] == 0).all()
    return ((cases.labels == cases.decisions) & judged).sum(axis=1) / judged.sum(axis=1)


@titrant.metric(better="higher", range=(0, 1), unit="case")
def counted_boxes(cases):
    there, given = (~np.isnan(cases.labels[..., 0])).sum(axis=1), (cases.numbers[..., 4] >= 0.5).sum(axis=1)
    assert cases.classes == ("car",)
    return np.minimum(there, given) / np.maximum(np.maximum(there, given), 1)


def test_is_called_with_tokens():
    targets = np.tile([3, 1, 2, -100], (40, 1))
    likely = np.where(targets == -100, -1, targets)
    worse = likely.copy()
    worse[:, 0] = 0
    places = np.arange(40)
    rows = Rows("tuning", {}, None, places, places.astype(np.uint64), targets=targets)
    costs = np.where(targets == -100, 0.0, -0.5)
    old, new = (TokenScores(costs, costs, tokens, 5) for tokens in (likely, worse))
    cases = LanguageAnswers(rows, old, new)
    asked = own_objective(f"{__name__}:right_tokens", CASE, Evidence(rows, None, None, np.ones(40, bool), cases=cases))
    assert (asked["original"], asked["candidate"]) == (1.0, pytest.approx(2 / 3))
    turned = cases.permuted(np.roll(places, 1)).shown()
    assert turned[0].tolist() == targets.tolist()


def test_is_called_with_boxes():
    labels = np.full((40, 2, 5), np.nan)
    labels[:, 0] = (0, 0, 4, 4, 0)
    boxes = np.full((40, 3, 6), -1.0)
    boxes[:, 0] = (0, 0, 4, 4, 0.9, 0)
    worse = boxes.copy()
    worse[::2, 0, 4] = 0.2
    places = np.arange(40)
    rows = Rows("tuning", {}, None, places, places.astype(np.uint64), ("car",), targets=labels)
    cases = DetectionAnswers(rows, boxes, worse, 0.5)
    asked = own_objective(f"{__name__}:counted_boxes", CASE, Evidence(rows, None, None, np.ones(40, bool), cases=cases))
    assert (asked["original"], asked["candidate"]) == (1.0, 0.5)
