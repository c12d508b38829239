"""Every operator of the catalog by `titrant.apply` on modules and arrays, or refused for what this machine lacks."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import titrant
from titrant.compiler.machine.detect import detect
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.values import OnnxModel, Outputs, Rows, Tables, TorchModel
from titrant.schema.diagnostics.diagnostics import InfeasibleError

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).parents[1] / "runtime" / "operators"
sys.path.insert(0, str(FOLDER))

import conformance_cases as cases  # noqa: E402 - lies beside the tests, which are no package

NAMES = catalog.names()
# What only another machine runs, and what is said of it here.
ELSEWHERE = {
    "quantize.torchao_int4": "kernels for CUDA devices",
    "quantize.torchao_fp8": "kernels for CUDA devices",
    "export.mlx": "MLX",
    "quantize.mlx_affine": "MLX",
}
# What compiles for many seconds: its refusal is seen, on a machine without a compiler.
COMPILES = ("export.aoti", "quantize.torchao_pt2e")
# What reads more than arrays say: the names of rows, which class is positive, answers by the names of a file.
AS_THEY_ARE = ("data.labels", "validate.batch_invariance", "validate.operating_point")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return cases.Made(tmp_path_factory.mktemp("made") / "scratch")


def held(value, made):
    """A value as its user holds it: a module for a model, also in place of the file of it, and arrays."""
    if isinstance(value, OnnxModel) and value is made["export.onnx:model"]:
        value = made["model.load:model"]
    if isinstance(value, TorchModel):
        return value.module
    if isinstance(value, Rows):
        return dict(value.inputs) if value.labels is None else (dict(value.inputs), value.labels)
    if isinstance(value, Outputs):
        return dict(value.arrays)
    if isinstance(value, Tables):
        return dict(value.sources["source"].columns)
    return {name: held(item, made) for name, item in value.items()} if isinstance(value, dict) else value


def applied(name, made, scratch):
    """What `titrant.apply` gives of what a user holds; rows show what a module takes where they are no input."""
    inputs = cases.inputs_of(name, made)
    if name not in AS_THEY_ARE:
        inputs = {port: held(value, made) for port, value in inputs.items()}
    kinds = {kind for port in catalog.get(name).inputs.values() for kind in port.kinds}
    shows = "rows" not in kinds and kinds & {*backend.kinds(), catalog.ANY_MODEL}
    rows = dict(made["data.transform:tuning"].inputs) if inputs and shows else None
    return titrant.apply(name, inputs, cases.params_of(name, made), rows=rows, seed=7, scratch=scratch)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in COMPILES])
def test_runs_on_what_somebody_holds_in_memory_or_says_what_it_lacks(name, made, tmp_path):
    lack = ELSEWHERE.get(name)
    unmet = catalog.get(name).requires(cases.params_of(name, made), detect(), None)
    if lack is not None and unmet:
        with pytest.raises(InfeasibleError, match=rf"X373: {name} cannot run: .*{lack}"):
            applied(name, made, tmp_path)
        return
    outputs = applied(name, made, tmp_path).outputs
    kinds = {port: kind for port, kind in catalog.get(name).outputs.items() if port in outputs}
    assert kinds
    assert {port: outputs[port].kind for port, kind in kinds.items() if kind in backend.kinds()} == {
        port: kind for port, kind in kinds.items() if kind in backend.kinds()
    }


@pytest.mark.parametrize("name", COMPILES)
def test_says_before_it_exports_what_compiling_takes(name, made, tmp_path, monkeypatch):
    here = detect()
    packages = {package: version for package, version in here.identity.packages.items() if package != "c++"}
    bare = replace(here, identity=replace(here.identity, packages=packages))
    monkeypatch.setattr("titrant.compiler.machine.detect.detect", lambda: bare)
    with pytest.raises(InfeasibleError, match=rf"X373: {name} cannot run: .*compiler"):
        applied(name, made, tmp_path)
    assert not [*tmp_path.iterdir()]
