"""The benchmark of titration: its networks are the same functions, its recipes bind, and its promises are judged."""

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "benchmarks"
NAMES = ("measure", "clipped", "halves", "networks", "titration_cases", "tried", "promises", "nets")
WITH_DATA = pytest.mark.skipif("TITRANT_DATA" not in os.environ, reason="TITRANT_DATA names no folder with the models")


@pytest.fixture(scope="module")
def modules():
    """The benchmark's own modules, which import each other by their plain names, as a script's do."""
    paths = [str(ROOT / "titration"), str(ROOT / "quantization")]
    if "TITRANT_DATA" in os.environ:
        paths.append(str(Path(os.environ["TITRANT_DATA"]) / "small_nets"))
    sys.path[:0] = paths
    names = NAMES if "TITRANT_DATA" in os.environ else ("measure", "halves", "titration_cases", "tried", "promises")
    try:
        yield {name: importlib.import_module(name) for name in names if name != "nets"}
    finally:
        for path in paths:
            while path in sys.path:
                sys.path.remove(path)
        for name in NAMES:
            sys.modules.pop(name, None)


@WITH_DATA
@pytest.mark.parametrize("name", ["mbx", "mbr"])
def test_makes_networks_unbalanced_without_changing_what_they_answer(modules, name):
    import torch

    networks = modules["networks"]
    images = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    balanced, unbalanced = networks.depthwise(), networks.NETWORKS[name]()
    with torch.no_grad():
        before, after = balanced(images), unbalanced(images)
    assert float((before - after).abs().max()) < 1e-4
    scaled = [
        (one.weight / other.weight).detach().unique()
        for one, other in zip(unbalanced.modules(), balanced.modules(), strict=True)
        if isinstance(one, torch.nn.BatchNorm2d)
    ]
    factors = {round(float(factor)) for each in scaled for factor in each}
    assert factors == {1, 50}


@WITH_DATA
def test_cuts_every_activation_of_the_third_network_off(modules):
    from torch import nn

    network = modules["clipped"].Clipped()
    assert not [module for module in network.modules() if isinstance(module, nn.ReLU)]
    assert sum(isinstance(module, nn.ReLU6) for module in network.modules()) == 19
    assert len(modules["clipped"].inner_pairs(network)) == 17


@WITH_DATA
def test_parts_the_test_rows_in_halves_by_a_seed(modules):
    import numpy as np

    one, other = modules["halves"].load(1), modules["halves"].load(2)
    assert {name: len(part["label"]) for name, part in one.items()} == {
        "calibration": 256, "tuning": 5_000, "judge": 5_000,
    }  # fmt: skip
    assert not np.array_equal(one["tuning"]["label"], other["tuning"]["label"])
    both = [
        np.sort(np.concatenate([each["tuning"]["image"], each["judge"]["image"]]).sum((1, 2, 3)))
        for each in (one, other)
    ]
    assert np.allclose(*both)


def test_writes_recipes_that_bind(modules, tmp_path):
    from titrant.compiler.bind.bind import bind
    from titrant.schema.language.parse import parse

    (tmp_path / "nets.py").write_text("Depthwise = None\n")
    for file in ("halves.py", "clipped.py"):
        (tmp_path / file).write_text((ROOT / "titration" / file).read_text("utf-8"))
    for case in modules["titration_cases"].CASES:
        (tmp_path / f"{case.network}.pt").touch()
        bound = bind(parse(case.recipe(tmp_path), f"{case.name}.yaml", folder=tmp_path))
        lost = modules["titration_cases"].ACCURACY * (1 - bound.recipe.validation.retention)
        assert lost == pytest.approx(case.points / 100, abs=1e-4)
    assert set(modules["titration_cases"].QUICK) <= {case.name for case in modules["titration_cases"].CASES}


def titrated(modules, **given):
    """One case whose files took so many seconds in 40 rounds, and lost so many points."""
    cases, measure = modules["titration_cases"], modules["measure"]
    case = next(case for case in cases.CASES if case.name == given.get("case", "clipped-1"))
    took = {"titrant": 1.0, "plain": 1.5, "ort.static": 0.8, "nncf": 1.2} | given.get("took", {})
    runs = [
        measure.Ran("titrant", given.get("exit", 0), 60.0, 0.0, released="mix", layers=given.get("layers", (29, 29))),
        measure.Ran("fp32 in onnxruntime", 0, 20.0, 0.0),
        measure.Ran("ort.static", given.get("uniform", 5), 20.0, 0.0),
    ]
    names = [
        name
        for name in took
        if (name != "titrant" or runs[0].exit == 0) and (name != "ort.static" or runs[2].exit == 0)
    ]
    lost = {
        "titrant": {"tuning": 0.1, "judge": given.get("lost", 0.1)},
        "nncf": {"tuning": 0.4, "judge": given.get("nncf_lost", 0.4)},
    }
    answer = {
        "nncf": given.get("nncf", {"evaluations": 12, "ranking": 20, "ranking_rows": 10_000, "cpu": 99.0}),
        "failed": "", "lost": lost, "rounds": {name: [took[name]] * 40 for name in names},
    }  # fmt: skip
    value = modules["tried"].Titrated(
        case, tuple(runs), given.get("evaluations", 4), given.get("predictions", ()), answer, given.get("seeds", ())
    )
    return {one.name: one for one in modules["promises"].promises(value)}, value


UNIFORM, EVALUATIONS = "speed over the best uniform file that keeps the contract", "evaluations"
PREDICTED, LAYERS, NNCF = "predicted speed of mixtures", "layers that ran as planned", "against NNCF's accuracy control"
THIRD, SEEDS, REPAIR = (
    "evaluations against NNCF's",
    "contract on judge rows at other seeds",
    "points lost by the repair",
)
HELD = [{"seed": seed, "judged": [{"lost": 0.3}]} for seed in range(19)]
BROKEN = {"seed": 20, "judged": [{"lost": 1.2}]}


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        (UNIFORM, {}, True),
        (UNIFORM, {"took": {"titrant": 1.3}}, False),
        (UNIFORM, {"uniform": 0}, False),
        (UNIFORM, {"exit": 5}, False),
        (EVALUATIONS, {}, True),
        (EVALUATIONS, {"evaluations": 6}, False),
        (PREDICTED, {"predictions": (("m1", 1.2, 1.22), ("m2", 1.1, 1.2))}, True),
        (PREDICTED, {"predictions": (("m1", 1.2, 1.22), ("m2", 1.0, 1.2))}, False),
        (LAYERS, {}, True),
        (LAYERS, {"layers": (28, 29)}, False),
        (NNCF, {}, True),
        (NNCF, {"took": {"nncf": 0.9}}, False),
        (NNCF, {"took": {"nncf": 0.9}, "nncf_lost": 1.3}, True),
        (NNCF, {"nncf": None}, None),
        (THIRD, {}, True),
        (THIRD, {"evaluations": 5}, False),
        (SEEDS, {"seeds": (*HELD, BROKEN)}, True),
        (SEEDS, {"seeds": (*HELD, BROKEN, BROKEN)}, False),
        (REPAIR, {"case": "mbx-1"}, True),
        (REPAIR, {"case": "mbx-1", "lost": 0.3}, False),
    ],
)
def test_judges_a_promise(modules, name, given, kept):
    assert titrated(modules, **given)[0][name].kept is kept


def test_writes_a_table_of_promises_and_one_of_files(modules):
    _, value = titrated(modules, seeds=tuple(HELD))
    text = modules["promises"].markdown([value], "a machine", ("avx2",))
    assert (
        "| clipped-1 | speed over the best uniform file that keeps the contract | 1.50 × (1.50–1.50) plain by mix"
        in text
    )
    assert "| clipped-1 | nncf | its file | 1.25 × (1.25–1.25) | 0.40 | 0.40 | 99 |  |" in text
    (row,) = modules["promises"].as_json([value])
    assert row["answer"]["rounds"]["titrant"]["median"] == 1.0


def test_counts_evaluations_of_what_methods_made_only(modules, tmp_path):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    steps = [
        ("plain.tuning", "plain", "make", "finished"), ("static.tuning", "static", "make", "finished"),
        ("static.mix1.tuning", "static.mix1", "search", "reused"),
        ("static.mix2.tuning", "static.mix2", "search", "unused"),
        ("static.evaluation", "static", "judge", "finished"),
    ]  # fmt: skip
    methods = {"plain": "none", "static": "ort.static", "static.mix1": "ort.static", "static.mix2": "ort.static"}
    plan = {
        "candidates": [{"id": name, "method": method} for name, method in methods.items()],
        "steps": [
            {"id": name, "operator": "validate.predict", "candidate": candidate, "stage": stage}
            for name, candidate, stage, _ in steps
        ],
    }
    record = {"steps": [{"step": name, "status": status} for name, _, _, status in steps]}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "record.json").write_text(json.dumps(record))
    assert modules["tried"].evaluated(tmp_path) == 2
    assert modules["tried"].evaluated(tmp_path / "nothing") == 0
