"""Operator pages: what the docs print of a declaration."""

from dataclasses import replace

from titrant.runtime import catalog
from titrant.runtime.operator_pages import page, sections


def test_splits_a_docstring_into_summary_and_headings():
    said = sections("Do it.\n\nHelps when: a\n  b\nInputs: none\nOutputs: x - y\nFails: never\nCost: nothing")
    assert said == {
        "": "Do it.", "Helps when": "a b", "Inputs": "none", "Outputs": "x - y", "Fails": "never", "Cost": "nothing",
    }  # fmt: skip


def test_prints_ports_parameters_and_declaration():
    text = page(catalog.get("quantize.ort_static"))
    for line in (
        "# quantize.ort_static",
        "| `calibration` | in | rows |",
        "| `model` | out | onnx |",
        "| `calibration` | minmax, entropy, percentile, mse | minmax |"
        " how a range is chosen from the activations seen |",
        "| `percentile` | number > 50, ≤ 100 | 99.999 | share of activations kept, for percentile |",
        "- verified on: CPU",
        "- quantization method `ort.static`: 8 bits, runs in onnxruntime as onnx, needs calibration rows",
    ):
        assert line in text.splitlines()


def test_prints_an_optional_parameter_with_both_types():
    assert "| `patience` | integer ≥ 1 or none | none |" in page(catalog.get("train.fit"))


def test_prints_ports_that_take_many():
    assert "several by name" in page(catalog.get("profile.latency"))


def test_names_no_device_where_an_operator_never_ran():
    never = replace(catalog.get("quantize.ort_static"), verified=())
    assert "- verified on: no device yet" in page(never).splitlines()
