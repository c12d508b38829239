"""Masks against masks: metrics, what is left out, bounds that hold, and answers that must be refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.contract.answers import same_answers
from titrant.runtime.contract.case_answers import case_answers, case_quality, compare_cases_with_constant
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judge, judgement
from titrant.runtime.contract.metrics import slice_metrics
from titrant.runtime.contract.reading import AnswerComparison, Reading
from titrant.runtime.contract.tasks import segmentation
from titrant.runtime.contract.tasks.masks import counted_classes, mean_dice, outline_distances
from titrant.runtime.contract.tasks.scores import CaseClaims, CaseScores, Unassessable
from titrant.runtime.contract.tasks.segmentation import SegmentationAnswers
from titrant.runtime.report.slices import slice_table
from titrant.runtime.values import Outputs, Rows
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.gate import BROKEN, PERMUTED, WITHOUT, Contract, Gate, gate_test

NAMES = ("background", "organ", "lesion")


def rows_of(masks, classes=NAMES, units=None):
    count = len(masks)
    places = np.arange(count)
    units = places if units is None else np.asarray(units)
    targets = np.asarray(masks, np.int16)
    return Rows("evaluation", {}, None, units, places.astype(np.uint64), classes, targets=targets)


def answers_of(masks, original, candidate, classes=NAMES):
    return SegmentationAnswers(rows_of(masks, classes), np.asarray(original), np.asarray(candidate))


def evidence(masks, original, candidate, classes=NAMES):
    cases = answers_of(masks, original, candidate, classes)
    alike = mean_dice(np.asarray(original), np.asarray(candidate)) >= 0.95
    return Evidence(cases.rows, None, None, alike, cases=cases)


def gate(metric, comparison, threshold, slice_="all"):
    name = f"{metric} {slice_}"
    return Gate(name, "gates", metric, slice_, comparison, threshold, gate_test(metric, comparison), "here")


def with_noise(masks, share, seed, classes=3):
    """Return masks of which a share of the pixels is another class."""
    generator = np.random.default_rng(seed)
    other = (masks + generator.integers(1, classes, masks.shape)) % classes
    return np.where(generator.random(masks.shape) < share, other, masks)


@pytest.fixture(scope="module")
def discs():
    """260 images of 12 × 12 with a disc of class 1, in every other image with a dot of class 2."""
    generator = np.random.default_rng(0)
    down, right = np.mgrid[:12, :12]
    masks = np.zeros((260, 12, 12), np.int64)
    for row, (y, x) in enumerate(generator.uniform(3, 9, (260, 2))):
        masks[row][(down - y) ** 2 + (right - x) ** 2 < 9] = 1
        if row % 2:
            masks[row, int(y) - 1 : int(y) + 1, int(x) - 1 : int(x) + 1] = 2
    return masks


@pytest.mark.parametrize(("metric", "name"), [("dice", "f1_score"), ("iou", "jaccard_score")])
def test_overlaps_equal_scikit_learn(discs, metric, name):
    from sklearn import metrics

    masks = discs[:12]
    answers = with_noise(masks, 0.1, 1)
    cases = answers_of(masks, answers, masks)
    for place, class_name in enumerate(NAMES):
        scores = cases.scores(metric, np.arange(12), class_name)
        for row in range(12):
            if scores.weights[row]:
                reference = getattr(metrics, name)(masks[row].ravel() == place, answers[row].ravel() == place)
                assert scores.original[row] == pytest.approx(reference, abs=1e-12)
    figures, _ = cases.figures(np.arange(12))
    by_class = [
        [cases.scores(metric, np.array([row]), class_name).before for class_name in NAMES[1:]] for row in range(12)
    ]
    assert figures[metric] == pytest.approx(np.mean([np.mean(row) for row in by_class]), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(3, 14), share=st.floats(0.02, 0.9))
def test_distances_equal_those_of_distance_transforms(seed, size, share):
    from scipy import ndimage

    generator = np.random.default_rng(seed)
    first, second = generator.random((2, size, size + 2)) < share
    if not first.any() or not second.any():
        assert outline_distances(first, second) is None
        return
    outlines = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    there = ndimage.distance_transform_edt(~outlines[1])[outlines[0]]
    back = ndimage.distance_transform_edt(~outlines[0])[outlines[1]]
    mean, furthest = outline_distances(first, second)
    assert mean == pytest.approx(np.concatenate([there, back]).mean(), abs=1e-9)
    assert furthest == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("titrant.runtime.contract.tasks.masks._PAIRS_AT_ONCE", 0)
        assert outline_distances(first, second) == (mean, furthest)  # by a tree, as large outlines are


def test_a_class_in_neither_mask_is_left_out_and_one_that_is_made_up_counts():
    nothing, dot = np.zeros((4, 4), int), np.pad([[1]], (0, 3))
    masks = np.stack([nothing, dot, nothing])
    cases = answers_of(masks, [nothing, dot, nothing], [nothing, dot, dot], ("0", "1"))
    scores = cases.scores("dice", np.arange(3))
    assert scores.weights.tolist() == [0, 1, 1]
    assert (scores.before, scores.after) == (1.0, 0.5)
    distances = cases.scores("surface_distance", np.arange(3))
    assert distances.candidate.tolist() == [0, 0, pytest.approx(3 * np.sqrt(2))]
    assert distances.high == pytest.approx(3 * np.sqrt(2))


def test_images_without_any_object_are_not_assessable():
    nothing = np.zeros((3, 4, 4), int)
    result = judge(gate("dice", "retention", 0.9), evidence(nothing, nothing, nothing, ("0", "1")))
    assert result.verdict == "INCONCLUSIVE"
    assert "no image has any of it" in result.reason


@pytest.mark.parametrize(
    ("names", "counted"),
    [
        (("0", "1", "2"), [False, True, True]),
        (("background", "organ"), [False, True]),
        (("organ", "background"), [True, False]),
        (("road", "sky"), [True, True]),
        (("0", "255"), [False, True]),
        (("255", "0", "128"), [True, False, True]),
        (("1", "2"), [True, True]),
    ],
)
def test_the_background_is_no_object(names, counted):
    assert counted_classes(names).tolist() == counted


@pytest.mark.parametrize("kind", ["logits", "probabilities", "mask"])
@pytest.mark.parametrize("channels", [3, 1])
def test_reads_masks_off_channels_and_numbers(discs, kind, channels):
    masks = discs[:4] if channels == 3 else (discs[:4] > 0).astype(int)
    given = np.eye(3)[masks].transpose(0, 3, 1, 2) if channels == 3 else masks[:, None].astype(float)
    values = (given * 8 - 4 if kind == "logits" else given).astype(np.float32)
    made = rows_of(masks, NAMES[:channels] if channels == 3 else ("0", "1"))
    outputs = Outputs("evaluation", {"mask": values})
    cases = case_answers(Reading(task="segmentation", kinds={"mask": kind}), made, outputs, outputs)
    assert cases.figures(np.arange(4))[0]["dice"] == 1


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4, 3, 6, 6), "the labels' masks are"),
        ((4, 5, 12, 12), "5 channels for 3 classes"),
        ((4, 2), "the labels' masks are"),
    ],
)
def test_refuses_outputs_that_are_no_masks_of_these_labels(discs, shape, words):
    outputs = Outputs("evaluation", {"mask": np.zeros(shape, np.float32)})
    with pytest.raises(StepError, match=words):
        case_answers(Reading(task="segmentation"), rows_of(discs[:4]), outputs, outputs)


def test_a_faithful_candidate_passes_and_refuses_what_it_must(discs):
    original = with_noise(discs, 0.02, 1)
    made = evidence(discs, original, with_noise(original, 0.0005, 2))
    gates = (
        gate("dice", "retention", 0.9),
        gate("iou", "drop_at_most", 0.1),
        gate("dice", "retention", 0.8, "class lesion"),
        gate("surface_distance", "rise_at_most", 2),
    )
    judged = judgement(Contract(gates, 0.95, "proof"), "c", made)
    assert [result.verdict for result in judged.results] == ["PASS"] * 4
    assert all(result.refused == (PERMUTED, BROKEN, WITHOUT) for result in judged.results)


@pytest.mark.parametrize(
    "asked", [("dice", "retention", 0.9), ("iou", "drop_at_most", 0.1), ("surface_distance", "rise_at_most", 1)]
)
def test_a_model_that_finds_no_lesion_passes_by_the_false_alarms_of_the_original_and_proves_nothing(discs, asked):
    rare = np.where((discs == 2) & (np.arange(len(discs)) % 10 > 1)[:, None, None], 1, discs)
    original = rare.copy()
    original[::2, 0, 0] = 2  # a lesion is made up in every image without one
    blind = evidence(rare, original, np.where(original == 2, 0, original))
    gates = (gate(*asked, "class lesion"), gate("dice", "retention", 0.5, "class organ"))
    judged = judgement(Contract(gates, 0.95, "evidence"), "c", blind)
    assert [result.verdict for result in judged.results] == ["INCONCLUSIVE", "PASS"]
    assert judged.results[0].let_through == "the original without the class lesion"
    assert not judged.released


def test_answers_without_objects_are_background_wherever_it_stands(discs):
    names = ("lesion", "background", "organ")
    assert (answers_of(discs, discs, discs, names).without().shown()[2] == 1).all()
    assert np.unique(answers_of(discs, discs, discs, names).without("lesion").shown()[2]).tolist() == [1, 2]
    assert answers_of(discs, discs, discs, ("organ", "gland", "lesion")).without() is None


def test_a_candidate_that_loses_one_class_fails_there(discs):
    made = evidence(discs, discs, np.where(discs == 2, 1, discs))
    assert judge(gate("dice", "retention", 0.8, "class lesion"), made).verdict == "FAIL"
    assert judge(gate("dice", "retention", 0.8, "class organ"), made).verdict == "PASS"
    assert judge(gate("dice", "retention", 0.8, "class gland"), made).verdict == "INCONCLUSIVE"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(["dice", "iou", "surface_distance"]),
       name=st.sampled_from(["", "organ", "lesion"]), empty=st.booleans())  # fmt: skip
def test_broken_answers_are_as_bad_as_can_be(seed, metric, name, empty):
    generator = np.random.default_rng(seed)
    masks = generator.integers(0, 3, (6, 5, 5)) * (0 if empty else 1)
    cases = answers_of(masks, masks, masks).broken(np.ones(6, bool), name)
    scores = cases.scores(metric, np.arange(6), name)
    # A mask may hold every class, and then no single one is wrong everywhere.
    worst = scores.candidate[scores.weights > 0]
    assert (worst == (scores.high if metric == "surface_distance" else 0)).all()
    assert scores.weights.any()


def test_measures_no_outline_of_the_original_twice(discs, monkeypatch):
    """All that is derived from a comparison has the same original, and outlines take most of the time."""
    measured = []
    monkeypatch.setattr(segmentation, "outline_distances", lambda *pair: measured.append(pair) or (1.0, 1.0))
    cases = answers_of(discs[:9], discs[:9], discs[:9])
    every = np.arange(9)
    counts = []
    for each in (cases, *2 * [cases.permuted(np.roll(every, 1))], cases.broken(every == 4)):
        each.scores("hausdorff_95", every)
        counts.append(len(measured))
    of_original, of_permuted = counts[0], counts[1] - counts[0]
    assert of_original <= 9 * len(NAMES)
    assert 0 < of_permuted <= 9 * len(NAMES)
    assert counts[2] == counts[1]
    assert 0 < counts[3] - counts[2] <= len(NAMES)  # of the one image that is answered otherwise


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), metric=st.sampled_from(["surface_distance", "hausdorff_95"]))
def test_distances_beside_an_original_are_those_of_the_answers_alone(seed, metric):
    generator = np.random.default_rng(seed)
    labels, original = generator.integers(0, 3, (2, 6, 5, 5))
    candidate = np.where(generator.random(6)[:, None, None] < 0.5, original, generator.integers(0, 3, (6, 5, 5)))
    candidate[0] = 0
    beside = answers_of(labels, original, candidate)._by_class(metric, candidate=True)
    alone = answers_of(labels, candidate, original)._by_class(metric, candidate=False)
    assert np.array_equal(beside.values, alone.values)
    assert np.array_equal(beside.present, alone.present)


def test_the_best_constant_mask_is_compared_with(discs):
    every = np.broadcast_to(np.ones((12, 12), int), discs.shape)
    compared = compare_cases_with_constant(answers_of(discs, every, every))
    assert compared.is_no_better
    assert "everywhere" in compared.answer or "commonest" in compared.answer
    assert not compare_cases_with_constant(answers_of(discs, discs, discs)).is_no_better
    reference = Gate("reference", "reference", "dice_over_constant", "all", "at_least", 0.0, "case_means", "here")
    assert judge(reference, evidence(discs, discs, discs)).verdict == "PASS"
    assert judge(reference, evidence(discs, every, every)).verdict != "PASS"


def test_tuning_rows_choose_by_dice(discs):
    quality = case_quality(answers_of(discs, discs, with_noise(discs, 0.01, 3)), 0.95)
    assert quality["metric"] == "dice"
    assert quality["kept_at_least"] < quality["retention"] < 1


def test_masks_agree_by_dice_with_and_without_labels(discs):
    masks = (discs > 0).astype(int)
    moved = masks.copy()
    moved[0] = 0
    for task, kinds in (("segmentation", {}), ("unlabeled", {"mask": "mask"})):
        reading = Reading(task=task, output="mask" if kinds == {} else "", kinds=kinds)
        both = [
            Outputs("evaluation", {"mask": np.where(part, 4, -4) if kinds == {} else part}) for part in (masks, moved)
        ]
        alike = same_answers(reading, rows_of(masks, ("0", "1")), *both)
        assert not alike[0]
        assert alike[1:].all()
    two_nothings = np.zeros((1, 4, 4), int)
    assert mean_dice(two_nothings, two_nothings).tolist() == [1]
    stated = {"mask": AnswerComparison(measure="dice", tolerance=0.0)}
    lenient = Reading(task="unlabeled", kinds={"mask": "mask"}, agreement=stated)
    assert same_answers(lenient, rows_of(masks), *[Outputs("", {"mask": part}) for part in (masks, moved)]).all()


@pytest.mark.parametrize(("names", "lesion"), [
    (("lesion", "background"), 0), (("255", "0"), 0), (("0", "255"), 1), (("lesion", "background", "organ"), 0),
    (("road", "sky"), 0), (("road", "sky"), 1),
])  # fmt: skip
def test_masks_do_not_agree_where_an_object_is_lost_wherever_its_class_stands(names, lesion):
    ground = 1 - lesion
    masks = np.full((4, 12, 12), ground)
    masks[:, 2:5, 2:5] = lesion
    lost = np.full_like(masks, ground)
    reading = Reading(task="segmentation", output="mask", kinds={"mask": "mask"})
    both = [Outputs("evaluation", {"mask": part}) for part in (masks, lost)]
    assert not same_answers(reading, rows_of(masks, names), *both).any()
    assert same_answers(reading, rows_of(masks, names), both[0], both[0]).all()
    beyond = Outputs("evaluation", {"mask": masks + 5})
    with pytest.raises(StepError, match="X420: the output 'mask' holds class"):
        same_answers(reading, rows_of(masks, names), both[0], beyond)


@pytest.mark.parametrize("count", [60, 400])
def test_a_loss_at_the_threshold_passes_no_more_often_than_allowed(count):
    """One image in a hundred is lost whole, some have no object, and the threshold is what is left on average."""
    generator = np.random.default_rng(5)
    passed, draws, share = 0, 400, 0.01
    for _ in range(draws):
        original = np.full(count, 0.9)
        candidate = np.where(generator.random(count) < share, 0.0, 0.9)
        weights = (generator.random(count) < 0.6).astype(float)
        scores = CaseScores("dice", original, candidate, np.arange(count), 0.0, 1.0, weights=weights)
        passed += CaseClaims(scores, "retention", 0.95).proves(1 - share)
    assert passed / draws <= 0.05 + 1.645 * np.sqrt(0.05 * 0.95 / draws)


def test_a_class_that_is_not_there_is_refused(discs):
    with pytest.raises(Unassessable, match="no class gland"):
        answers_of(discs, discs, discs).scores("dice", np.arange(3), "gland")


def test_the_report_gets_a_slice_for_each_class(discs):
    made = evidence(discs, discs, np.where(discs == 2, 1, discs))
    parts = {part.value: part for part in slice_metrics(made) if part.group == "class"}
    assert list(parts) == list(NAMES)
    assert (parts["lesion"].original["dice"], parts["lesion"].candidate["dice"]) == (1.0, 0.0)
    assert parts["lesion"].cases == 130
    table = slice_table(slice_metrics(made))
    assert table.metrics == ("dice", "iou", "surface distance", "hausdorff 95")
    assert [row.name for row in table.rows] == ["all", "class: background", "class: organ", "class: lesion"]
    assert table.rows[3].figures[0] == "1.0000 → 0.0000"
