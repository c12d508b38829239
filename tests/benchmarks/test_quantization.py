"""The quantization benchmark: its recipes check, its networks are those that it names, and its promises are judged."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "quantization"
NAMES = ("measure", "figures", "cases", "trained_nets")


@pytest.fixture(scope="module")
def modules():
    """The benchmark's own modules, which import each other by their plain names, as a script's do."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            del sys.modules[name]


@pytest.mark.skipif("TITRANT_DATA" not in os.environ, reason="TITRANT_DATA names no folder with the models")
def test_checks_the_recipe_of_every_model(modules, tmp_path):
    models = modules["cases"].MODELS
    assert len(models) == 10
    for model in models:
        if model.trained:
            (tmp_path / model.trained).touch()
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), "--only-check", "--cache", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(done.stdout.split()) == sorted(["ok"] * 10 + [f"{model.name}.yaml:" for model in models])


def test_names_the_parameters_of_the_networks_that_it_trains(modules):
    nets = modules["trained_nets"]
    counted = {
        f"{name}.pt": sum(item.numel() for item in network.parameters())
        for name, network in (("decoder", nets.Decoder()), ("lstm", nets.RowsLstm()), ("two_inputs", nets.TwoHalves()))
    }
    named = {model.trained: model.parameters for model in modules["cases"].MODELS if model.trained in counted}
    assert counted == named


def test_tries_every_method_at_every_width_and_fp32_in_every_engine(modules):
    from titrant.runtime import catalog
    from titrant.runtime.backends import backend

    asked = dict(modules["measure"].every_method())
    tried = {changes["quantization.method"] for changes in asked.values()}
    # What `auto` makes on request only, and what has fewer bits than the level allows.
    left = {
        name for name in catalog.quantization_methods() if name.partition(".")[0] in ("mlx", "smoothquant", "torchao")
    }
    assert {"none", *catalog.quantization_methods()} - tried == {*left, "bnb.fp4", "bnb.nf4"}
    assert {changes.get("target.engine") for changes in asked.values()} == {None, *backend.names()} - {"mlx"}
    assert {"ort.nbits 8", "ort.static.per_tensor"} <= {*asked}
    assert "ort.nbits 4" not in asked


def judged(modules, **given):
    """The promises of three runs, each of which timed 40 rounds of so many seconds; CPU seconds of a run by name."""
    ran, took = modules["measure"].Ran, {"auto": 1.0, "fp32 in onnxruntime": 2.0, "best": 1.0} | given.get("took", {})
    cpu = {"auto": 10.0, "fp32 in onnxruntime": 20.0, "best": 40.0} | given.get("cpu", {})
    method = {"auto": "best", "fp32 in onnxruntime": "none", "best": "best"}
    runs = tuple(
        ran(
            name, 0, cpu[name], 0.0, folder=".", released=name, method=method[name], engine="onnxruntime",
            size=1000 if method[name] == "none" else given.get("size", 250), layers=given.get("layers"),
        )
        for name in took
    )  # fmt: skip
    rounds = {name: {"1": [seconds] * 40, "32": [seconds] * 40} for name, seconds in took.items()}
    measured = modules["measure"].Measured(given.get("model", "any"), runs, rounds)
    instructions = given.get("instructions", ("avx2",))
    promises = modules["figures"].promises(measured, given.get("parameters", 300_000), instructions)
    return {one.name: one for one in promises}, measured


BEST, PLAIN = "auto against the best of all methods", "auto against the best plain conversion"
TIME, SPEED, SIZE, LAYERS = (
    "time of auto / of all methods",
    "speed of auto over fp32 in onnxruntime",
    "size of the smallest of 8 bits / fp32",
    "layers that ran as planned",
)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        (BEST, {}, True),
        (BEST, {"took": {"auto": 1.04}}, True),
        (BEST, {"took": {"auto": 1.08}}, False),
        (PLAIN, {}, True),
        (PLAIN, {"took": {"auto": 2.01}}, False),
        (TIME, {}, True),
        (TIME, {"cpu": {"auto": 21.0}}, False),
        (SPEED, {"model": "resnet20", "instructions": ("amx_int8", "avx512_vnni")}, False),
        (SPEED, {"model": "resnet20", "instructions": ("avx512_vnni",)}, True),
        (SPEED, {"model": "encoder", "instructions": ("amx_int8",)}, True),
        (SPEED, {"model": "resnet20", "instructions": ("avx2",)}, None),
        (SIZE, {}, True),
        (SIZE, {"size": 320}, False),
        (SIZE, {"size": 300}, True),
        (SIZE, {"size": 300, "parameters": 6_000_000}, False),
        (SIZE, {"size": 300, "parameters": 40_000}, None),
        (LAYERS, {}, None),
        (LAYERS, {"layers": (20, 20)}, True),
        (LAYERS, {"layers": (19, 20)}, False),
    ],
)
def test_judges_a_promise(modules, name, given, kept):
    promises, _ = judged(modules, **given)
    assert promises[name].kept is kept


def test_writes_a_table_of_promises_and_one_of_runs(modules):
    _, measured = judged(modules)
    text = modules["figures"].markdown([measured], {"any": 300_000}, "a machine", ("avx2",))
    assert f"| any | {BEST} | 1.00 × best (1.00–1.00) | kept |" in text
    assert "| any | auto | auto in onnxruntime | 250 | 2.00 (2.00–2.00), 1000000 µs |" in text
    (value,) = modules["figures"].as_json([measured], {"any": 300_000}, ("avx2",))
    assert value["rounds"]["auto"]["1"]["median"] == 1.0
