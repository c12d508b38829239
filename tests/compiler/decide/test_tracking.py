"""Who follows a run: what is settled, what the plan says of it, and that it changes nothing that is computed."""

import importlib.util
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.decide.measuring import tracking
from titrant.compiler.decide.rule import Question
from titrant.schema.language.parse import read

HERE = Path(__file__).parents[1]
specification = importlib.util.spec_from_file_location("case", HERE / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)


def settled(bound):
    return tracking(Question(bound, case.AVX2, case.MODEL, case.DATA))


def answer(*overrides):
    return settled(case.bound(case.RECIPE, "level=balanced", *overrides))


def test_says_nothing_where_nobody_follows():
    for overrides in ((), ("tracking={}",), ("tracking={tensorboard: false, mlflow: false}",)):
        assert answer(*overrides).value == {}
        assert answer(*overrides).decisions == ()


def test_settles_what_each_tracker_is_asked_for():
    found = answer("tracking={wandb: {project: demo, tags: [a]}, tensorboard: true, mlflow: true}")
    name = case.bound(case.RECIPE, "level=balanced").recipe.name
    assert found.value == {
        "wandb": {"project": "demo", "mode": "offline", "entity": "", "group": "", "tags": ["a"]},
        "tensorboard": {"folder": ""},
        "mlflow": {"uri": "", "experiment": name},
    }
    lines = {line.subject: (line.chosen, line.because) for line in found.decisions}
    assert lines["tracking.wandb"][0] == "offline, project demo"
    assert lines["tracking.wandb"][1].startswith("kept in the run folder, until `wandb sync` sends it;")
    assert lines["tracking.tensorboard"][0] == "in the run folder"
    assert lines["tracking.mlflow"] == (
        f"experiment {name}",
        "kept in a database in titrant's home; it reads the journal and cannot stop the run; `titrant report` says how "
        "it fared",
    )


@pytest.mark.parametrize(
    ("mode", "place"),
    [("online", "sent to the server of Weights & Biases"), ("disabled", "nothing is kept or sent")],
)
def test_says_whether_anything_leaves_the_machine(mode, place):
    (line,) = answer(f"tracking={{wandb: {{project: demo, mode: {mode}}}}}").decisions
    assert line.because.startswith(place)


def test_finds_a_folder_from_the_file_that_names_it(tmp_path):
    (tmp_path / "base").mkdir()
    sources = "data: {source: {sklearn: breast_cancer}, label: target, positive: malignant}\n"
    model = "model: {factory: 'titrant.recipes.models:TabularNet', args: {features: 30, classes: 2}}\ntrain: {}\n"
    tracked = "tracking: {tensorboard: {folder: events}}\n"
    head = "titrant: 1\nname: x\nlevel: balanced\ntask: binary_classification\n"
    (tmp_path / "base" / "base.yaml").write_text(head + model + sources + tracked)
    (tmp_path / "own.yaml").write_text("extends: base/base.yaml\ntitrant: 1\n")
    (tmp_path / "own2.yaml").write_text("extends: base/base.yaml\ntitrant: 1\n" + tracked)
    for name, folder in (("own", tmp_path / "base" / "events"), ("own2", tmp_path / "events")):
        assert settled(bind(read(tmp_path / f"{name}.yaml"))).value == {"tensorboard": {"folder": str(folder)}}
