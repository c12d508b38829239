"""What goes together, what stays whole and why, and that a cut model answers as the whole one reading zeros."""

import contextlib
import copy
from functools import cache

import numpy as np
import pytest
import torch  # noqa: TID253 - the tests run modules
from coupled_nets import (
    Block,
    Deciding,
    Encoder,
    Gated,
    Joined,
    Padded,
    Residual,
    Separable,
    TiedLayers,
    Transformer,
    mlp,
)
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.pruning.cut import cut_for_now, parameters_without, rewrite
from titrant.runtime.backends.torch.pruning.groups import Coupled, Member, record_without
from titrant.runtime.backends.torch.pruning.trial import _reading_zeros, _Trial, removable
from titrant.schema.diagnostics.diagnostics import PreconditionError

RNG = np.random.default_rng(0)
IMAGE = {"image": RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)}
ROWS = {"x": RNG.normal(size=(2, 6)).astype(np.float32)}
STEPS = {"x": RNG.normal(size=(2, 5, 6)).astype(np.float32)}
TOKENS = {"tokens": np.arange(10).reshape(2, 5)}
ARRAYS = {Residual: IMAGE, Padded: IMAGE, Separable: IMAGE, Joined: IMAGE, Gated: ROWS, mlp: ROWS, TiedLayers: ROWS}
ARRAYS[Encoder] = TOKENS


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def found(module, arrays, skip=()):
    groups, left = removable(module.eval(), arrays, ("output",), skip)
    return {group.name: group for group in groups}, {each.name: each.because for each in left}


@cache
def looked_at(network):
    """What was found in a network, once."""
    return found(made(network), ARRAYS[network])


def made(network, **kwargs):
    torch.manual_seed(0)
    module = network(**kwargs)
    for part in module.modules():  # statistics and scales that are not all alike
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                tensor.uniform_(0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize(
    ("network", "units"),
    [
        (
            Residual,
            {"stem": 8, "blocks.0.first": 8, "blocks.1.first": 16, "blocks.1.down": 16, "blocks.2.first": 16},
        ),
        (Padded, {"inner": 8}),
        (Separable, {"depthwise": 24}),
        (Joined, {"left": 6, "right": 4, "joined": 4, "last": 6}),
        (Gated, {"both": 12}),
        (mlp, {"0": 16, "2": 16}),
        (TiedLayers, {"c": 8}),
        (
            Encoder,
            {f"layers.layers.{layer}.{part}": n for layer in (0, 1) for part, n in (("self_attn", 4), ("linear1", 32))},
        ),
    ],
)
def test_finds_what_can_go(network, units):
    groups, _ = looked_at(network)
    assert {name: group.units for name, group in groups.items()} == units


@pytest.mark.parametrize("stacked", [True, False])
def test_finds_heads_in_a_layer_of_the_users_own(stacked):
    groups, _ = found(made(Transformer, stacked=stacked), STEPS)
    assert {name: group.units for name, group in groups.items()} == {"attention": 4, "up": 32}
    counts = {("attention", "num_heads", 1)} | (set() if stacked else {("attention", "embed_dim", 4)})
    assert {*groups["attention"].counts} == counts


@pytest.mark.parametrize(
    ("network", "layer", "because"),
    [
        (Residual, "head", "output of the model, which keeps its width"),
        (Padded, "outer", "does not run without a part of it (RuntimeError)"),
        (Separable, "stem", "grouped is a grouped convolution (2 groups)"),
        (TiedLayers, "a", "a shares its weights with b"),
        (Encoder, "layers.layers.1.linear2", "normalizes over the whole width"),
    ],
)
def test_leaves_whole_what_cannot_follow(network, layer, because):
    _, left = looked_at(network)
    assert because in left[layer]


def test_leaves_what_skip_names_and_what_goes_with_it():
    groups, left = found(made(Residual), IMAGE, ("blocks.2.*", "stem"))
    assert {*groups} == {"blocks.0.first", "blocks.1.first"}
    assert left["stem"] == "skip names stem, which goes with it"
    assert "skip names blocks.2.first" in left["blocks.2.first"]


def test_refuses_a_forward_that_decides_on_values():
    with pytest.raises(PreconditionError) as refused:
        found(Deciding(), ROWS)
    assert refused.value.diagnostics[0].code == "X542"


@pytest.mark.parametrize("network", [Residual, Separable, Joined, mlp, Encoder])
def test_answers_as_the_whole_model_that_reads_zeros(network):
    """All groups at once, of which each alone was tried when it was found."""
    module, (groups, _) = made(network).double(), looked_at(network)
    arrays = ARRAYS[network].values()
    inputs = [torch.from_numpy(array if array.dtype.kind == "i" else array.astype(np.float64)) for array in arrays]
    removed = [(group, RNG.permutation(group.units)[: group.units // 2].tolist()) for group in groups.values()]
    record = record_without(module, removed)
    with torch.no_grad():
        with contextlib.ExitStack() as stack:
            for group, units in removed:
                stack.enter_context(_reading_zeros(module, group, units))
            asked = module(*inputs)
        whole = module(*inputs)
        expected = parameters_without(module, record)
        cut = rewrite(copy.deepcopy(module), record)
        torch.testing.assert_close(cut(*inputs), asked, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(module(*inputs), whole, rtol=0, atol=0)
    assert sum(weight.numel() for weight in cut.parameters()) == expected


def test_cuts_as_torch_pruning_does():
    """The same indices of the same groups, cut by its own code: equal tensors, equal answers to the bit."""
    import torch_pruning

    module = made(Residual)
    other = copy.deepcopy(module)
    groups, _ = looked_at(Residual)
    image = torch.from_numpy(IMAGE["image"])
    graph = torch_pruning.DependencyGraph().build_dependency(other, image, verbose=False)
    removed = []
    for name, group in groups.items():
        units = RNG.permutation(group.units)[:3].tolist()
        removed.append((group, units))
        root = other.get_submodule(name)
        graph.get_pruning_group(root, torch_pruning.prune_conv_out_channels, units).prune()
    cut = rewrite(module, record_without(module, removed))
    theirs = other.state_dict()
    assert {name: tuple(value.shape) for name, value in cut.state_dict().items()} == {
        name: tuple(value.shape) for name, value in theirs.items()
    }
    assert all(torch.equal(value, theirs[name]) for name, value in cut.state_dict().items())
    with torch.no_grad():
        assert torch.equal(cut(image), other(image))


def test_gives_a_module_back_as_it_was():
    module = made(Encoder)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    groups, _ = looked_at(Encoder)
    record = record_without(module, [(group, [0]) for group in groups.values()])
    with contextlib.suppress(ZeroDivisionError), cut_for_now(module, record):
        assert module.layers.layers[0].self_attn.num_heads == 3
        raise ZeroDivisionError
    after = module.state_dict()
    assert [*after] == [*before]
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert module.layers.layers[0].linear1.out_features == 32


def test_does_not_believe_a_group_that_lacks_a_layer():
    """What a trace forgot shows in the answers, or in a shape."""
    module = made(mlp)
    first = Member("0", "out", tuple((place,) for place in range(16)))
    trial = _Trial(module, ROWS, ("output",))
    assert trial.objection(Coupled("0", "neurons", (first,)))
    reader = Member("2", "in", tuple((place,) for place in reversed(range(16))))
    assert "otherwise" in trial.objection(Coupled("0", "neurons", (first, reader)))
    reader = Member("2", "in", first.places)
    assert not trial.objection(Coupled("0", "neurons", (first, reader)))


@some.composite
def networks(draw):
    """Convolutions in a chain with shortcuts, depthwise layers, norms and groups, then linear layers."""
    widths = draw(some.lists(some.sampled_from([4, 6, 8]), min_size=1, max_size=3))
    torch.manual_seed(draw(some.integers(0, 99)))
    layers: list[nn.Module] = []
    inputs = 3
    for width in widths:
        layers.append(nn.Conv2d(inputs, width, draw(some.sampled_from([1, 3])), padding=1, bias=draw(some.booleans())))
        kind = draw(some.sampled_from(["none", "batch", "instance", "group", "prelu"]))
        if kind != "none":
            norms = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "prelu": nn.PReLU}
            layers.append(nn.GroupNorm(2, width) if kind == "group" else norms[kind](width))
        layers.append(draw(some.sampled_from([nn.ReLU, nn.GELU, nn.Identity]))())
        inner = draw(some.sampled_from(["none", "residual", "depthwise", "grouped"]))
        if inner == "residual":
            layers.append(Block(width, width))
        elif inner != "none":
            layers.append(nn.Conv2d(width, width, 3, padding=1, groups=width if inner == "depthwise" else 2))
        inputs = width
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * inputs, draw(some.sampled_from([5, 8]))), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(layers[-2].out_features, 2)).eval()


@settings(max_examples=8)
@given(networks(), some.floats(0.1, 0.9))
def test_keeps_outputs_and_counts_parameters_of_any_network(module, share):
    groups, left = found(module, IMAGE)
    assert {*groups}.isdisjoint(left)
    removed = [(group, [*range(int(group.units * share))]) for group in groups.values()]
    record = record_without(module, removed)
    cut = rewrite(copy.deepcopy(module), record)
    with torch.no_grad():
        answer = cut(torch.from_numpy(IMAGE["image"]))
    assert answer.shape == (2, 2)
    assert torch.isfinite(answer).all()
    assert sum(weight.numel() for weight in cut.parameters()) == parameters_without(module, record)
    assert all(min(weight.shape, default=1) > 0 for weight in cut.parameters())
