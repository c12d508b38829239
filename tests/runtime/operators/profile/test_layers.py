"""The operator that times layers: what it keeps, what of it is left out, and what it costs."""

import pytest

from titrant.api.apply import apply
from titrant.runtime.machine import bench
from titrant.runtime.operators.profile.layers import LayersParams, predict
from titrant.runtime.report.observed.layers import layer_profile, layers_section, write_traces
from titrant.schema.facts import Hardware, HardwareIdentity


@pytest.fixture
def short_bench(monkeypatch):
    """Measure the machine's limits in no time."""
    monkeypatch.setattr(bench, "flops_per_second", lambda products, rounds: {"fp32": 1e11, "int8": 4e11})
    monkeypatch.setattr(bench, "memory_bytes_per_second", lambda available, rounds: 1e10)
    monkeypatch.setattr(bench, "fp32_products", list)
    monkeypatch.setattr(bench, "int8_products", list)


def seen(model, rows, **params):
    given = {"engine": "torch", "seconds": 1e-3, "batch": 2, **params}
    return apply("profile.layers", {"model": model, "rows": rows}, given).outputs["seen"]


def test_keeps_the_layers_of_a_batch_and_the_machines_limits(short_bench, torch_model, rows):
    value = seen(torch_model("TinyNet", 1, 6, 6), rows(1, 6, 6))
    assert value["batch"] == 2
    assert value["limits"] == {"fp32": 1e11, "int8": 4e11, "bytes": 1e10}
    assert value["spans"] == []
    assert sum(layer["share"] for layer in value["layers"]) == pytest.approx(1)
    section = layers_section({"original": value, "static": value})
    assert [inner.title for inner in section.inner] == ["original", "static"]
    assert [len(inner.pictures) for inner in section.inner] == [2, 2]
    ids = [
        inner.pictures[place].svg.partition('aria-labelledby="')[2][:12] for inner in section.inner for place in (0, 1)
    ]
    assert len(set(ids)) == 4


def test_keeps_a_timeline_and_no_limits_where_that_is_asked(torch_model, rows, tmp_path):
    value = seen(torch_model("TinyNet", 1, 6, 6), rows(1, 6, 6), limits=False, trace=True)
    assert value["limits"] is None
    assert value["spans"]
    (inner,) = layers_section({"original": value}).inner
    assert len(inner.pictures) == 1
    assert "traces/original.json, which ui.perfetto.dev opens" in inner.notes[-1]
    row = {"operator": "profile.layers", "subject": "original", "value": value}
    write_traces(tmp_path, [row, {"operator": "inspect.summary", "subject": "original", "value": {}}])
    assert [file.name for file in (tmp_path / "traces").iterdir()] == ["original.json"]
    assert layer_profile("original", value).model == "original"


def test_calls_a_files_layers_as_the_original_does(torch_model, rows, tmp_path):
    model = torch_model("TinyNet", 1, 6, 6)
    names = {name: type(part).__name__ for name, part in model.module.named_modules() if not [*part.children()]}
    file = apply("export.onnx", {"model": model, "example": rows(1, 6, 6)}, scratch=tmp_path).outputs["model"]
    value = seen(file, rows(1, 6, 6), engine="onnxruntime", layers=names, limits=False)
    kinds = {layer["name"]: layer["kind"] for layer in value["layers"] if layer["name"]}
    assert kinds
    assert kinds.items() <= names.items()


def test_predicts_what_it_is_asked_to_take():
    machine = HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 2, None, (), "3.11", {})
    hardware = Hardware(machine)
    params = LayersParams(engine="torch", seconds=3.0)
    assert predict(params, hardware, None).seconds > 3.0
    without = LayersParams(engine="torch", seconds=3.0, limits=False)
    assert predict(without, hardware, None).seconds < predict(params, hardware, None).seconds
