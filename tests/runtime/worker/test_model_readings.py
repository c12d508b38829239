"""Files that a model's own code reads: every step that rests on the model depends on them."""

import pytest

from titrant.runtime.worker.parent import Worker
from titrant.schema.values.files import digest_file

pytestmark = pytest.mark.usefixtures("warm_workers")

NET = """
from pathlib import Path

import torch

HERE = Path(__file__).parent


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(30, 2)
        self.scale = float((HERE / "scale.txt").read_text())

    def forward(self, x):
        return self.linear(x) * self.scale
"""
MODEL = {
    "factory": "net:Net",
    "inputs": [{"name": "x", "shape": ["batch", 30], "dtype": "float32"}],
    "outputs": [{"name": "logits", "shape": ["batch", 2], "dtype": "float32"}],
}
ROLES = {"train": 0.5, "tuning": 0.1, "calibration": 0.1, "evaluation": 0.3}
INSPECTED = {
    "data.load": {"sources": {"source": {"sklearn": "breast_cancer"}}, "label": "target"},
    "data.split": {"roles": {role: {"source": share} for role, share in ROLES.items()}, "label": "target"},
    "data.transform": {"task": "binary_classification", "label": "target", "positive": "malignant", "transforms": []},
    "model.load": {"factory": "net:Net"},
}


@pytest.fixture
def start(tmp_path, toy):
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "scale.txt").write_text("2")
    workers = []

    def new():
        workers.append(Worker(toy.home, folder, 1, 7))
        return workers[-1]

    yield new, folder
    for worker in workers:
        worker.close()


def run(worker, operator, params, inputs):
    return worker.ask(
        {"do": "run", "step": "s", "operator": operator, "params": params, "inputs": inputs, "seed": 7, "threads": 1,
         "deterministic": True},
    )  # fmt: skip


def files(answer):
    return {item["path"]: item["digest"] for item in answer["dependencies"] if ":" not in item["path"]}


def test_belong_to_later_steps_in_the_same_process_and_in_another(start):
    new, folder = start
    worker = new()
    made = run(worker, "model.load", MODEL, {})
    wanted = {name: digest_file(folder / name) for name in ("net.py", "scale.txt")}
    assert files(made) == wanted
    inputs = {"model": made["outputs"]["model"]}
    assert files(run(worker, "model.fuse", {}, inputs)) == wanted
    worker.close()
    assert files(run(new(), "model.fuse", {}, inputs)) == wanted


def test_belong_to_the_digest_of_the_inspected_model(start):
    new, folder = start
    first = new().ask({"do": "inspect", "seed": 7, "steps": INSPECTED})
    assert str(folder / "scale.txt") in {item["path"] for item in first["dependencies"]}
    again = new().ask({"do": "inspect", "seed": 7, "steps": INSPECTED})
    (folder / "scale.txt").write_text("3")
    other = new().ask({"do": "inspect", "seed": 7, "steps": INSPECTED})
    digests = [answer["model"]["digest"] for answer in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]
