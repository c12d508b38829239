"""Two models side by side: layers are matched through fusion and quantization, and compared by what they stand for."""

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253 - its very subject

import titrant
from titrant.schema.diagnostics.diagnostics import RecipeError

ROWS = np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype("float32")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU())
        self.head = nn.Linear(256, 5)

    def forward(self, image):
        return self.head(self.deep(self.stem(image)).flatten(1))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = Net().train()
    made(torch.randn(64, 1, 8, 8) * 3 + 1)
    return made.eval()


@pytest.fixture(scope="module")
def exported(net, tmp_path_factory):
    file = tmp_path_factory.mktemp("exported") / "net.onnx"
    free = {"image": {0: "batch"}}
    torch.onnx.export(net, (torch.from_numpy(ROWS),), file, dynamo=False, input_names=["image"], dynamic_axes=free)
    return file


def by_name(found):
    return {layer.name: layer for layer in found.layers}


def test_finds_every_layer_again_behind_a_folded_normalization(net, exported):
    found = titrant.compare_models(net, exported, {"image": ROWS})
    assert [layer.name for layer in found.layers] == ["stem.0", "deep.0", "head"]
    stem, deep, _ = found.layers
    assert {layer.change for layer in found.layers} == {"same"}
    assert (stem.scaled, stem.answered_at) == (True, "native_batch_norm")
    assert (deep.scaled, deep.answered_at) == (False, "")
    assert min(layer.weight_db for layer in found.layers) > 90
    assert min(layer.answer_db for layer in found.layers) > 90
    assert found.outputs[0].decibels > 90
    assert found.outputs[0].decided_alike == 1


@pytest.mark.parametrize("method", ["ort_static", "ort_dynamic"])
def test_compares_weights_by_what_they_stand_for(method, net, exported):
    given = {"model": exported} | ({"calibration": {"image": ROWS}} if method == "ort_static" else {})
    made = titrant.apply(f"quantize.{method}", given).outputs["model"]
    found = titrant.compare_models(net, made, {"image": ROWS})
    layers = by_name(found)
    assert (layers["head"].precision, layers["head"].other_precision) == ("fp32", "int8")
    assert 35 < layers["head"].weight_db < 60
    assert layers["head"].change == "changed"
    assert 15 < layers["head"].answer_db < 70
    assert 15 < found.outputs[0].decibels < 70
    assert found.count("changed") == (3 if method == "ort_static" else 1)


def test_reads_the_older_form_of_quantized_files(net, exported, tmp_path):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter([{"image": ROWS}])

        def get_next(self):
            return next(self.rows, None)

    quantize_static(exported, tmp_path / "q.onnx", Reader(), quant_format=QuantFormat.QOperator, per_channel=True)
    found = titrant.compare_models(net, tmp_path / "q.onnx", {"image": ROWS})
    assert [layer.other_precision for layer in found.layers] == ["int8"] * 3
    assert min(layer.weight_db for layer in found.layers) > 35
    assert min(layer.answer_db for layer in found.layers) > 20  # whole numbers as what they stand for


def test_unpacks_four_bits():
    torch.manual_seed(0)
    from titrant.runtime.instruments.comparison.compare import compare
    from titrant.runtime.instruments.subject.subject import subject_of

    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    rows = torch.randn(8, 64)
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        torch.onnx.export(net, (rows,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}})
        made = titrant.apply("quantize.ort_nbits", {"model": file}).outputs["model"]
        found = compare(subject_of(net), subject_of(made), {"x": rows.numpy()})
    assert found.layers[0].other_precision == "int4"
    assert 15 < found.layers[0].weight_db < 35
    assert abs(found.layers[0].weight_db - found.layers[0].answer_db) < 10


def test_says_what_was_added_removed_and_reshaped():
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.Linear(4, 4))
    second = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))
    second.add_module("extra", nn.Linear(4, 4))
    found = titrant.compare_models(first, second)
    assert {layer.name or layer.other: layer.change for layer in found.layers} == {
        "0": "changed", "2": "changed", "3": "removed", "extra": "added",
    }  # fmt: skip
    assert str(found) == (
        "Sequential beside Sequential: 4 layers, 2 changed, 1 removed, 1 added\n"
        "  layer  shape  precision  weights\n"
        "  0      16×8   fp32       other shape: 12×8\n"
        "  2      4×16   fp32       other shape: 4×12\n"
        "  3      4×4    fp32       removed\n"
        "  extra  4×4    fp32       added"
    )


def test_measures_signal_to_noise():
    torch.manual_seed(0)
    first, second = nn.Sequential(nn.Linear(64, 64)), nn.Sequential(nn.Linear(64, 64))
    noise = torch.randn(64, 64) * 0.01
    with torch.no_grad():
        second[0].weight.copy_(first[0].weight + noise)
        second[0].bias.copy_(first[0].bias)
    (layer,) = titrant.compare_models(first, second).layers
    expected = 10 * np.log10((first[0].weight ** 2).sum().item() / (noise**2).sum().item())
    assert layer.weight_db == pytest.approx(expected, abs=0.01)
    assert not layer.scaled


def test_gives_both_models_the_inputs_as_they_are_where_a_forward_writes_into_them(net):
    class Writes(Net):
        def forward(self, image):
            return super().forward(image.mul_(0.5))

    writing, inputs = Writes().eval(), torch.from_numpy(ROWS.copy())
    writing.load_state_dict(net.state_dict())
    assert {layer.answer_db for layer in titrant.compare_models(writing, writing, inputs).layers} == {120.0}
    assert torch.equal(inputs, torch.from_numpy(ROWS))


def test_finds_names_below_what_wraps_a_module(net, tmp_path):
    torch.save({"state_dict": {f"module.{name}": value for name, value in net.state_dict().items()}}, tmp_path / "w.pt")
    found = titrant.compare_models(net, tmp_path / "w.pt", {"image": ROWS})
    assert {layer.change for layer in found.layers} == {"same"}
    assert found.notes == (f"{tmp_path / 'w.pt'} holds weights and no model: answers are not compared",)


def test_refuses_two_models_with_nothing_in_common(net):
    with pytest.raises(RecipeError) as raised:
        titrant.compare_models(net, nn.Sequential(nn.Linear(3, 2)))
    assert str(raised.value) == (
        "X686: Net and Sequential have no layer in common: none of the one's is found in the other (give two models of "
        "one origin: layers are known by their names, through export and quantization)"
    )
