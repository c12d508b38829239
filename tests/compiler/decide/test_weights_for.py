"""A file of weights for other code is made only where it is asked for, and no limit is judged by another's time."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.decide import target
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Layer

HERE = Path(__file__).parents[1]
specification = importlib.util.spec_from_file_location("case_of_weights", HERE / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

WIDE = replace(case.DIGITS, layers=(*case.DIGITS.layers, Layer("wide", "Linear", 64 * 64, 64 * 64 * 4, (64, 64))))
MLX = {"hardware": case.machine("avx2", packages={**case.PACKAGES, "mlx": "0.32.4"})}


def ids(decisions):
    return [chain.id for chain in decisions.settled.chains]


@pytest.mark.parametrize("asked", ["[{format: auto}]", "[{format: onnx}]"])
def test_is_nobodys_default(asked):
    decisions = case.decided(case.RECIPE, "level=balanced", f"export={asked}", **MLX)
    lines = [line for line in decisions.decisions if line.subject == "quantization.method"]
    assert "mlx" not in f"{ids(decisions)} {lines}"


def test_is_made_plain_and_quantized_where_it_is_asked_for():
    decisions = case.decided(
        case.TRAINED, "level=balanced", "export=[{format: mlx}, {format: onnx}]", model=WIDE, **MLX
    )
    assert {"mlx-fp32", "mlx.affine-8bit", "onnx-fp32"} <= {*ids(decisions)}
    line = next(line for line in decisions.decisions if line.subject == "export.0")
    assert "judged by its weights" in line.because


def test_is_made_where_the_recipe_names_its_method():
    named = case.decided(case.TRAINED, "quantization.method=mlx.affine", "quantization.bits=4", model=WIDE, **MLX)
    assert ids(named) == ["mlx.affine"]


@pytest.mark.parametrize(
    ("limit", "name"),
    [("latency={p95: 5 ms}", "latency"), ("throughput=10", "throughput"), ("peak_memory=1 GiB", "peak")],
)
def test_refuses_a_limit_of_what_runs_elsewhere(limit, name):
    with pytest.raises(InfeasibleError) as caught:
        case.decided(case.RECIPE, f"target.{limit}", "export=[{format: onnx}, {format: mlx}]", **MLX)
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "P130"
    assert f"target.{name}" in diagnostic.help
    assert case.decided(case.RECIPE, "target.size=1 MiB", "export=[{format: mlx}]", **MLX)


def test_refuses_weights_apart_of_a_format_that_keeps_them_itself(monkeypatch):
    kinds = {form: replace(target.backend.kind_of_format(form), outside="") for form in target.backend.formats()}
    monkeypatch.setattr(target.backend, "kind_of_format", kinds.__getitem__)
    with pytest.raises(InfeasibleError, match=r"P131: a file of format onnx keeps its weights itself"):
        case.decided(case.RECIPE, "export=[{format: onnx, external_data: true}]")


def test_says_what_to_install_where_mlx_is_not():
    with pytest.raises(InfeasibleError, match="pip install mlx"):
        case.decided(case.RECIPE, "export=[{format: mlx}]")
