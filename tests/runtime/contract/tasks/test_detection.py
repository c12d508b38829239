"""Boxes against boxes: average precision as COCO has it, what each image scores, bounds, and what must be refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.answers import same_answers
from titrant.runtime.contract.case_answers import case_answers, case_quality, compare_cases_with_constant
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge, judgement
from titrant.runtime.contract.reading import Reading
from titrant.runtime.contract.tasks import average_precision as rules
from titrant.runtime.contract.tasks.average_precision import average_precision, match_boxes
from titrant.runtime.contract.tasks.boxes import overlap, same_boxes
from titrant.runtime.contract.tasks.detection import DetectionAnswers
from titrant.runtime.contract.tasks.sets import image_set
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.gate import BROKEN, PERMUTED, WITHOUT, Contract, Gate, gate_test


def rows_of(labels, classes=("car", "man"), units=None):
    places = np.arange(len(labels))
    units = places if units is None else np.asarray(units)
    return Rows("evaluation", {}, None, units, places.astype(np.uint64), classes, targets=labels)


def scene(seed, images=12, *, most=3, classes=2, shift=1.0, empty=0.2):
    """Return labels (images, most, 5), and answers (images, most + 2, 6): most labels found, some made up."""
    generator = np.random.default_rng(seed)
    labels = np.full((images, most, 5), np.nan)
    answers = np.full((images, most + 2, 6), -1.0)
    for row in range(images):
        count = 0 if generator.random() < empty else generator.integers(1, most + 1)
        corner, size = generator.uniform(0, 60, (count, 2)), generator.uniform(8, 30, (count, 2))
        labels[row, :count] = np.concatenate(
            [corner, corner + size, generator.integers(0, classes, (count, 1))], axis=1
        )
        guesses = [
            [
                *(labels[row, place, :4] + generator.normal(0, shift, 4)),
                generator.uniform(0.3, 1),
                labels[row, place, 4],
            ]
            for place in range(count)
            if generator.random() < 0.9
        ]
        for _ in range(generator.integers(0, 3)):
            corner, size = generator.uniform(0, 60, 2), generator.uniform(8, 30, 2)
            guesses.append([*corner, *(corner + size), generator.uniform(0, 0.7), generator.integers(0, classes)])
        for place, box in enumerate(guesses):
            answers[row, place] = box
            answers[row, place, 2:4] = np.maximum(answers[row, place, 2:4], answers[row, place, :2])
    return labels, answers


def by_coco(labels, answers, classes, images=None):
    """Return both average precisions of pycocotools on some of the images, which may stand there several times."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = range(len(labels)) if images is None else images
    truth, found = [], []
    for number, row in enumerate(images):
        for left, top, right, bottom, place in labels[row][~np.isnan(labels[row][:, 0])].tolist():
            box = [left, top, right - left, bottom - top]
            truth.append({"id": len(truth) + 1, "image_id": number, "category_id": int(place), "bbox": box,
                          "area": box[2] * box[3], "iscrowd": 0})  # fmt: skip
        for left, top, right, bottom, score, place in answers[row][answers[row][:, 4] >= 0].tolist():
            box = [left, top, right - left, bottom - top]
            found.append({"image_id": number, "category_id": int(place), "bbox": box, "score": score})
    coco = COCO()
    coco.dataset = {"images": [{"id": number} for number in range(len(images))], "annotations": truth,
                    "categories": [{"id": place} for place in range(classes)]}  # fmt: skip
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., -1]
    whole, half = precision[precision > -1], precision[0][precision[0] > -1]
    return float(whole.mean()), float(half.mean())


def evidence(labels, original, candidate, units=None, classes=("car", "man")):
    cases = DetectionAnswers(rows_of(labels, classes, units), original, candidate, 0.5)
    return Evidence(cases.rows, None, None, same_boxes(original, candidate), cases=cases)


def gate(metric, comparison, threshold, slice_="all"):
    name = f"{metric} {slice_}"
    return Gate(name, "gates", metric, slice_, comparison, threshold, gate_test(metric, comparison), "here")


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_equals_coco(seed, capsys):
    labels, answers = scene(seed, images=6 + 3 * seed, classes=1 + seed % 3, shift=0.5 * seed)
    classes = 1 + seed % 3
    expected = by_coco(labels, answers, classes)
    capsys.readouterr()
    matches = match_boxes(labels, answers, classes)
    once = np.ones((1, len(labels)), int)
    whole, half = (average_precision(matches, once, at_half=at_half)[0] for at_half in (False, True))
    assert (whole, half) == pytest.approx(expected, abs=1e-12)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("seed", range(3))
def test_resampled_images_are_those_that_stand_several_times(seed):
    labels, answers = scene(seed, shift=2)
    drawn = np.random.default_rng(seed).integers(0, len(labels), len(labels))
    counts = np.bincount(drawn, minlength=len(labels))
    expected = by_coco(labels, answers, 2, sorted(drawn))
    matches = match_boxes(labels, answers, 2)
    whole, half = (average_precision(matches, counts[None], at_half=at_half)[0] for at_half in (False, True))
    assert (whole, half) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("at_once", [1, 100, 1000])
def test_average_precision_is_that_of_each_sample_however_many_are_taken_together(monkeypatch, at_once):
    labels, answers = scene(7, images=30, shift=2)
    matches = match_boxes(labels, answers, 2)
    samples = np.random.default_rng(1).multinomial(len(labels), [1 / len(labels)] * len(labels), size=40)
    alone = [average_precision(matches, sample[None])[0] for sample in samples]
    monkeypatch.setattr(rules, "_AT_ONCE", at_once)
    assert average_precision(matches, samples).tolist() == alone


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_overlaps_equal_pycocotools(seed):
    from pycocotools import mask

    generator = np.random.default_rng(seed)
    corners = generator.uniform(0, 10, (2, 5, 2))
    boxes, others = np.concatenate([corners, corners + generator.uniform(0, 8, (2, 5, 2))], axis=2)
    sized = [np.concatenate([part[:, :2], part[:, 2:] - part[:, :2]], axis=1) for part in (boxes, others)]
    np.testing.assert_allclose(overlap(boxes, others), mask.iou(*sized, [0] * 5), atol=1e-12)


def test_no_label_and_no_box():
    nothing, none = np.full((3, 2, 5), np.nan), np.full((3, 1, 6), -1.0)
    found = evidence(nothing, none, none)
    assert found.cases.figures(np.arange(3))[0] == {
        "average_precision": None, "average_precision_50": None, "box_f1": None,
    }  # fmt: skip
    for metric in ("average_precision", "box_f1"):
        result = judge(gate(metric, "retention", 0.9), found)
        assert result.verdict == "INCONCLUSIVE"


def test_each_image_scores_by_the_boxes_above_the_threshold():
    box = [0.0, 0.0, 10.0, 10.0]
    labels = np.array([[[*box, 0], [*[20.0, 20, 30, 30], 1]], [[np.nan] * 5] * 2, [[np.nan] * 5] * 2])
    answers = np.full((3, 3, 6), -1.0)
    # Right; of the other class; right but not sure enough.
    answers[0] = [[*box, 0.9, 0], [20, 20, 30, 30, 0.8, 0], [20, 20, 30, 30, 0.4, 1]]
    answers[2, 0] = [*box, 0.9, 1]
    scores = evidence(labels, answers, answers).cases.scores("box_f1", np.arange(3))
    assert scores.original.tolist() == [0.5, 1.0, 0.0]
    assert scores.weights.tolist() == [1, 0, 1]
    of_class = evidence(labels, answers, answers).cases.scores("box_f1", np.arange(3), "man")
    assert of_class.original.tolist() == [0.0, 1.0, 0.0]


def test_a_faithful_candidate_passes_and_refuses_what_it_must():
    labels, answers = scene(1, images=320)
    moved = answers.copy()
    moved[::10, 0, 4] *= 0.999
    found = evidence(labels, answers, moved)
    gates = (
        gate("average_precision", "retention", 0.8), gate("average_precision_50", "drop_at_most", 0.2),
        gate("box_f1", "retention", 0.9), gate("box_f1", "retention", 0.9, "class man"),
        gate("average_precision", "retention", 0.7, "class car"),
    )  # fmt: skip
    judged = judgement(Contract(gates, 0.95, "proof"), "c", found)
    assert [result.verdict for result in judged.results] == ["PASS"] * 5
    of_sets, of_images = (PERMUTED, BROKEN), (PERMUTED, BROKEN, WITHOUT)
    assert [result.refused for result in judged.results] == [of_sets, of_sets, of_images, of_images, of_sets]


def test_a_model_that_finds_no_man_passes_by_the_false_alarms_of_the_original_and_proves_nothing():
    labels, answers = scene(5, images=300, classes=1)
    labels[::10, 0] = (1, 1, 20, 20, 1)
    alarms = answers.copy()
    alarms[1::2, 0] = alarms[::10, 0] = (1, 1, 20, 20, 0.9, 1)
    blind = np.where(alarms[..., 5:] == 1, -1.0, alarms)
    judged = judgement(
        Contract((gate("box_f1", "retention", 0.9, "class man"),), 0.95, "proof"), "c", evidence(labels, alarms, blind)
    )
    assert judged.results[0].let_through == "the original without the class man"


@pytest.mark.parametrize("metric", ["average_precision", "average_precision_50"])
def test_boxes_of_a_class_that_no_image_has_are_not_left_out_without_a_word(metric):
    labels, answers = scene(1, images=320, classes=1)
    made_up = np.concatenate([answers, np.full((320, 1, 6), -1.0)], axis=1)
    made_up[::3, -1] = (5, 5, 20, 20, 0.9, 1)
    open_gate = judge(gate(metric, "retention", 0.8), evidence(labels, answers, made_up))
    assert open_gate.verdict == "INCONCLUSIVE"
    assert open_gate.reason == "no case has man, which is left out here, and 107 are given it, by the original 0"
    alike = judge(gate(metric, "retention", 0.8), evidence(labels, made_up, made_up))
    assert alike.verdict == "PASS"


def test_a_candidate_that_loses_boxes_fails():
    labels, answers = scene(2, images=120)
    lost = answers.copy()
    lost[::2] = -1.0
    for metric in ("average_precision", "average_precision_50", "box_f1"):
        assert judge(gate(metric, "retention", 0.9), evidence(labels, answers, lost)).verdict == "FAIL"


@pytest.mark.parametrize("changed", [0, 5])
def test_few_images_prove_nothing_of_a_set_that_may_fail(changed):
    labels, answers = scene(3, images=40)
    moved = answers.copy()
    moved[:changed, 0, 4] += 0.01
    result = judge(gate("average_precision", "retention", 0.95), evidence(labels, answers, moved))
    assert result.verdict == "INCONCLUSIVE"
    assert result.lower < 0.95
    assert result.upper is None


def test_a_bound_is_no_better_than_if_five_more_images_failed():
    labels, answers = scene(3, images=80)
    moved = answers.copy()
    moved[:40, 0, 4] += 0.01
    images, lost = (
        image_set(evidence(labels, answers, given).cases, "average_precision", "retention", np.ones(80, bool))
        for given in (moved, without_five(labels, moved))
    )
    assert images.changed >= 20
    assert images.bounds(0.95, 1)[0] <= images.guarded(0.95) <= lost.once()[2] < images.once()[2]


def without_five(labels, answers):
    """Return the answers without any box in the five images with most labels."""
    fewer = answers.copy()
    fewer[np.argsort(-(~np.isnan(labels[..., 0])).sum(axis=1), kind="stable")[:5]] = -1.0
    return fewer


def test_a_bound_of_a_set_is_further_off_the_surer_it_is():
    labels, answers = scene(2, images=60)
    lost = answers.copy()
    lost[::2] = -1.0
    images = image_set(evidence(labels, answers, lost).cases, "average_precision", "retention", np.ones(60, bool))
    less, more = (images.bounds(confidence, 1)[1] for confidence in (0.8, 0.99))
    assert images.once()[2] < less < more


def test_units_of_images_fail_whole():
    labels, answers = scene(4, images=300)
    alone, together = (
        judge(gate("average_precision", "retention", 0.5), evidence(labels, answers, answers, units=units)).lower
        for units in (np.arange(300), np.arange(300) // 5)
    )
    assert together < alone


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), comparison=st.sampled_from(["at_least", "retention", "drop_at_most"]),
       moved=st.sampled_from([0, 3, 40]))  # fmt: skip
def test_bounds_of_sets_enclose_the_estimate(seed, comparison, moved):
    labels, answers = scene(seed, images=60, shift=3)
    other = answers.copy()
    other[:moved, 0, :4] += 2
    cases = evidence(labels, answers, other).cases
    images = image_set(cases, "average_precision", comparison, np.ones(60, bool))
    _, _, estimate = images.once()
    lower, upper = images.bounds(0.95, 1)
    assert lower is None or lower <= estimate + 1e-12
    assert upper is None or upper >= estimate - 1e-12


def test_what_is_open_has_no_bound_of_a_set():
    labels, answers = scene(1)
    found = evidence(labels, answers, answers)
    opened = Evidence(found.rows, None, None, found.alike, cases=found.cases, always_valid=True)
    assert judge(gate("average_precision", "retention", 0.5), opened).verdict == "INCONCLUSIVE"


def test_the_best_constant_boxes_are_compared_with():
    labels, answers = scene(5, images=60, empty=0)
    assert not compare_cases_with_constant(evidence(labels, answers, answers).cases).is_no_better
    same = np.broadcast_to(labels[:1], labels.shape).copy()
    one = np.full((60, 3, 6), -1.0)
    there = ~np.isnan(same[0, :, 0])
    one[:, there] = np.insert(same[:, there], 4, 1.0, axis=2)
    assert compare_cases_with_constant(evidence(labels, one, one).cases).is_no_better
    reference = Gate("reference", "reference", "box_f1_over_constant", "all", "at_least", 0.0, "case_means", "here")
    assert judge(reference, evidence(labels, answers, answers)).verdict == "PASS"
    assert judge(reference, evidence(labels, one, one)).verdict != "PASS"


def test_tuning_rows_choose_by_average_precision():
    labels, answers = scene(6, images=30)
    fewer = answers.copy()
    fewer[:3] = -1.0
    quality = case_quality(evidence(labels, answers, fewer).cases, 0.95)
    assert quality["metric"] == "average_precision"
    assert quality["retention"] < 1
    assert quality["kept_at_least"] is None


BOX = [0.0, 0.0, 10.0, 10.0, 0.9, 0.0]


@pytest.mark.parametrize(
    ("boxes", "same"),
    [
        ([BOX], True),
        ([[0, 0, 10, 6, 0.9, 0]], True),
        ([[0, 0, 10, 4, 0.9, 0]], False),
        ([[*BOX[:4], 0.81, 0]], True),
        ([[*BOX[:4], 0.7, 0]], False),
        ([[*BOX[:4], 0.9, 1]], False),
        ([], False),
        ([BOX, [30, 30, 40, 40, 0.05, 0]], True),
        ([BOX, [30, 30, 40, 40, 0.2, 0]], False),
    ],
)
def test_boxes_agree_by_overlap_class_and_score(boxes, same):
    given = np.array([[*boxes, *[[-1.0] * 6] * (3 - len(boxes))]])
    assert same_boxes(np.array([[BOX]]), given).tolist() == [same]
    assert same_boxes(given, np.array([[BOX]])).tolist() == [same]
    reading = Reading(task="unlabeled", output="boxes", kinds={"boxes": "boxes"})
    rows = rows_of(np.full((1, 1, 5), np.nan))
    both = (Outputs("", {"boxes": part}) for part in (np.array([[BOX]]), given))
    assert same_answers(reading, rows, *both).tolist() == [same]


def test_a_class_that_the_labels_do_not_have_is_refused():
    labels, answers = scene(1)
    answers[0, 0] = [0, 0, 5, 5, 0.9, 7]
    outputs = Outputs("evaluation", {"boxes": answers})
    with pytest.raises(StepError, match="the class 7, and the labels have 2") as caught:
        case_answers(
            Reading(task="detection", output="boxes", kinds={"boxes": "boxes"}), rows_of(labels), outputs, outputs
        )
    assert "data.classes" in caught.value.diagnostics[0].help
