"""What ran is set beside what was planned, layer by layer, and what an engine cannot tell is said."""

import pytest

from titrant.runtime.backends.backend import ExecutedLayer
from titrant.runtime.operators.validate.executed import ExecutedParams, beside
from titrant.schema.record import ENGINES_CHOICE, UNKNOWN, LayerPrecision


def test_lists_every_layer_in_the_originals_order_and_what_is_none_of_them_last():
    planned = {"a": "int8", "own": ENGINES_CHOICE, "b": "fp32", "lost": "int8"}
    params = ExecutedParams(
        engine="onnxruntime", layers=tuple(planned), planned=tuple(planned.values()), custom=("own",)
    )
    ran = [
        ExecutedLayer("b", "/b/Conv", "fp32", "Conv"),
        ExecutedLayer("", "loose", "fp32", "MatMul"),
        ExecutedLayer("a", "/a/MatMul", "int8", "QLinearMatMul"),
        ExecutedLayer("a", "/a_1/MatMul", "int8", "QLinearMatMul"),
        ExecutedLayer("a", "/a_2/MatMul", "fp32", "MatMul"),
    ]
    assert list(beside(params, ran)) == [
        LayerPrecision("a", "int8", "int8", "QLinearMatMul"),
        LayerPrecision("a", "int8", "fp32", "MatMul"),
        LayerPrecision("b", "fp32", "fp32", "Conv"),
        LayerPrecision("lost", "int8", UNKNOWN, ""),
        LayerPrecision("", ENGINES_CHOICE, "fp32", "MatMul"),
    ]


@pytest.mark.parametrize(("planned", "unlike"), [("fp32", 0), ("int8", 1), (ENGINES_CHOICE, 0)])
def test_asks_the_engine_about_a_file(planned, unlike, torch_model, rows, apply):
    from titrant.runtime.backends import backend

    model = torch_model("TinyNet", 1, 6, 6)
    layers = tuple(layer.node for layer in backend.get("torch").executed(model))
    exported = apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}).outputs["model"]
    params = {"engine": "onnxruntime", "layers": layers, "planned": (planned, *["fp32"] * (len(layers) - 1))}
    made = apply("validate.executed", {"model": exported}, params)
    executed = made.outputs["executed"]
    assert executed["untold"] == ""
    assert [(row["name"], row["executed"]) for row in executed["layers"]] == [(name, "fp32") for name in layers]
    assert made.measurements["unlike_planned"] == unlike


def test_says_why_an_engine_cannot_tell(tmp_path, apply):
    from titrant.runtime.values import OnnxModel

    (tmp_path / "model.onnx").write_bytes(b"no model")
    params = {"engine": "onnxruntime", "layers": ("a",), "planned": ("fp32",)}
    executed = apply("validate.executed", {"model": OnnxModel(tmp_path / "model.onnx")}, params).outputs["executed"]
    assert executed["layers"] == []
    assert "cannot load model.onnx" in executed["untold"]
