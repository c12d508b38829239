"""prune.blocks: what counts as a block, which ones go, and that what is left is built again."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import given, settings
from hypothesis import strategies as st

import titrant
from titrant.runtime.api import PlainContext
from titrant.runtime.api import apply as apply_operator
from titrant.runtime.backends.torch.factory import build, source_digest
from titrant.runtime.backends.torch.module import load_torch, save_torch
from titrant.runtime.backends.torch.reduced.blocks import Block, watched
from titrant.runtime.backends.torch.reduced.removal import ordered
from titrant.runtime.operators.prune import blocks as operator
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.facts import Layer, ModelFacts

sys.path.insert(0, str(Path(__file__).parent))

from block_nets import KINDS, WIDTH, Mixed, Stages

X = np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32)
NUMBERS = np.arange(len(X))


def rows(*, labelled=True):
    labels = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0) if labelled else None
    return Rows("tuning", {"x": X}, labels, NUMBERS, NUMBERS.astype(np.uint64), ("a", "b", "c") if labelled else ())


def model(name, **args):
    factory = f"block_nets:{name}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = build(factory, args).eval()
    return TorchModel(module, factory, args, source_digest(factory), (("x", ("batch", 5), "float32"),), ("logits",))


def pruned(value, /, labelled=True, **params):
    return apply_operator("prune.blocks", {"model": value, "tuning": rows(labelled=labelled)}, params)


def found_in(module, x):
    with torch.inference_mode(), watched(module.eval()) as seen:
        module(x)
    return [block.name for block in seen.blocks()]


KIND = st.sampled_from([kind for kind in KINDS if kind != "lone"])


@settings(max_examples=40, deadline=None)
@given(st.lists(KIND, min_size=2, max_size=6), st.booleans())
def test_finds_the_blocks_that_an_identity_can_stand_for(kinds, lone):
    kinds = [*kinds, *(["lone"] if lone else [])]
    expected = [f"blocks.{place}" for place, kind in enumerate(kinds) if KINDS[kind]]
    assert found_in(Mixed(kinds), torch.from_numpy(X[:2])) == expected


@settings(max_examples=5, deadline=None)
@given(st.lists(KIND, min_size=3, max_size=5), st.integers(1, 3))
def test_answers_and_loads_again_without_any_of_them(tmp_path_factory, kinds, count):
    value = model("Mixed", kinds=kinds)
    able = [place for place, kind in enumerate(kinds) if KINDS[kind] and kind != "looked_into"]
    if len(able) < count:
        with pytest.raises(PreconditionError, match="X550"):
            pruned(value, blocks=count)
        return
    done = pruned(value, blocks=count)
    removed = done.outputs["removed"]
    assert {int(name.rpartition(".")[2]) for name in removed["blocks"]} <= {*able}
    assert len(removed["blocks"]) == count
    assert {item["block"] for item in removed["left"]} == {
        f"blocks.{place}" for place, kind in enumerate(kinds) if kind == "looked_into"
    }
    after = done.outputs["model"].module
    assert removed["parameters_before"] - removed["parameters_after"] == count * 2 * (WIDTH * WIDTH + WIDTH)
    folder = tmp_path_factory.mktemp("saved")
    save_torch(done.outputs["model"], folder)
    again = load_torch(folder / "model.safetensors").module
    assert torch.equal(again(torch.from_numpy(X)), after(torch.from_numpy(X)))
    assert value.module.get_submodule("blocks.0").first.weight.shape == (WIDTH, WIDTH)  # what was given stays


def divergence(before, after):
    """KL(before || after) of logits, as a mean over the rows, by the definition."""
    p, q = (torch.log_softmax(logits.detach().double(), 1) for logits in (before, after))
    return float((p.exp() * (p - q)).sum(1).mean())


def test_removes_those_whose_removal_alone_moves_the_answers_least():
    strengths = [0.9, 0.05, 1.3, 0.2]
    value = model("Mixed", kinds=["plain"] * 4, strengths=strengths)
    removed = pruned(value, blocks=2).outputs["removed"]
    assert removed["blocks"] == ["blocks.1", "blocks.3"]
    x, before = torch.from_numpy(X), value.module(torch.from_numpy(X))
    for item in removed["kl"]:
        alone = build(value.factory, value.args)
        alone.load_state_dict(value.module.state_dict())
        alone.set_submodule(item["block"], torch.nn.Identity())
        assert item["kl"] == pytest.approx(divergence(before, alone(x)), rel=1e-4)
    assert removed["steps"][0]["kl"] == min(item["kl"] for item in removed["kl"])
    assert removed["steps"][1]["kl"] > removed["steps"][0]["kl"]


class Shifted(torch.nn.Module):
    """A block that moves what comes after it."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(5, 5)

    def forward(self, x):
        return x + self.inner(x) + 3


def test_estimates_batch_norms_anew_where_a_block_is_gone():
    """One that no row comes to, and those of the model that was given, stay as they are."""
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm1d(5)
    net = torch.nn.Sequential(Shifted(), Shifted(), norm, torch.nn.Linear(5, 3)).eval()
    net.unused = torch.nn.Identity()
    net.unused.norm = torch.nn.BatchNorm1d(2)
    net.unused.norm.running_mean += 7
    net.unused.forward = lambda x: x
    done = titrant.apply("prune.blocks", {"model": net, "tuning": {"x": X}}, {"blocks": 1})
    made = done.outputs["model"].module
    (gone,) = done.outputs["removed"]["blocks"]
    with torch.no_grad():
        given = made[:2](torch.from_numpy(X))
    torch.testing.assert_close(made[2].running_mean, given.mean(0))
    torch.testing.assert_close(made[2].running_var, given.var(0))
    assert (made[2].momentum, made[2].training, made[2].num_batches_tracked.item()) == (0.1, False, 1)
    assert torch.equal(made.unused.norm.running_mean, net.unused.norm.running_mean)
    assert norm.running_mean.tolist() == [0] * 5
    # What is measured is the network that is handed on.
    with torch.no_grad():
        before, after = (module(torch.from_numpy(X)).double() for module in (net, made))
    kl = {item["block"]: item["kl"] for item in done.outputs["removed"]["kl"]}[gone]
    assert kl == pytest.approx(((after - before).square().sum() / before.square().sum()).item(), rel=1e-4)


def test_measures_the_squared_error_where_there_are_no_classes():
    value = model("Mixed", kinds=["plain"] * 3)
    (first, *_) = pruned(value, labelled=False, blocks=1).outputs["removed"]["kl"]
    without = build(value.factory, value.args)
    without.load_state_dict(value.module.state_dict())
    without.set_submodule("blocks.0", torch.nn.Identity())
    x = torch.from_numpy(X)
    before, after = value.module(x).double(), without(x).double()
    assert first["kl"] == pytest.approx(((after - before).square().sum() / before.square().sum()).item(), rel=1e-4)


@pytest.mark.parametrize(("sparsity", "count"), [(0.05, 1), (0.25, 1), (0.49, 1), (0.5, 2), (0.74, 2), (0.99, 3)])
def test_removes_the_share_nearest_below_what_is_asked_and_one_at_least(sparsity, count):
    done = pruned(model("Mixed", kinds=["plain"] * 4), sparsity=sparsity)
    assert len(done.outputs["removed"]["blocks"]) == count
    assert done.measurements["blocks_removed"] == count


def test_looks_past_stages_and_into_no_part_of_a_block_that_stays():
    assert found_in(Stages(), torch.from_numpy(X[:2])) == [f"stages.{i}.{j}" for i in range(2) for j in range(2)]
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    assert found_in(encoder, torch.zeros(2, 4, 8)) == [f"layers.{place}" for place in range(3)]


def test_removes_layers_that_are_given_masks_beside_their_tensor():
    """torch's own encoder hands on masks by name, and asks its first layer how it is made: that one stays."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    inputs = {"src": np.random.default_rng(0).normal(size=(20, 4, 8)).astype(np.float32)}
    done = titrant.apply("prune.blocks", {"model": encoder, "tuning": inputs}, {"blocks": 2})
    removed = done.outputs["removed"]
    assert sorted(removed["blocks"]) == ["layers.1", "layers.2"]
    assert [item["block"] for item in removed["left"]] == ["layers.0"]
    x = torch.from_numpy(inputs["src"])
    with torch.no_grad():
        torch.testing.assert_close(done.outputs["model"].module(x), encoder.layers[0](x))


def test_leaves_what_two_names_hold():
    shared = Mixed(["plain"] * 3)
    shared.again = shared.blocks[1]
    assert found_in(shared, torch.from_numpy(X[:2])) == ["blocks.0", "blocks.2"]


@pytest.mark.parametrize("pattern", ["blocks.1", "blocks.1.first", "*.1", "blocks.1.*"])
def test_keeps_blocks_of_which_anything_is_skipped(pattern):
    value = model("Mixed", kinds=["plain"] * 4, strengths=[0.9, 0.01, 1.3, 0.2])
    assert pruned(value, blocks=1, skip=(pattern,)).outputs["removed"]["blocks"] == ["blocks.3"]


def test_refuses_more_blocks_than_can_go_and_says_how_many_can():
    with pytest.raises(PreconditionError, match="X550: 3 blocks are to be removed, and 2 can be") as refused:
        pruned(model("Mixed", kinds=["plain", "plain", "wider"]), blocks=3)
    assert refused.value.diagnostics[0].help == "write reduction.pruning.blocks: 2 or less"
    with pytest.raises(PreconditionError, match="X550: a block is to be removed, and 0 can be"):
        pruned(model("Mixed", kinds=["wider", "lone"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 8)), min_size=1, max_size=6), st.floats(0, 2))
def test_takes_the_smallest_of_blocks_that_cannot_be_told_apart(made, noise):
    """Costs are whole numbers and what varies: beyond noise the cheaper goes first, within it the smaller."""
    rng = np.random.default_rng(len(made))
    blocks = [Block(str(place), size) for place, (size, _) in enumerate(made)]
    parts = {str(place): cost + noise * rng.normal(size=16) for place, (_, cost) in enumerate(made)}
    cost = {name: float(values.mean()) for name, values in parts.items()}
    order = ordered(blocks, cost, parts)
    assert sorted(block.name for block in order) == sorted(cost)
    for place, block in enumerate(order):
        cheapest = min(order[place:], key=lambda other: cost[other.name])
        gap = parts[block.name] - parts[cheapest.name]
        assert gap.mean() <= 2 * gap.std(ddof=1) / 4 + 1e-12
        for other in order[place:]:
            apart = parts[other.name] - parts[cheapest.name]
            if apart.mean() <= 2 * apart.std(ddof=1) / 4:
                assert (block.parameters, cost[block.name]) <= (other.parameters, cost[other.name])


SIZES = {"a": 10, "b": 30, "c": 20}
FACTS = ModelFacts(
    "factory", "0", 65, 65, 260,
    (*(Layer(f"{name}.first", "Linear", size, 4 * size, (size, 1), 2 * size) for name, size in SIZES.items()),
     Layer("head", "Linear", 5, 20, (5, 1), 10)),
    (), (), 130, 100, blocks=("a", "b", "c"),
)  # fmt: skip


def test_predicts_that_the_smallest_go():
    after = operator.model_after(operator.BlocksParams(blocks=2), FACTS)
    assert [layer.name for layer in after.layers] == ["b.first", "head"]
    assert (after.parameters, after.weight_bytes, after.flops, after.blocks) == (35, 140, 70, ("b",))
    half = operator.model_after(operator.BlocksParams(sparsity=0.5), FACTS)
    assert half.parameters == 35


def test_says_at_plan_what_cannot_be_removed():
    def unmet(**params):
        return [item.cause for item in operator.requires(operator.BlocksParams(**params), machine(), FACTS)]

    assert unmet(blocks=3) == []
    assert unmet(blocks=4) == ["4 blocks are to be removed, and 3 can be"]
    assert unmet(blocks=3, skip=("a",)) == ["3 blocks are to be removed, and 2 can be"]
    assert "no block" in unmet(skip=("*",))[0]


def machine():
    from titrant.schema.facts import Hardware, HardwareIdentity

    return Hardware(HardwareIdentity("linux", "x86_64", "toy", (), 1, None, (), "3.11", {"torch": "2"}))


def test_uses_no_randomness(tmp_path):
    context = PlainContext(1, 1, tmp_path)
    params, inputs = operator.BlocksParams(blocks=1), {"model": model("Mixed", kinds=["plain"] * 3), "tuning": rows()}
    first, second = (operator.prune_blocks(params, context, **inputs)["removed"] for _ in range(2))
    assert first == second
