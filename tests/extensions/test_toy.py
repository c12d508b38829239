"""A package beside titrant that brings an engine, a format, a method and a pruner in one folder: nothing else knows."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy"
ROOT = Path(__file__).parents[2]
RECIPE = """\
titrant: 1
name: toy
level: balanced
task: binary_classification
model: {factory: "titrant.recipes.models:TabularNet", args: {features: 30, classes: 2}}
data:
  source: {sklearn: breast_cancer}
  label: target
  positive: malignant
  transform: [standardize]
  split: {train: 0.4, tuning: 0.1, calibration: 0.1, evaluation: 0.4}
train: {epochs: 6}
target: {size: 200 KiB}
validation: {retention: 0.9}
profile: {batches: [1], iterations: 20}
"""


def environment(home, **others):
    path = os.pathsep.join(filter(None, (str(TOY), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "TITRANT_HOME": str(home), "COLUMNS": "200", **others}


@pytest.fixture(scope="module")
def command(warm, folder):
    """Return a function that runs a command with the toy installed."""

    def run(home, *arguments, **others):
        starts = {"check": 0, "plan": 1}.get(arguments[0], 2)
        return warm("-m", "titrant", *arguments, cwd=folder, env=environment(home, **others), starts=starts)

    return run


@pytest.fixture(scope="module")
def titrant(command):
    """Return a function that runs a command with the toy installed, and returns what it printed."""

    def run(home, *arguments, exits=0, **others):
        done = command(home, *arguments, **others)
        assert done.returncode == exits, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def python(warm, folder):
    """Return a function that runs code with the toy installed, and returns the JSON in its last line."""

    def run(home, code):
        (folder / "code.py").write_text(code, "utf-8")
        done = warm("code.py", cwd=folder, env=environment(home))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("toy")
    (place / "toy.yaml").write_text(RECIPE, "utf-8")
    return place


@pytest.fixture(scope="module")
def home(folder):
    return folder / "home"


def latest(home):
    """The folder of the run that ended last."""
    return max((home / "runs").glob("*/record.json"), key=lambda file: file.stat().st_mtime_ns).parent


@pytest.fixture(scope="module")
def released(titrant, folder, home):
    """Release a model in the toy's format: the folder of the run."""
    titrant(home, "run", folder / "toy.yaml", "--set", "target.engine=toy")
    return latest(home)


# With these `auto` makes every candidate that can run, however slow it is expected to be.
EVERYTHING = ("--set", "search.objective=[size]", "--set", "search.budget.evaluations=99")


@pytest.fixture(scope="module")
def everything(titrant, folder, home):
    """Plan every candidate that can run."""
    saved = folder / "everything.json"
    titrant(home, "plan", folder / "toy.yaml", *EVERYTHING, "--out", saved)
    return json.loads(saved.read_text("utf-8"))["plan"]


def test_is_offered_by_auto_beside_everything_else(everything):
    plan = everything
    offered = {
        "torchscript-fp32",
        "onnx-fp32",
        "toybox-fp32",
        "torch.dynamic",
        "ort.dynamic",
        "ort.static",
        "toy.round",
    }
    assert offered <= {candidate["id"] for candidate in plan["candidates"]}
    assert {"export.toybox", "quantize.toy_round"} <= {step["operator"] for step in plan["steps"]}


def test_is_converted_and_not_quantized_by_auto_where_its_engine_is_too_slow_to_win(titrant, folder, home):
    plan = " ".join(titrant(home, "plan", folder / "toy.yaml").split())
    assert "toybox-fp32" in plan.partition("quantization.method: auto → ")[2].partition(" each is made")[0]
    assert "toy.round: it is expected to take" in plan


def test_is_planned_and_predicted_on_a_gpu_that_is_not_here(titrant, folder, home):
    saved = folder / "gpu.json"
    titrant(
        home, "plan", folder / "toy.yaml", "--hardware", "nvidia-h100", "--set", "target.device=cuda", "--out", saved
    )
    plan = json.loads(saved.read_text("utf-8"))["plan"]
    assert "toy.round" in [candidate["id"] for candidate in plan["candidates"]]
    latency = next(step for step in plan["steps"] if step["operator"] == "profile.latency")
    assert latency["params"]["engines"]["toy.round"] == "toy"
    assert latency["prediction"]["models"]["toy.round"]["seconds"]["1"] > 0
    rejected = next(line for line in plan["decisions"] if line["subject"] == "quantization.method")["rejected"]
    assert {item["value"] for item in rejected} >= {"onnx-fp32", "ort.static"}


def test_predicts_a_slow_engine_to_be_slow(everything):
    models = next(step for step in everything["steps"] if step["id"] == "latency")["prediction"]["models"]
    seconds = {name: cost["seconds"]["1"] for name, cost in models.items()}
    assert seconds["onnx-fp32"] < seconds["torchscript-fp32"] < seconds["toybox-fp32"]
    assert seconds["toy.round"] != seconds["toybox-fp32"]


def test_is_judged_released_and_reported(released):
    record = json.loads((released / "record.json").read_text("utf-8"))
    (released_name,) = record["released"]
    assert released_name in ("toybox-fp32", "toy.round")
    report = (released / "report.html").read_text("utf-8")
    assert released_name in report
    assert "from titrant_toy.engine import ToyModel, open_session" in report
    assert list((released / "outputs").glob("*.toybox"))


def test_is_loaded_by_titrant_and_says_what_it_really_runs(python, home, released):
    answer = python(
        home,
        "import json, titrant, numpy as np\n"
        "from sklearn.datasets import load_breast_cancer\n"
        "frame = load_breast_cancer(as_frame=True).data[:8]\n"
        f"with titrant.load({str(released)!r}) as model:\n"
        "    answer = model(frame)\n"
        "    print(json.dumps([list(map(str, answer.decisions)), [layer.precision for layer in model.executed()]]))",
    )
    assert set(answer[0]) <= {"malignant", "benign"}
    assert set(answer[1]) == {"fp32"}


def test_says_which_engine_a_released_model_needs_where_it_is_not_installed(released):
    done = subprocess.run(
        [sys.executable, "-c", f"import titrant\ntitrant.load({str(released)!r})"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert "X343" in done.stderr
    assert "runs in toy" in done.stderr


def test_reuses_everything_in_a_second_run(titrant, folder, home, released):
    assert "up to date, nothing executed" in titrant(home, "run", folder / "toy.yaml", "--set", "target.engine=toy")


def test_answers_anew_where_the_engine_was_edited_without_another_version(titrant, folder, tmp_path):
    """A package that is installed where it is edited: its engine's code is part of the keys of all that it answers."""
    shutil.copytree(TOY, tmp_path / "site")
    home = tmp_path / "home"
    changes = ("--set", "target.engine=toy", "--set", "quantization.method=none")
    titrant(home, "run", folder / "toy.yaml", *changes, PYTHONPATH=str(tmp_path / "site"))
    engine = tmp_path / "site" / "titrant_toy" / "engine.py"
    text = engine.read_text("utf-8")
    engine.write_text(text.replace("strict=True))", "strict=True)) | {}  # edited"), "utf-8")
    plan = titrant(home, "plan", folder / "toy.yaml", *changes, PYTHONPATH=str(tmp_path / "site"))
    symbols = {words[1]: words[0] for line in plan.splitlines() if len(words := line.split()) > 2}
    assert symbols["fit"] == "="
    assert symbols["toybox-fp32"] == "~"


def test_is_not_released_where_its_layers_run_otherwise_than_its_method_says(titrant, folder, home, released, tmp_path):
    """The method's file says int8, which its engine unpacks: the row fails, and nothing lies in `outputs/`."""
    shutil.copytree(TOY, tmp_path / "site")
    method = tmp_path / "site" / "titrant_toy" / "quantize_toy_round.py"
    text = method.read_text("utf-8")
    (line,) = (line for line in text.splitlines() if "precision=" in line)
    method.write_text(text.replace(line, ""), "utf-8")
    site, one = {"PYTHONPATH": str(tmp_path / "site")}, ("--set", "quantization.method=toy.round")
    told = titrant(home, "run", folder / "toy.yaml", *CHAIN, *one, exits=5, **site)
    assert "toy.round: judged · the contract is not kept: executed" in told
    assert "in fp32 (Gemm), planned int8" in told
    record = json.loads((latest(home) / "record.json").read_text("utf-8"))
    layers = record["candidates"][0]["layers"]
    assert {(layer["planned"], layer["executed"], layer["engine_op"]) for layer in layers} == {("int8", "fp32", "Gemm")}
    assert record["released"] == []
    assert not list(latest(home).glob("outputs/*"))
    assert "✕ fp32" in titrant(home, "inspect", "latest", **site)


def test_names_what_is_installed_where_a_name_is_wrong(command, folder, home):
    done = command(home, "check", folder / "toy.yaml", "--set", "target.engine=toyy")
    assert "did you mean `toy`?" in done.stderr


def test_takes_its_names_in_a_recipe_and_none_that_nobody_brings(titrant, folder, home):
    recipe = folder / "toy.yaml"
    for change in ("target.engine=toy", "quantization.method=toy.round", "export=[{format: toybox}]"):
        titrant(home, "check", recipe, "--set", change)
    for change in ("target.engine=toyy", "quantization.method=toy.rounds", "export=[{format: toyboxes}]"):
        titrant(home, "check", recipe, "--set", change, exits=2)
    clash = ("--set", "target.engine=torch", "--set", "export=[{format: toybox}]")
    titrant(home, "check", recipe, *clash, exits=2)


CHAIN = ("--set", "target.engine=toy", "--set", "validation.retention=0.8")


def test_makes_a_model_by_a_chain_of_two_reductions(titrant, python, folder, home, released):
    """Each is a keyed step, predicted, and the narrower module is built again from its record."""
    pruned = ("--set", "reduction={pruning: {method: toy, sparsity: 0.25}}", "--set", "quantization.method=toy.round")
    titrant(home, "run", folder / "toy.yaml", *CHAIN, *pruned)
    record = json.loads((latest(home) / "record.json").read_text("utf-8"))
    assert record["released"] == ["prune.toy+toy.round"]
    results = {step["result"]["operator"]: step["result"] for step in record["steps"] if step["result"]}
    made = results["prune.toy"]["outputs"]["model"]
    fit = next(step["result"] for step in record["steps"] if step["step"] == "fit")
    assert made["size"] < 0.8 * fit["outputs"]["model"]["size"]
    for operator in ("prune.toy", "export.onnx", "export.toybox", "quantize.toy_round"):
        size, predicted = results[operator]["outputs"]["model"]["size"], results[operator]["predicted"]["output_bytes"]
        assert abs(predicted - size) < 0.25 * size, operator
    answer = python(
        home,
        "import json\nfrom pathlib import Path\nfrom tempfile import mkdtemp\n"
        "from titrant.runtime.store.artifacts import Store\nfrom titrant.runtime.store.home import open_home\n"
        "from titrant.schema.record import Artifact\n"
        f"store = Store(open_home(Path({str(home)!r})))\n"
        "place = Path(mkdtemp()) / 'model'\n"
        f"model = store.get(Artifact('torch', {made['digest']!r}, {made['size']}), place)\n"
        "from titrant.runtime.backends.torch.module import described\n"
        "said = described(place / 'model.safetensors')\n"
        "print(json.dumps([said['rewrites'][0]['operator'], list(model.module.layers[0].weight.shape)]))",
    )
    assert answer == ["prune.toy", [96, 30]]


def test_goes_on_where_a_chain_was_cut_short(titrant, folder, home, released):
    """What the first reduction made is found again when another is asked for behind it."""
    pruned = ("--set", "reduction={pruning: {method: toy, sparsity: 0.4}}")
    titrant(home, "run", folder / "toy.yaml", *CHAIN, *pruned, "--set", "quantization.method=none")
    plan = titrant(home, "plan", folder / "toy.yaml", *CHAIN, *pruned, "--set", "quantization.method=toy.round")
    symbols = {words[1]: words[0] for line in plan.splitlines() if len(words := line.split()) > 2}
    made = {name: symbol for name, symbol in symbols.items() if name.startswith("prune.toy")}
    assert made["prune.toy+toy.round.prune.toy"] == "="
    assert made["prune.toy+toy.round"] == "+"


@pytest.mark.parametrize(
    ("reduction", "code"),
    [
        ("{pruning: {method: toy, schedule: gradual}}", "R186"),
        ("{pruning: {method: toy, blocks: 2}}", "R107"),
        ("{pruning: {method: toys}}", "R0"),
        ("{pruning: {method: toy, sparsity: 1.5}}", "R0"),
    ],
)
def test_refuses_reductions_and_options_that_nobody_brings(command, reduction, code, folder, home):
    done = command(home, "check", folder / "toy.yaml", "--set", f"reduction={reduction}")
    assert done.returncode == 2
    assert f"[{code}" in done.stderr


@pytest.mark.slow
def test_keeps_the_promises_of_every_operator_and_engine(warm, home, tmp_path):
    files = ("tests/runtime/test_conformance.py", "tests/runtime/backends/test_conformance.py")
    chosen = "toy or heavy or imports_no_engine"
    # A session of its own: what workers share lies beside their folders, and those of sessions before are none of its.
    base = ("--basetemp", tmp_path / "session")
    path, own = {"PYTHONPATH": environment(home)["PYTHONPATH"]}, {"PYTEST_XDIST_WORKER": ""}
    done = warm(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *base, "-k", chosen, *files, cwd=ROOT,
        env=path | own, starts=0,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.rpartition(" passed")[0].split()[-1]) >= 40


def test_is_known_by_its_names_to_nobody_else():
    sources = [
        path for room in ("schema", "compiler", "runtime", "src/titrant") for path in (ROOT / room).rglob("*.py")
    ]
    assert len(sources) > 500
    assert [path for path in sources if re.search(r"""["'](toy|toybox)\b""", path.read_text("utf-8"))] == []


def test_is_seen_by_the_doctor(titrant, home):
    rows = titrant(home, "doctor")
    assert "titrant_toy" in rows
    assert "toy.round" in rows
