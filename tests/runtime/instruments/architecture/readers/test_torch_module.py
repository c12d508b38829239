"""A live module is followed through one call: what flows where, what it costs, and nothing of it is left behind."""

import pytest
import torch  # noqa: TID253 - the modules are live
from tests.runtime.instruments.architecture.nets import IMAGE, Attending, Deciding, ResNet, Twice, TwoInputs, UNet
from torch import nn  # noqa: TID253

import titrant
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError


def by_name(drawn):
    return {operation.name: operation for operation in drawn.operations}


def test_counts_parameters_and_flops_exactly():
    net = ResNet()
    drawn = titrant.architecture(net, IMAGE)
    assert drawn.parameters == sum(tensor.numel() for tensor in net.parameters())
    convolutions = 2 * 9 * 8 * 64 * (3 + 6 * 8)
    assert drawn.flops == convolutions + 2 * 8 * 2


def test_follows_skips_to_where_they_are_joined():
    drawn = titrant.architecture(UNet(), IMAGE)
    joined = by_name(drawn)["cat"]
    assert [by_name(drawn)[name.partition(":")[0]].kind for name in joined.inputs] == ["interpolate", "Conv2d"]
    assert drawn.graph.shapes[joined.outputs[0]] == ("batch", 8, 8, 8)


def test_names_several_inputs_and_outputs_also_where_a_layer_has_that_name():
    drawn = titrant.architecture(TwoInputs(), [torch.zeros(3, 4), torch.zeros(3, 2)])
    assert drawn.graph.inputs == ("image", "table")
    assert drawn.graph.outputs == ("class", "age")
    assert by_name(drawn)["table"].inputs == ("table",)
    assert (
        drawn.graph.operations
        == titrant.architecture(TwoInputs(), {"image": torch.zeros(3, 4), "table": torch.zeros(3, 2)}).operations
    )


def test_counts_a_layer_that_is_called_twice_and_tied_weights_once():
    twice = by_name(titrant.architecture(Twice(), torch.zeros(2, 4)))
    assert (twice["same"].parameters, twice["same (2)"].parameters, twice["same (2)"].shared_with) == (20, 0, "same")
    net = Attending()
    tied = titrant.architecture(net, torch.zeros(2, 5, dtype=torch.long))
    assert tied.parameters == titrant.count_parameters(net).total
    assert by_name(tied)["head"].shared_with == "embed"
    assert by_name(tied)["scaled_dot_product_attention"].flops == 2 * 2 * 5 * 5 * 8


def test_says_that_it_took_one_way_where_values_decide():
    drawn = titrant.architecture(Deciding(), torch.ones(2, 4))
    assert list(by_name(drawn)) == ["sum", "first"]
    assert "its code decides by values" in drawn.notes[0]
    assert drawn.notes[1] == "20 parameters are in parts that this call does not come to, and are not drawn"


def test_leaves_the_module_as_it_was():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.seen = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), None

        def forward(self, x):
            self.seen = self.layer(x)
            return self.seen

    net = Keeping().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    titrant.architecture(net, torch.ones(2, 4))
    assert net.seen is None
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_takes_what_is_too_large_to_compute():
    drawn = titrant.architecture(nn.Conv2d(3, 8, 3), torch.zeros(1, device="meta").expand(1, 3, 90_000, 90_000))
    assert drawn.flops == 2 * 27 * 8 * 89_998**2


def test_draws_parts_without_inputs_and_says_so():
    drawn = titrant.architecture(ResNet())
    assert drawn.graph.basis == "modules"
    assert drawn.graph.kinds["layer.0"] == "Residual"
    assert not any(operation.inputs for operation in drawn.operations)


def test_survives_modules_that_hold_each_other():
    net, inner = ResNet(1), nn.Linear(2, 2)
    inner.outer = net
    net.inner = inner
    assert titrant.architecture(net, IMAGE).operations[0].name == "stem"


def test_refuses_lazy_layers_without_inputs_and_takes_their_size_from_a_call():
    net = nn.Sequential(nn.LazyLinear(3), nn.ReLU())
    with pytest.raises(RecipeError, match=r"X675: Sequential is initialized lazily: 0\.weight has no shape yet"):
        titrant.architecture(net)
    drawn = titrant.architecture(net, torch.zeros(2, 5))
    assert drawn.operations[0].parameters == 18
    assert isinstance(net[0], nn.LazyLinear)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 7), [torch.zeros(2, 4), torch.zeros(2)], {"y": torch.zeros(2, 4)}])
def test_says_in_one_line_what_it_cannot_answer(wrong):
    with pytest.raises(StepError) as refused:
        titrant.architecture(Twice(), wrong)
    only = refused.value.diagnostics[0]
    assert only.code == "X683"
    assert only.message.startswith("Twice")
    assert "\n" not in only.message


def test_refuses_what_is_no_module_and_inputs_that_are_none():
    for call in (
        lambda: titrant.architecture(len),
        lambda: titrant.architecture(Twice(), 3),
        lambda: titrant.architecture(Twice(), [{"name": "x", "shape": ["batch", 4]}]),
        lambda: titrant.architecture(Twice(), args={}),
    ):
        with pytest.raises(RecipeError) as refused:
            call()
        assert refused.value.diagnostics[0].code == "P080"


def test_draws_no_numbers_of_the_users_generator_for_layers_without_sizes():
    before = torch.get_rng_state()
    titrant.architecture(nn.LazyLinear(3), torch.ones(2, 4))
    assert torch.equal(torch.get_rng_state(), before)


def test_takes_the_path_of_a_file(tmp_path):
    titrant.export(nn.Linear(4, 2), "onnx", tmp_path / "net.onnx", shape=(1, 4))
    assert titrant.architecture(tmp_path / "net.onnx").parameters == 10
