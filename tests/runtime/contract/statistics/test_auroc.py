"""Areas under ROC curves."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score  # noqa: TID253 - the independent computation

from titrant.runtime.contract.statistics.auroc import difference_bounds, paired_areas, ratio_bounds


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    positive = generator.random(120) < 0.4
    old = positive + generator.normal(0, 1.0, 120)
    return old, old + generator.normal(0, 0.3, 120), positive


def by_kernel(old, new, positive):
    """DeLong's covariance from the Mann-Whitney kernel, written out."""
    kernels = [
        (s[positive][:, None] > s[~positive][None]) + 0.5 * (s[positive][:, None] == s[~positive][None])
        for s in (old, new)
    ]
    first, second = np.stack([k.mean(axis=1) for k in kernels]), np.stack([k.mean(axis=0) for k in kernels])
    return np.cov(first) / first.shape[1] + np.cov(second) / second.shape[1]


def test_agrees_with_scikit_learn_and_with_delongs_definition(scores):
    old, new, positive = scores
    old, new = old.round(1), new.round(1)  # ties too
    areas = paired_areas(old, new, positive, np.arange(120))
    assert areas.original == pytest.approx(roc_auc_score(positive, old))
    assert areas.candidate == pytest.approx(roc_auc_score(positive, new))
    expected = by_kernel(old, new, positive)
    assert areas.original_variance == pytest.approx(expected[0, 0])
    assert areas.candidate_variance == pytest.approx(expected[1, 1])
    assert areas.covariance == pytest.approx(expected[0, 1])


def test_finds_no_discordant_case_when_only_the_scale_changed(scores):
    old, _, positive = scores
    assert paired_areas(old, np.tanh(old / 9), positive, np.arange(120)).discordant == 0


def test_bounds_the_ratio_and_the_difference_around_the_estimate(scores):
    areas = paired_areas(scores[0], scores[1], scores[2], np.arange(120))
    lower, upper = ratio_bounds(areas, 0.95)
    assert lower < areas.candidate / areas.original < upper
    below, above = difference_bounds(areas, 1.0, 0.95)
    assert below < areas.candidate - areas.original < above
    assert below == pytest.approx((lower - 1) * areas.original, abs=0.01)


def test_does_not_take_copies_of_a_case_for_evidence(scores):
    old, new, positive = (np.repeat(one, 4) for one in scores)
    once = paired_areas(*scores, np.arange(120))
    copied = paired_areas(old, new, positive, np.repeat(np.arange(120), 4))
    assert copied.contrast(1.0)[1] == pytest.approx(once.contrast(1.0)[1], rel=0.03)
