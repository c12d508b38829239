"""Losses: torch's own numbers, one logit as two, weights and smoothing as published, and a user's own."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch  # noqa: TID253 - what is tested is torch's own arithmetic
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from titrant.runtime.backends.torch.losses import LossTerms, check_output, correct, labels_of, loss_of
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import StepError

ROWS = st.integers(2, 9)
SMOOTHING = st.sampled_from([0.0, 0.1, 0.5])
WEIGHTS = st.none() | st.tuples(st.floats(0.1, 9), st.floats(0.1, 9))


def batch(rows, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, classes, generator=generator), torch.randint(classes, (rows,), generator=generator)


def weight_of(weights):
    return None if weights is None else torch.tensor(weights)


@settings(max_examples=30)
@given(rows=ROWS, smoothing=SMOOTHING, weights=WEIGHTS)
def test_is_torchs_cross_entropy_bit_for_bit(rows, smoothing, weights):
    output, labels = batch(rows, 2)
    mine = loss_of("cross_entropy", LossTerms(None, weights, smoothing))(output, labels)
    assert mine == functional.cross_entropy(output, labels, weight=weight_of(weights), label_smoothing=smoothing)


@settings(max_examples=30)
@given(rows=ROWS, smoothing=SMOOTHING, weights=WEIGHTS)
def test_counts_log_probabilities_as_the_logits_that_they_come_from(rows, smoothing, weights):
    output, labels = batch(rows, 2)
    terms = LossTerms(None, weights, smoothing)
    mine = loss_of("nll_loss", terms)(functional.log_softmax(output, 1), labels)
    assert torch.allclose(mine, loss_of("cross_entropy", terms)(output, labels), atol=1e-6)


@settings(max_examples=30)
@given(rows=ROWS, smoothing=SMOOTHING, weights=WEIGHTS, positive=st.sampled_from([0, 1, None]), flat=st.booleans())
def test_counts_one_logit_as_two_of_which_the_other_is_nought(rows, smoothing, weights, positive, flat):
    output, labels = batch(rows, 1)
    labels = labels if rows == 2 else torch.arange(rows) % 2
    place = 1 if positive is None else positive
    two = torch.zeros(rows, 2)
    two[:, place] = output[:, 0]
    terms = LossTerms(positive, weights, smoothing)
    mine = loss_of("binary_cross_entropy_with_logits", terms)(output[:, 0] if flat else output, labels)
    theirs = functional.cross_entropy(two, labels, label_smoothing=smoothing, reduction="none")
    each = torch.ones(rows) if weights is None else torch.tensor(weights)[labels]
    assert torch.allclose(mine, (theirs * each).sum() / each.sum(), atol=1e-5)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_compares_probabilities_with_the_class_of_the_row(name):
    probabilities = batch(6, 3)[0].softmax(1)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    target = torch.eye(3)[labels]
    compare = getattr(functional, name)
    assert loss_of(name, LossTerms())(probabilities, labels) == compare(probabilities, target)
    weights = (1.0, 2.0, 4.0)
    each = torch.tensor(weights)[labels]
    weighed = (compare(probabilities, target, reduction="none").mean(1) * each).sum() / each.sum()
    assert loss_of(name, LossTerms(None, weights))(probabilities, labels) == weighed


@pytest.mark.parametrize("positive", [0, 1])
def test_is_briers_score_of_one_probability(positive):
    probabilities, labels = torch.tensor([[0.9], [0.2], [0.6]]), torch.tensor([1, 0, 0])
    truth = (labels == positive).float()
    loss = loss_of("mse_loss", LossTerms(positive))(probabilities, labels)
    assert float(loss) == pytest.approx(float(((probabilities[:, 0] - truth) ** 2).mean()))


def test_draws_the_line_of_a_probability_at_a_half():
    labels = torch.tensor([1, 1, 0, 0])
    probabilities = torch.tensor([[0.9], [0.4], [0.2], [0.6]])
    assert correct(probabilities, labels, 1, 0.5) == 2
    assert correct(probabilities, labels, 0, 0.5) == 2
    assert correct(torch.logit(probabilities), labels, 1) == 2
    assert correct(probabilities[:3], labels[:3], 1, 0.5) == 2


@pytest.mark.parametrize(
    ("loss", "shape", "weights", "said"),
    [
        ("mse_loss", (4, 1), None, None),
        ("mse_loss", (4, 2), None, None),
        ("nll_loss", (4, 1), None, "needs"),
        ("binary_cross_entropy_with_logits", (4, 2), None, "one logit"),
        ("cross_entropy", (4, 3), 3, None),
        ("cross_entropy", (4, 3), 2, "there are 2 class weights"),
        ("binary_cross_entropy_with_logits", (4, 1), 3, "there are 3 class weights"),
        ("losses:own", (4,), None, None),
    ],
)
def test_refuses_outputs_that_the_loss_cannot_compare(*, loss, shape, weights, said):
    labels = torch.tensor([0, 1, 0, 1])
    if said is None:
        check_output(loss, torch.zeros(shape), labels, weights)
        return
    with pytest.raises(StepError, match=f"X203.*{said}"):
        check_output(loss, torch.zeros(shape), labels, weights)


class Own(nn.Module):
    """A loss that is made first."""

    def forward(self, output, labels):
        return functional.cross_entropy(output, labels)


def own(output, labels):
    return functional.cross_entropy(output, labels).reshape(1)


def of_rows(output, labels):
    return functional.cross_entropy(output, labels, reduction="none")


def number(output, labels):
    return functional.cross_entropy(output, labels).item()


def without_gradient(output, labels):
    return functional.cross_entropy(output, labels).detach()


def raising(output, labels):
    raise KeyError("patient 4711")


@pytest.mark.parametrize("name", ["Own", "own"])
def test_calls_a_loss_of_the_users_own(name):
    output, labels = batch(5, 2)
    output.requires_grad_()
    loss = loss_of(f"{__name__}:{name}", LossTerms())(output, labels)
    assert loss.shape == ()
    assert loss == functional.cross_entropy(output, labels)
    loss.backward()
    assert bool((output.grad != 0).any())


@pytest.mark.parametrize(
    ("name", "said"),
    [("of_rows", r"X510.*gives a Tensor of shape \(5,\)"), ("number", "X510.*gives a float"),
     ("without_gradient", "X510.*without a gradient"), ("raising", "X108.*KeyError"), ("gone", "X150")],
)  # fmt: skip
def test_says_what_is_wrong_with_a_loss_of_the_users_own(name, said):
    output, labels = batch(5, 2)
    output.requires_grad_()
    with pytest.raises(StepError, match=said) as caught:
        loss_of(f"{__name__}:{name}", LossTerms())(output, labels)
    assert "4711" not in caught.value.diagnostics[0].message


def test_needs_no_gradient_where_nothing_is_learned():
    output, labels = batch(5, 2)
    assert math.isfinite(float(loss_of(f"{__name__}:without_gradient", LossTerms())(output, labels)))


def test_compares_each_pixel_with_its_class():
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 3, (4, 5, 6), generator=generator)
    logits = torch.randn(4, 3, 5, 6, generator=generator)
    check_output("cross_entropy", logits, masks, 3)
    weights = (1.0, 2.0, 3.0)
    expected = functional.cross_entropy(logits, masks, weight=torch.tensor(weights), label_smoothing=0.1)
    assert loss_of("cross_entropy", LossTerms(class_weights=weights, label_smoothing=0.1))(logits, masks) == expected
    one = logits[:, :1]
    target = (masks == 1).float()
    check_output("binary_cross_entropy_with_logits", one, masks)
    expected = functional.binary_cross_entropy_with_logits(one[:, 0], target)
    assert loss_of("binary_cross_entropy_with_logits", LossTerms())(one, masks) == expected


@pytest.mark.parametrize(
    ("loss", "shape", "weights"),
    [
        ("cross_entropy", (4, 2, 5, 6), None),
        ("cross_entropy", (4, 3, 5, 5), None),
        ("cross_entropy", (4, 3), None),
        ("cross_entropy", (4, 3, 5, 6), 2),
        ("binary_cross_entropy_with_logits", (4, 3, 5, 6), None),
    ],
)
def test_refuses_outputs_that_are_not_of_the_masks(loss, shape, weights):
    masks = torch.full((4, 5, 6), 2)
    with pytest.raises(StepError) as caught:
        check_output(loss, torch.zeros(shape), masks, weights)
    assert caught.value.diagnostics[0].code == "X203"


def test_takes_masks_and_boxes_as_labels():
    places = np.arange(4)
    masks = Rows("train", {}, None, places, places.astype(np.uint64), targets=np.ones((4, 2, 2), np.int16))
    assert labels_of(masks).dtype == torch.int64
    boxes = replace(masks, targets=np.full((4, 3, 5), np.nan))
    assert labels_of(boxes).dtype == torch.float32
