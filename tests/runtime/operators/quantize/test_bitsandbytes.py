"""quantize.bnb_*: linear layers in 8 or 4 bits, loaded again from one file as they were, everything else untouched."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.compiler.bind.layers import without
from titrant.runtime import catalog
from titrant.runtime.backends import backend, kinds
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts

# It is looked for and not imported: how it is imported is part of what is tested.
pytestmark = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")

NAMES = ("first", "second", "head")
BITS = {"quantize.bnb_int8": 8, "quantize.bnb_nf4": 4, "quantize.bnb_fp4": 4}
# Relative error of the answers of normally distributed weights, at most.
ERRORS = {"quantize.bnb_int8": 0.03, "quantize.bnb_nf4": 0.2, "quantize.bnb_fp4": 0.25}
VARIANTS = [
    ("quantize.bnb_int8", {}),
    ("quantize.bnb_int8", {"threshold": 2.0}),
    *((f"quantize.bnb_{kind}", {"double_quantization": double}) for kind in ("nf4", "fp4") for double in (True, False)),
]


def facts_of(model):
    return ModelFacts("factory", "", 0, 0, *_weights(model), (), ())


def _weights(model):
    from titrant.runtime.inspect.torch import list_layers, model_bytes

    return model_bytes(model.module), list_layers(model.module, {})


@pytest.fixture
def file_of(tmp_path):
    """Save a model as the store does, and load it again."""

    def keep(model):
        folder = tmp_path / f"kept{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        kinds.save("torch", model, folder)
        return folder / "model.safetensors", kinds.load("torch", folder)

    return keep


@pytest.mark.parametrize(("operator", "options"), VARIANTS)
def test_answers_nearly_as_before_and_alike_when_loaded(
    *, operator, options, torch_model, rows, apply, answers, file_of
):
    model = torch_model("Stack", 64, widths=[64, 256, 130, 3])
    done = apply(operator, {"model": model}, options)
    small, x = done.outputs["model"], rows(64).inputs["x"]
    plain = answers(model, x)
    error = np.linalg.norm(answers(small, x) - plain) / np.linalg.norm(plain)
    assert 0 < error < ERRORS[operator]
    assert done.measurements == {"quantized_layers": 3, "fp32_layers": 0}
    file, loaded = file_of(small)
    np.testing.assert_array_equal(answers(loaded, x), answers(small, x))
    assert file.read_bytes() == file_of(loaded)[0].read_bytes()
    assert {layer.precision for layer in backend.get("torch").executed(loaded)} == {f"int{BITS[operator]}"}


@pytest.mark.parametrize(("operator", "options"), VARIANTS)
@pytest.mark.parametrize(
    ("net", "shape", "args"),
    [("Stack", (512,), {"widths": [512, 700, 333, 5]}), ("Lookup", (7,), {"size": 3000}), ("SharedSquare", (256,), {})],
)
def test_predicts_the_file(*, operator, options, net, shape, args, torch_model, apply, file_of):
    model = torch_model(net, *shape, **args)
    made = apply(operator, {"model": model}, options).outputs["model"]
    declaration = catalog.get(operator)
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", (), 1, None, (), "3.11", {}))
    predicted = declaration.predict(declaration.params(**options), machine, facts_of(model)).output_bytes
    size = file_of(made)[0].stat().st_size
    assert abs(predicted - size) < 0.03 * size


def test_quantizes_a_shared_weight_once_and_keeps_it_shared(torch_model, rows, apply, answers, file_of):
    model = torch_model("SharedSquare", 256)
    done = apply("quantize.bnb_nf4", {"model": model})
    assert done.measurements["quantized_layers"] == 3
    _, loaded = file_of(done.outputs["model"])
    first, second = loaded.module.first, loaded.module.second
    assert first.weight is second.weight
    assert first.scales is second.scales
    assert first.bias is not second.bias
    x = rows(256).inputs["x"]
    np.testing.assert_array_equal(answers(loaded, x), answers(done.outputs["model"], x))


@pytest.mark.parametrize(("leave", "taken"), [("first", "second"), ("second", "first")])
def test_leaves_either_of_layers_that_share_a_weight(*, leave, taken, torch_model, rows, apply, answers, file_of):
    model, operator = torch_model("SharedSquare", 256), "quantize.bnb_int8"
    made = apply(operator, {"model": model}, {"leave": (leave,)}).outputs["model"]
    file, loaded = file_of(made)
    ran = {layer.name: layer.precision for layer in backend.get("torch").executed(loaded, layers=NAMES)}
    assert ran == {leave: "fp32", taken: "int8", "head": "int8"}
    x = rows(256).inputs["x"]
    np.testing.assert_array_equal(answers(loaded, x), answers(made, x))
    declaration = catalog.get(operator)
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", (), 1, None, (), "3.11", {}))
    params = declaration.params(leave=(leave,))
    for facts in (facts_of(model), without(facts_of(model), params)):  # alone, and as a plan is priced
        predicted = declaration.predict(params, machine, facts).output_bytes
        assert abs(predicted - file.stat().st_size) < 0.01 * predicted


def test_quantizes_a_layer_that_stands_in_two_places_in_both(torch_model, rows, apply, file_of):
    import torch

    model = torch_model("Twice", 5)
    made = apply("quantize.bnb_int8", {"model": model}).outputs["model"]
    for module in (made.module, file_of(made)[1].module):
        assert module.first is module.again
        assert not any(type(part) is torch.nn.Linear for part in module.modules())


def test_leaves_a_head_that_is_tied_to_an_embedding(torch_model, rows, apply):
    model = torch_model("TiedLookup", 7)
    done = apply("quantize.bnb_nf4", {"model": model})
    assert done.measurements == {"quantized_layers": 1, "fp32_layers": 2}
    module = done.outputs["model"].module
    assert module.head.weight is module.table.weight


def test_leaves_what_it_is_told_to_leave(torch_model, apply):
    model = torch_model("Stack", 5, widths=[5, 9, 2])
    done = apply("quantize.bnb_fp4", {"model": model}, {"leave": ("layers.0",)})
    assert done.measurements == {"quantized_layers": 1, "fp32_layers": 1}


def test_quantizes_an_encoder_that_reads_its_weights_itself_where_it_may(torch_model, rows, apply, answers):
    model = torch_model("Encoder", 3, 8)
    made = apply("quantize.bnb_int8", {"model": model}).outputs["model"]
    x = rows(3, 8).inputs["x"]
    np.testing.assert_allclose(answers(made, x), answers(model, x), atol=0.05)


def test_quantizes_a_model_that_is_one_linear_layer(torch_model, apply, file_of):
    made = apply("quantize.bnb_nf4", {"model": torch_model("alone", 5)}).outputs["model"]
    assert type(file_of(made)[1].module).__name__ == "FourBitLinear"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("operator", list(BITS))
def test_refuses_weights_that_are_not_finite(operator, bad, torch_model, apply):
    model = torch_model("Stack", 5, widths=[5, 9, 2])
    model.module.layers[2].weight.data[1, 3] = bad
    with pytest.raises(PreconditionError, match=r"X290: 1 of the 18 weights of layers.2 are NaN or infinite"):
        apply(operator, {"model": model})


def test_refuses_what_has_nothing_left_to_quantize(torch_model, apply):
    done = apply("quantize.bnb_int8", {"model": torch_model("Stack", 5, widths=[5, 2])})
    for model in (torch_model("Gridded", 1, 6, 6), done.outputs["model"]):
        with pytest.raises(PreconditionError, match=r"X210: there is nothing to quantize: the model has no"):
            apply("quantize.bnb_nf4", {"model": model})


def test_says_of_each_layer_why_it_is_left_where_none_is_taken(torch_model, apply):
    with pytest.raises(PreconditionError) as refused:
        apply("quantize.bnb_nf4", {"model": torch_model("TiedLookup", 7)}, {"leave": ("inner",)})
    assert str(refused.value) == (
        "X210: there is nothing to quantize: head (its weight is also that of table, which needs it in fp32), inner "
        "(it is to keep its precision); embeddings and convolutions stay as they are (leave fewer layers, or use "
        "quantization.method ort.static or none)"
    )


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 90),
    block=st.sampled_from((32, 64, 256)),
    nested=st.booleans(),
    kind=st.sampled_from(("nf4", "fp4")),
    zero=st.booleans(),
)
def test_unpacks_each_block_to_the_nearest_step_of_its_largest_weight(*, rows, columns, block, nested, kind, zero):
    """As the formula says: w ~ max|block| * step, for any shape, and blocks of zeros stay zeros."""
    import torch

    from titrant.runtime.backends.torch.quantized.bitsandbytes import FourBitLinear, library

    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows * 100 + columns))
    if zero:
        weight[0] = 0
    layer = FourBitLinear(rows, columns, False, kind, block, nested=nested)
    layer.fill(weight, None)
    got = layer(torch.eye(columns)).T.flatten()
    steps = library().functional.get_4bit_type(kind, device="cpu")
    flat = torch.nn.functional.pad(weight.flatten(), (0, -weight.numel() % block)).view(-1, block)
    largest = flat.abs().amax(1, keepdim=True)
    nearest = steps[(flat.unsqueeze(-1) / largest.clamp(min=1e-30).unsqueeze(-1) - steps).abs().argmin(-1)] * largest
    expected = nearest.flatten()[: weight.numel()]
    torch.testing.assert_close(got, expected, atol=0.05 * float(largest.max()) if nested else 1e-6, rtol=1e-5)


def test_counts_the_shape_of_every_weight():
    declaration = catalog.get("quantize.bnb_nf4")
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", (), 1, None, (), "3.11", {}))
    layers = (Layer("conv", "Conv2d", 36, 144, (4, 1, 3, 3)),)
    causes = [str(unmet) for unmet in declaration.requires(declaration.params(), machine, ModelFacts(
        "factory", "", 36, 36, 144, layers, (), ()
    ))]  # fmt: skip
    assert "bitsandbytes is not installed: pip install bitsandbytes" in causes
    assert any("linear layers only" in cause for cause in causes)


def test_is_loaded_without_a_word_a_compiler_or_the_network():
    code = (
        "import json, socket, sys\n"
        "def refuse(*given): raise OSError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from titrant.runtime.backends.torch.quantized.bitsandbytes import library\n"
        "library()\n"
        "import torch\n"
        "print(json.dumps(['torch._dynamo' in sys.modules, 'kernels' in sys.modules, torch.compile.__module__]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [False, False, "torch"]
