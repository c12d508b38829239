"""Packages that bring what does not fit: each is refused by name, with what is wrong, and never with a traceback."""

import os
import shutil
import subprocess
import sys

import pytest

METADATA = "Metadata-Version: 2.1\nName: titrant-broken\nVersion: 1.0\n"
BACKEND = """
from titrant.runtime.backends.backend import Backend
from titrant.runtime.backends.model_kind import ModelKind, RunCost

def nothing(*given, **named):
    return None

COST = RunCost(1, 1, 1, 1, 1, 1, 1, 1)

def kind(name="box", form="box"):
    return ModelKind(name=name, title="a box", label="a box", save=nothing, load=nothing, file="m.box", format=form,
                     converts={"torch": "export.box"})

def made(kinds=None, name="broken", costs=None, packages=None):
    kinds = {"box": kind()} if kinds is None else kinds
    costs = {name: COST for name in kinds} if costs is None else costs
    return Backend(name=name, packages={"titrant-broken": "titrant_broken"} if packages is None else packages,
                   kinds=kinds, costs=costs, open=nothing, executed=nothing)
"""
OPERATOR = """
from titrant.runtime.catalog import Params, operator
from titrant.runtime.method import Method

class NoParams(Params):
    pass

def declare(name, method, inputs="onnx", **more):
    @operator(name, version=1, family=name.partition(".")[0], params=NoParams, inputs={"model": inputs},
              outputs={"model": inputs}, method=method, **more)
    def work(params, context, *, model):
        return {"model": model}

FULL = dict(takes="onnx", engine="onnxruntime", format="onnx", bits=(8,), rank=9)
METHOD = Method("broken", **FULL)
"""
ENGINES = {
    "cannot be imported": ("import not_there_at_all", "No module named 'not_there_at_all'"),
    "raises": ("raise ValueError('what a day')", "ValueError: what a day"),
    "has no BACKEND": ("", "has no attribute 'BACKEND'"),
    "is of another type": ("BACKEND = 3", "its BACKEND is of type int"),
    "has another name": (BACKEND + "BACKEND = made(name='other')", "its BACKEND is named other"),
    "lacks a cost": (BACKEND + "BACKEND = made(costs={'onnx': COST})", "no RunCost is stated for its kind box"),
    "runs nothing": (BACKEND + "BACKEND = made(kinds={}, costs={})", "`costs` is empty"),
    "needs a field more": (BACKEND + "RunCost(reached=1)", "TypeError"),
    "takes a kind": (BACKEND + "BACKEND = made({'onnx': kind('onnx')})", "titrant has a kind onnx itself"),
    "takes a format": (BACKEND + "BACKEND = made({'box': kind('box', 'onnx')})", "titrant has a format onnx itself"),
    "is called as no model": (BACKEND + "BACKEND = made({'rows': kind('rows')})", "is a kind of what is no model"),
    "leaves the process": ("raise SystemExit(3)", "SystemExit: 3"),
    "is no Python": ("def (", "SyntaxError"),
    "has no package": (BACKEND + "BACKEND = made(packages={})", "its BACKEND names no package"),
}  # fmt: skip
OPERATORS = {
    "cannot be imported": ("import not_there_at_all", "No module named"),
    "declares another": ("declare('quantize.other', Method('other', **FULL))", "declares no operator of this name"),
    "names its method otherwise": ("declare('quantize.broken', Method('else', **FULL))", "its method is named else"),
    "cannot say what it needs": (
        "declare('quantize.broken', Method('broken', **FULL), requires=lambda *a: 1 / 0)",
        "raises",
    ),
    "predicts nothing": ("declare('quantize.broken', Method('broken', **FULL), predict=lambda *a: None)", "NoneType"),
    "says too little": ("declare('quantize.broken', Method('broken', takes='onnx'))", "no bits and no engine and no"),
}
RECIPE = """\
titrant: 1
name: any
level: balanced
task: binary_classification
model: {factory: "titrant.recipes.models:TabularNet", args: {features: 30, classes: 2}}
data: {source: {sklearn: breast_cancer}, label: target, positive: malignant, transform: [standardize]}
train: {epochs: 1}
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory, warm):
    """A home that knows the recipe's model and data."""
    place = tmp_path_factory.mktemp("planned")
    (place / "any.yaml").write_text(RECIPE, "utf-8")
    done = warm("-m", "titrant", "plan", "-q", "any.yaml", cwd=place, env={"TITRANT_HOME": str(place / "home")})
    assert done.returncode == 0, done.stderr
    return place / "home"


@pytest.fixture
def package(warm, tmp_path):
    """Install a package of one module, and run a command beside it."""

    def install(entry, source):
        info = tmp_path / "site" / "titrant_broken-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(METADATA, "utf-8")
        (info / "entry_points.txt").write_text(entry, "utf-8")
        (tmp_path / "site" / "titrant_broken.py").write_text(source, "utf-8")
        (tmp_path / "any.yaml").write_text(RECIPE, "utf-8")

        def run(*command):
            path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
            environment = {"PYTHONPATH": path, "TITRANT_HOME": str(tmp_path / "home"), "COLUMNS": "300"}
            return warm(
                "-m", "titrant", *command, cwd=tmp_path, env=environment, starts=0 if command[0] == "check" else 2
            )

        return run

    return install


@pytest.mark.parametrize(("source", "why"), ENGINES.values(), ids=ENGINES)
def test_refuses_an_engine_that_cannot_be_used(source, why, package):
    run = package("[titrant.backends]\nbroken = titrant_broken\n", source)
    done = run("check", "any.yaml")
    assert done.returncode == 2
    words = " ".join(done.stderr.split())
    assert "[P064]: the engine broken, which the package titrant_broken brings, cannot be used" in words
    assert why in words
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("source", "why"), OPERATORS.values(), ids=OPERATORS)
def test_refuses_an_operator_that_cannot_be_used(source, why, package, planned, tmp_path):
    shutil.copytree(planned, tmp_path / "home")
    run = package("[titrant.operators]\nquantize.broken = titrant_broken\n", OPERATOR + source)
    done = run("plan", "any.yaml")
    assert done.returncode == 2
    words = " ".join(done.stderr.split())
    assert "[P064]: " in words
    assert "quantize.broken" in words
    assert why in words
    assert "Traceback" not in done.stderr


def test_shows_the_doctor_what_is_broken_and_goes_on_describing_the_machine(package):
    run = package("[titrant.backends]\nbroken = titrant_broken\n", "raise ValueError('what a day')")
    done = run("doctor")
    assert done.returncode != 0
    assert "what a day" in done.stdout
    assert run("hardware").returncode == 0


def test_leaves_titrant_what_it_has_itself(package):
    run = package(
        "[titrant.backends]\ntorch = titrant_broken\n[titrant.operators]\ntrain.fit = titrant_broken\n", "1/0"
    )
    assert run("check", "any.yaml").returncode == 0


def test_loads_a_released_model_whatever_else_is_broken(package, shipped, tmp_path):
    package("[titrant.backends]\nbroken = titrant_broken\n", "1/0")
    (folder,) = (shipped / "home" / "runs").iterdir()
    code = f"import titrant; titrant.load({str(folder)!r}); print('loaded')"
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "loaded", done.stderr
