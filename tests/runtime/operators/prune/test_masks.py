"""Masks: each score equals its published formula, computed here by loops, and only what is asked for becomes zero."""

import dataclasses
import math

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.reduced.activations import InputNorms, ZeroShares
from titrant.runtime.backends.torch.reduced.masks import lowest, magnitude_masks, n_m_mask, wanda_mask, weights_of
from titrant.schema.diagnostics.diagnostics import PreconditionError

SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.8, 0.95])
SHAPES = st.sampled_from([(3, 4), (2, 8), (5, 4, 3), (2, 4, 3, 3), (1, 1)])


def weight(shape, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(st.lists(SHAPES, min_size=1, max_size=3), SHARES, st.sampled_from(["layer", "global"]))
def test_masks_the_weights_nearest_to_zero(shapes, sparsity, scope):
    weights = [weight(shape, place) for place, shape in enumerate(shapes)]
    masks = magnitude_masks(weights, sparsity, scope)
    groups = [range(len(weights))] if scope == "global" else [[place] for place in range(len(weights))]
    for group in groups:
        values = sorted(abs(value) for place in group for value in weights[place].flatten().tolist())
        count = round(sparsity * len(values))
        limit = values[count - 1] if count else -1.0
        for place in group:
            assert torch.equal(masks[place], weights[place].abs() <= limit)


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4), (4, 8)]))
def test_keeps_the_n_largest_of_every_m_along_the_inputs(shape, pattern):
    (n, m), values = pattern, weight(shape, 5)
    mask = n_m_mask(values, n, m)
    if shape[1] % m:
        assert mask is None
        return
    for place in np.ndindex(shape[0], *shape[2:]):
        along = values[(place[0], slice(None), *place[1:])].abs().tolist()
        marked = mask[(place[0], slice(None), *place[1:])].tolist()
        for start in range(0, len(along), m):
            kept = sorted(along[start : start + m], reverse=True)[:n]
            assert [item not in kept for item in along[start : start + m]] == marked[start : start + m]


def test_takes_the_first_of_equal_scores():
    assert lowest(torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]), 2).tolist() == [False, True, False, True, False]


@settings(max_examples=20, deadline=None)
@given(SHARES, st.integers(1, 3))
def test_scores_linear_layers_as_wanda_does(sparsity, dimensions):
    layer = nn.Linear(7, 4)
    x = weight((5, *([3] * (dimensions - 1)), 7), 2) * torch.arange(1, 8)
    with InputNorms(nn.Sequential(layer)) as seen:
        layer(x)
    mask = wanda_mask(layer.weight, seen.norms()["0"], sparsity)
    norms = [math.sqrt(sum(value**2 for value in x.reshape(-1, 7)[:, j].tolist())) for j in range(7)]
    for i in range(4):
        scores = [abs(float(layer.weight[i, j].detach())) * norms[j] for j in range(7)]
        limit = sorted(scores)[: int(sparsity * 7)]
        assert mask[i].tolist() == [score in limit for score in scores]


CONVOLUTIONS = st.fixed_dictionaries(
    {
        "dimensions": st.sampled_from([1, 2]),
        "groups": st.sampled_from([1, 2, 4]),
        "stride": st.sampled_from([1, 2]),
        "dilation": st.sampled_from([1, 2]),
        "padding": st.sampled_from([0, 1, "same"]),
        "padding_mode": st.sampled_from(["zeros", "reflect"]),
    }
).filter(lambda options: options["padding"] != "same" or options["stride"] == 1)


@settings(max_examples=15, deadline=None)
@given(CONVOLUTIONS)
def test_sums_what_each_weight_of_a_kernel_is_multiplied_with(options):
    """The unfolded inputs of a weight are read off the layer itself: with that weight alone it answers with them."""
    options = dict(options)
    dimensions = options.pop("dimensions")
    make = {1: nn.Conv1d, 2: nn.Conv2d}[dimensions]
    layer = make(4, 8, 3, bias=False, **options)
    x = weight((2, 4, *[7] * dimensions), 3)
    with InputNorms(nn.Sequential(layer)) as seen:
        layer(x)
    norms = seen.norms()["0"]
    assert norms.shape == layer.weight.shape
    rng = np.random.default_rng(1)
    for _ in range(3):
        place = tuple(int(rng.integers(size)) for size in layer.weight.shape)
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[place] = 1
            multiplied = layer(x)[:, place[0]].double()
        assert float(norms[place]) == pytest.approx(float(multiplied.norm()), rel=1e-6, abs=1e-9)


class Filters(nn.Module):
    """Convolutions whose answers are zero after a ReLU in some way, and others whose are not."""

    def __init__(self, called):
        super().__init__()
        self.called = called
        self.plain, self.normed, self.added = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.norm, self.relu = nn.BatchNorm2d(3), nn.ReLU(inplace=called == "in place")

    def forward(self, x):
        act = {"function": torch.relu, "functional": nn.functional.relu, "method": lambda y: y.relu()}
        act = act.get(self.called, self.relu)
        y = act(self.plain(x))
        y = act(self.norm(self.normed(y)))
        return torch.relu(self.added(y) + x)


@pytest.mark.parametrize("called", ["function", "functional", "method", "module", "in place"])
def test_counts_how_often_a_filter_answers_zero(called):
    torch.manual_seed(1)
    net, x = Filters(called).eval(), weight((4, 3, 5, 5), 7)
    with torch.no_grad(), ZeroShares(net) as seen:
        net(x)
        net(x[:1])
    y = torch.relu(net.plain(x))
    z = torch.relu(net.norm(net.normed(y)))
    for name, answers in (("plain", y), ("normed", z)):
        both = torch.cat([answers, answers[:1]])
        assert seen.shares()[name].tolist() == pytest.approx((both == 0).double().mean((0, 2, 3)).tolist())
    assert set(seen.shares()) == {"plain", "normed"}
    assert seen.normalizations == {"normed": "norm"}


def test_masks_whole_filters_that_are_most_often_idle(torch_model, rows, apply):
    model = torch_model("ResidualBlocks", 1, 6, 6)
    given_rows = rows(1, 6, 6, labels=np.arange(40) % 2)
    inputs = {"model": model, "calibration": given_rows}
    done = apply("prune.activation", inputs, {"score": "apoz", "sparsity": 0.5})
    with torch.inference_mode(), ZeroShares(model.module) as seen:
        model.module(torch.from_numpy(given_rows.inputs["x"]))
    ranked = sorted((-float(share), name, place) for name, shares in seen.shares().items()
                    for place, share in enumerate(shares))  # fmt: skip
    asked = {(name, place) for _, name, place in ranked[: len(ranked) // 2]}
    module = done.outputs["model"].module
    for _, name, place in ranked:
        gone = bool((module.get_submodule(name).weight[place] == 0).all())
        norm = module.get_submodule(name.replace("first", "norm"))
        assert gone == ((name, place) in asked) == ((norm.bias[place].abs() + norm.weight[place]).item() == 0)
    assert {item["name"] for item in done.outputs["masked"]["left"]} >= {"stem", "head", "stage.0.second"}


def test_keeps_one_filter_of_each_layer(torch_model, rows, apply):
    inputs = {"model": torch_model("ResidualBlocks", 1, 6, 6), "calibration": rows(1, 6, 6, labels=np.arange(40) % 2)}
    done = apply("prune.activation", inputs, {"score": "apoz", "sparsity": 0.99})
    for item in done.outputs["masked"]["layers"]:
        filters = done.outputs["model"].module.get_submodule(item["name"]).weight
        assert int((filters.flatten(1) != 0).any(1).sum()) == 1


def test_counts_zeros_by_layer_and_leaves_what_it_was_given(torch_model, apply):
    model = torch_model("Stack", 5, widths=[5, 16, 2])
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    done = apply("prune.magnitude", {"model": model}, {"sparsity": 0.5})
    layers = done.outputs["masked"]["layers"]
    weights = dict(done.outputs["model"].module.named_parameters())
    assert [(item["zeros"], item["total"]) for item in layers] == [(40, 80), (16, 32)]
    for item in layers:
        assert int((weights[f"{item['name']}.weight"] == 0).sum()) == item["zeros"]
    total = sum(value.numel() for value in weights.values())
    assert done.measurements["weights_masked"] == pytest.approx(56 / total)
    assert all(torch.equal(before[name], value) for name, value in model.module.state_dict().items())
    assert all(float((value == 0).sum()) == 0 for name, value in weights.items() if name.endswith("bias"))


def test_leaves_embeddings_and_what_they_share():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.inner, self.head = nn.Embedding(6, 4), nn.Linear(4, 4), nn.Linear(4, 6, bias=False)
            self.again = nn.Linear(4, 4)
            self.head.weight, self.again.weight = self.table.weight, self.inner.weight

    assert list(weights_of(Tied())) == ["inner"]
    assert list(weights_of(nn.MultiheadAttention(4, 2))) == ["in_proj_weight", "out_proj"]
    assert list(weights_of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), ("0",))) == ["1"]


class Named(nn.Module):
    """A layer of two names, one that shares its weight, and a matrix of the module's own."""

    def __init__(self):
        super().__init__()
        self.first, self.sharing, self.matrix = nn.Linear(4, 4), nn.Linear(4, 4), nn.Parameter(torch.ones(4, 4))
        self.alias, self.sharing.weight = self.first, self.first.weight


@pytest.mark.parametrize("skip", ["first", "alias", "sharing", "first.weight"])
def test_skips_a_weight_by_any_layer_that_has_it(skip):
    assert list(weights_of(Named(), (skip,))) == ["matrix"]


@pytest.mark.parametrize("skip", ["matrix", "Named"])
def test_skips_a_matrix_of_the_module_itself(skip):
    assert list(weights_of(Named(), (skip,))) == ["first"]


@pytest.mark.parametrize("method", ["magnitude", "n_m", "activation"])
def test_masks_the_weights_that_multiply_where_they_are_computed_from_others(method, torch_model, rows, apply):
    model = torch_model("Stack", 8, widths=[8, 16, 4])
    nn.utils.parametrizations.weight_norm(model.module.get_submodule("layers.0"))
    inputs = {"calibration": rows(8)} if method == "activation" else {}
    done = apply(f"prune.{method}", {"model": model, **inputs}, {} if method == "n_m" else {"sparsity": 0.5})
    weights = [part.weight for part in done.outputs["model"].module.modules() if isinstance(part, nn.Linear)]
    assert [float((weight == 0).float().mean()) for weight in weights] == [0.5, 0.5]


def test_leaves_layers_whose_inputs_do_not_divide(torch_model, apply):
    done = apply("prune.n_m", {"model": torch_model("Stack", 5, widths=[5, 16, 2])})
    (left,) = done.outputs["masked"]["left"]
    assert left["because"] == "its 5 inputs are no multiple of 4"
    assert [(item["zeros"], item["total"]) for item in done.outputs["masked"]["layers"]] == [(16, 32)]


@pytest.mark.parametrize(
    "case",
    [
        ("prune.magnitude", {"skip": ("*",)}, "X551"),
        ("prune.n_m", {"n": 1, "m": 7}, "X551"),
        ("prune.activation", {"skip": ("*",)}, "X551"),
        ("prune.activation", {"score": "apoz"}, "X552"),
    ],
)
def test_refuses_where_there_is_nothing_to_mask(torch_model, rows, apply, case):
    operator, params, code = case
    inputs = {"model": torch_model("Stack", 5, widths=[5, 16, 2])}
    if operator == "prune.activation":
        inputs["calibration"] = dataclasses.replace(rows(5), role="calibration")
    with pytest.raises(PreconditionError, match=code):
        apply(operator, inputs, params)
