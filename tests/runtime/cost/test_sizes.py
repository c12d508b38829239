"""Predicted file sizes come within 3 % or 16 KiB of the files."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from titrant.runtime import catalog
from titrant.runtime.api import apply as apply_operator
from titrant.runtime.cost.sizes import saved_by_int8, short_onnx_bytes
from titrant.runtime.inspect.torch import list_layers, model_bytes
from titrant.runtime.inspect.torch_forward import run_forward
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts, TensorSpec

PACKAGES = {"torch": "2", "onnx": "1", "onnxruntime": "1"}
MACHINE = Hardware(HardwareIdentity("linux", "x86_64", "", (), 2, None, (), "3.11", PACKAGES))


def facts(module, unread=(), flops=MappingProxyType({}), uncalled=()):
    parameters = sum(one.numel() for one in module.parameters())
    return ModelFacts(
        "factory",
        "",
        parameters,
        parameters,
        model_bytes(module),
        list_layers(module, flops, unread, uncalled),
        (),
        (),
        10**6,
        10**5,
    )


@pytest.mark.parametrize(
    ("name", "shape", "args"),
    [("TinyNet", (1, 6, 6), {"channels": 32, "classes": 10}), ("Stack", (64,), {"widths": [64, 512, 512, 10]})],
)
def test_predicts_the_size_of_every_file(*, name, shape, args, torch_model, rows, apply):
    model = torch_model(name, *shape, **args)
    example = rows(*shape)
    known = facts(model.module)
    plain = apply("export.onnx", {"model": model, "example": example}).outputs["model"]
    quantizing = [
        ("quantize.torch_dynamic", {"model": model, "example": example}),
        ("quantize.ort_dynamic", {"model": plain}),
        ("quantize.ort_static", {"model": plain, "calibration": example}),
    ]
    runs = [("export.torchscript", {"model": model, "example": example}, {})]
    runs += [(*one, {"per_channel": per_channel}) for one in quantizing for per_channel in (True, False)]
    sizes = {"export.onnx": (plain.path.stat().st_size, predicted("export.onnx", {}, known))}
    for operator, inputs, params in runs:
        made = apply(operator, inputs, params).outputs["model"]
        sizes[operator, *params.values()] = (made.path.stat().st_size, predicted(operator, params, known))
    wrong = {key: pair for key, pair in sizes.items() if abs(pair[1] - pair[0]) > max(0.03 * pair[0], 16 * 1024)}
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "args"), [("SharedSquare", {}), ("Lookup", {"size": 2000}), ("Pooler", {"wide": 300})]
)
def test_predicts_the_size_of_shared_looked_up_and_unread_weights(*, name, args, torch_model, rows, apply):
    model = torch_model(name, 256, **args)
    seen = run_forward(name, model.module, (TensorSpec("x", ("batch", 256), "float32"),), "unlabeled")
    assert seen.unread == ({"pooler"} if name == "Pooler" else set())
    known = facts(model.module, seen.unread)
    plain = apply("export.onnx", {"model": model, "example": rows(256)}).outputs["model"]
    live = {"model": model, "example": rows(256)}
    others = (("ort_nbits", {}), ("torch_dynamic", live)) if name == "SharedSquare" else ()
    for operator, inputs in (("ort_dynamic", {}), ("ort_static", {"calibration": rows(256)}), *others):
        made = apply(f"quantize.{operator}", {"model": plain, **inputs}, {}).outputs["model"].path.stat().st_size
        said = predicted(f"quantize.{operator}", {}, known)
        assert abs(said - made) < max(0.03 * made, 16 * 1024), (operator, said, made)


def test_predicts_the_size_of_a_table_that_is_added_and_not_looked_up(torch_model, rows, apply):
    model = torch_model("Placed", 400)
    seen = run_forward("Placed", model.module, (TensorSpec("x", ("batch", 400), "float32"),), "unlabeled")
    known = facts(model.module, seen.unread, seen.flops_by_module, seen.uncalled)
    plain = apply("export.onnx", {"model": model, "example": rows(400)}).outputs["model"]
    for operator, inputs in (("ort_dynamic", {}), ("ort_static", {"calibration": rows(400)}), ("ort_nbits", {})):
        made = apply(f"quantize.{operator}", {"model": plain, **inputs}, {}).outputs["model"].path.stat().st_size
        assert abs(predicted(f"quantize.{operator}", {}, known) - made) < 0.03 * made, operator


@pytest.mark.parametrize("tokens", [True, False])
def test_predicts_the_size_of_a_head_that_is_the_table_of_an_embedding(*, tokens, torch_model, rows, apply):
    model = torch_model("TiedHead", 16, size=3000, tokens=tokens)
    seen = run_forward("TiedHead", model.module, (TensorSpec("x", ("batch", 16), "float32"),), "unlabeled")
    known = facts(model.module, seen.unread, seen.flops_by_module)
    example = rows(16)
    plain = apply("export.onnx", {"model": model, "example": example}).outputs["model"]
    sizes = {"export.onnx": plain.path.stat().st_size}
    for operator, inputs in (
        ("export.torchscript", {"model": model, "example": example}),
        ("quantize.torch_dynamic", {"model": model, "example": example}),
        ("quantize.ort_dynamic", {"model": plain}),
        ("quantize.ort_static", {"model": plain, "calibration": example}),
    ):
        sizes[operator] = apply(operator, inputs, {}).outputs["model"].path.stat().st_size
    said = {operator: predicted(operator, {}, known) for operator in sizes}
    wrong = {name: (said[name], made) for name, made in sizes.items() if abs(said[name] - made) > 0.03 * made}
    assert wrong == {}


@pytest.mark.parametrize(
    "operator",
    ["export.openvino", "quantize.openvino_weights", "quantize.openvino_ptq", "export.exported", "export.onnx"],
)
def test_predicts_the_size_of_attention_norms_and_gates_that_no_layer_shows(operator, rooted, rows, apply):
    model, known, plain = rooted
    example = rows(96)
    inputs = {"model": model if operator in ("export.exported", "export.onnx") else plain}
    inputs |= {port: example for port in ("example", "calibration") if port in catalog.get(operator).inputs}
    made = apply(operator, inputs, {}).outputs["model"].path
    size = sum(file.stat().st_size for file in (made.parent.glob("model.*") if "openvino" in operator else [made]))
    assert abs(predicted(operator, {}, known) - size) < 0.03 * size


@pytest.fixture(scope="module")
def rooted(torch_model, rows, tmp_path_factory):
    """A network of functions, what planning sees of it, and its ONNX file."""
    model = torch_model("Rooted", 96, size=6000)
    seen = run_forward("Rooted", model.module, (TensorSpec("x", ("batch", 96), "float32"),), "unlabeled")
    known = facts(model.module, seen.unread, seen.flops_by_module, seen.uncalled)
    graph = seen.exported
    shown = {"exported_nodes": graph.nodes, "mask_bytes": graph.mask_bytes, "selections": graph.selections}
    known = replace(known, operations=seen.operations, activation_ranges=graph.ranges, **shown)
    assert seen.exported.mask_bytes == 4 * 96**2
    inputs = {"model": model, "example": rows(96)}
    plain = apply_operator("export.onnx", inputs, scratch=tmp_path_factory.mktemp("rooted")).outputs["model"]
    return model, known, plain


def predicted(operator, params, known):
    declaration = catalog.get(operator)
    return declaration.predict(declaration.params(**params), MACHINE, known).output_bytes


@pytest.mark.parametrize(("source", "copies"), [("onnx", 1), ("factory", 2)])
def test_counts_once_what_two_nodes_of_a_graph_read(source, copies):
    import torch

    first = Layer("a", "Conv", 9216, 36864, (32, 32, 3, 3))
    known = facts(torch.nn.Conv2d(32, 32, 3))
    known = replace(known, source=source, layers=(first, replace(first, name="b", parameters=0)))
    assert saved_by_int8(known, "Conv") == copies * 3 * 9216


def test_counts_no_node_of_a_constant_in_a_file_that_is_folded():
    import torch

    known = replace(facts(torch.nn.Linear(8, 4)), source="onnx")
    constants = tuple(Layer(f"Constant_{number}", "Constant", 0, 0) for number in range(50))
    assert short_onnx_bytes(replace(known, layers=(*known.layers, *constants))) == short_onnx_bytes(known)
