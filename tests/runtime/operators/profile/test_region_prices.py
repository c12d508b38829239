"""profile.regions: what each region takes in float and in int8, and what it takes to convert between them."""

from itertools import pairwise

import onnx  # noqa: TID253 - its very subject
import pytest
from chain_nets import Chain, residual, rows_of

from titrant.runtime.api import apply
from titrant.runtime.backends.onnxruntime.titration.mixture import Mixtures
from titrant.runtime.mixture import pricing
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError
from titrant.schema.values.canonical import canonical_json

NAMES = ["stem", "blocks.0", "blocks.1", "head"]


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Two residual blocks between two layers, and the names of its layers."""
    chain = Chain("x")
    at = chain.layer("x", "stem")
    for place in range(2):
        at = chain.node("Relu", [residual(chain, at, f"blocks.{place}")])
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(chain.done(chain.layer(at, "head")), path)
    return OnnxModel(path), tuple(chain.layers)


def prices(net, *, rows=64, **params):
    model, layers = net
    options = {"per_channel": False, **params.pop("options", {})}
    given = {"layers": layers, "options": options, "seconds": 0.01, **params}
    made = apply("profile.regions", {"model": model, "calibration": rows_of(rows, "x")}, given)
    canonical_json(made.outputs["prices"])
    return made.outputs["prices"]


@pytest.fixture
def predicted(monkeypatch):
    """Let this network, which answers at once, be predicted all the same."""
    monkeypatch.setattr(pricing, "SHORTEST", 0.0)


def test_prices_every_region_and_every_tensor_between_two(net, predicted):
    value = prices(net)
    assert [region["name"] for region in value["regions"]] == NAMES
    assert [layer for region in value["regions"] for layer in region["layers"]] == list(net[1])
    assert [(edge["from"], edge["to"]) for edge in value["edges"]] == [(one, [other]) for one, other in pairwise(NAMES)]
    assert all(edge["quantize"] >= 0 <= edge["dequantize"] for edge in value["edges"])
    for precision in ("fp32", "int8"):
        total = sum(region[precision] for region in value["regions"]) + value["rest"]
        assert total == pytest.approx(value[precision])
    assert [mix["int8"] for mix in value["mixes"]] == [NAMES[0::2], NAMES[1::2]]
    assert (value["predicted"], value["refused"], value["batch"]) == (True, [], 1)


def test_times_all_mixtures_of_a_network_that_answers_at_once(net):
    value = prices(net)
    assert not value["predicted"]
    timed = [frozenset(mix["int8"]) for mix in value["mixes"]]
    assert len(timed) == len(set(timed)) == 2 ** len(NAMES)
    assert all(mix["seconds"] > 0 for mix in value["mixes"])


def test_goes_on_where_the_engine_refuses_a_mixture(net, predicted, monkeypatch):
    own = Mixtures.file

    def refusing(self, leave, name="model.onnx"):
        if "stem" in leave and "head" not in leave:
            raise StepError(Diagnostic("X212", "onnxruntime cannot load it"))
        return own(self, leave, name)

    monkeypatch.setattr(Mixtures, "file", refusing)
    value = prices(net)
    assert value["refused"] == [NAMES[1::2]]
    assert [mix["int8"] for mix in value["mixes"]] == [NAMES[0::2]]
    assert all(edge["quantize"] >= 0 <= edge["dequantize"] for edge in value["edges"])


def test_fails_where_the_engine_refuses_the_whole_network_in_int8(net, monkeypatch):
    def refusing(self, leave, name="model.onnx"):
        raise StepError(Diagnostic("X212", "onnxruntime cannot load it"))

    monkeypatch.setattr(Mixtures, "file", refusing)
    with pytest.raises(StepError, match="cannot load"):
        prices(net)


def test_leaves_out_what_the_options_leave_in_float(net, predicted):
    value = prices(net, options={"leave": ("blocks.0.fc0", "blocks.0.fc1")})
    assert "blocks.0" not in [region["name"] for region in value["regions"]]
    assert value["rest"] > 0


def test_takes_a_batch_that_is_larger_than_the_rows(net, predicted):
    assert prices(net, rows=3, batch=8)["batch"] == 8


def test_refuses_a_network_with_no_layer_to_change(net):
    with pytest.raises(PreconditionError) as raised:
        prices((net[0], ("elsewhere",)))
    assert raised.value.diagnostics[0].code == "X257"
