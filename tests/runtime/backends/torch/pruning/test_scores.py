"""Scores equal the published formulas, worked out by hand on small networks."""

import numpy as np
import pytest
import torch  # noqa: TID253 - the tests run modules
from coupled_nets import Encoder, Residual, mlp
from torch.nn import functional  # noqa: TID253

from titrant.api.live.values import live_model, live_rows
from titrant.runtime.backends.torch.pruning.scores import group_l2, ranked, taylor
from titrant.runtime.backends.torch.pruning.trial import removable
from titrant.schema.diagnostics.diagnostics import StepError

RNG = np.random.default_rng(1)


def groups_of(module, arrays):
    torch.manual_seed(0)
    return {group.name: group for group in removable(module, arrays, ("output",), ())[0]}


@pytest.fixture(scope="module")
def chain():
    torch.manual_seed(0)
    module = mlp((4, 3, 2)).eval()
    return module, {"x": RNG.normal(size=(48, 4)).astype(np.float32)}


def test_group_l2_is_the_sum_of_squares_of_what_makes_and_what_reads_a_neuron(chain):
    module, arrays = chain
    group = groups_of(module, {"x": arrays["x"][:2]})["0"]
    first, second = module[0].weight.detach().double(), module[2].weight.detach().double()
    expected = [float((first[unit] ** 2).sum() + (second[:, unit] ** 2).sum()) for unit in range(3)]
    np.testing.assert_allclose(group_l2(module, group), expected, rtol=1e-12)


def test_group_l2_is_torch_prunings_group_norm():
    """Its GroupMagnitudeImportance, summed and not normalized, over convolutions, norms and what is flattened."""
    import torch_pruning

    torch.manual_seed(0)
    module = Residual().eval()
    image = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    groups = groups_of(module, {"image": image})
    graph = torch_pruning.DependencyGraph().build_dependency(module, torch.from_numpy(image), verbose=False)
    score = torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="sum", normalizer=None)
    for name, group in groups.items():
        root = module.get_submodule(name)
        theirs = graph.get_pruning_group(root, torch_pruning.prune_conv_out_channels, [*range(root.out_channels)])
        np.testing.assert_allclose(group_l2(module, group), score(theirs).numpy(), rtol=1e-5)


def test_group_l2_of_a_head_is_that_of_its_rows_and_columns():
    module = Encoder().eval()
    group = groups_of(module, {"tokens": np.arange(10).reshape(2, 5)})["layers.layers.0.self_attn"]
    attention = module.layers.layers[0].self_attn
    rows = attention.in_proj_weight.detach().double().reshape(3, 4, -1).square().sum((0, 2))
    columns = attention.out_proj.weight.detach().double().reshape(16, 4, 4).square().sum((0, 2))
    np.testing.assert_allclose(group_l2(module, group), (rows + columns).numpy(), rtol=1e-12)


def test_taylor_is_the_sum_of_squares_of_gradient_times_weight(chain):
    """Molchanov et al. 2019, I = Σ (g·w)²; one batch, so that nothing is left to the order of rows."""
    module, arrays = chain
    labels = RNG.integers(0, 2, 48)
    group = groups_of(module, {"x": arrays["x"][:2]})["0"]
    model, rows = live_model(module, arrays), live_rows("train", (arrays, labels))
    loss = functional.cross_entropy(module(torch.from_numpy(arrays["x"])), torch.from_numpy(labels))
    first, second = torch.autograd.grad(loss, [module[0].weight, module[2].weight])
    made, read = (first * module[0].weight).detach() ** 2, (second * module[2].weight).detach() ** 2
    expected = [float(made[unit].sum() + read[:, unit].sum()) for unit in range(3)]
    np.testing.assert_allclose(taylor(model, (group,), rows, 64)[0], expected, rtol=1e-4)
    assert all(weight.grad is None and weight.requires_grad for weight in module.parameters())


def test_taylor_scores_weights_that_do_not_train(chain):
    module, arrays = chain
    group = groups_of(module, {"x": arrays["x"][:2]})["0"]
    rows, model = live_rows("train", (arrays, RNG.integers(0, 2, 48))), live_model(module, arrays)
    asked = taylor(model, (group,), rows, 48)[0]
    for weight in module.parameters():
        weight.requires_grad_(False)
    np.testing.assert_array_equal(taylor(model, (group,), rows, 48)[0], asked)
    assert not any(weight.requires_grad for weight in module.parameters())


def test_taylor_needs_labels(chain):
    module, arrays = chain
    with pytest.raises(StepError) as refused:
        taylor(live_model(module, arrays), (), live_rows("train", arrays), 8)
    assert refused.value.diagnostics[0].code == "X541"


def test_ranks_equal_scores_in_their_order():
    assert ranked(np.array([2.0, 1.0, 2.0, 1.0])) == [1, 3, 0, 2]
