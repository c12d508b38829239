"""What an inspection loaded and the first step takes over: the same bytes, dependencies and words, loaded once."""

import importlib.util
import sys
from pathlib import Path

import pytest

from titrant.runtime.store.home import open_home
from titrant.runtime.worker.parent import Worker
from titrant.schema.values.files import digest_file

spec = importlib.util.spec_from_file_location("in_process_loading", Path(__file__).parents[1] / "in_process.py")
in_process = importlib.util.module_from_spec(spec)
spec.loader.exec_module(in_process)

ROWS = """
from pathlib import Path

import numpy as np

calls, kept = [], {}


def load(scale=1.0):
    calls.append(scale)
    print("call", len(calls), float((Path(__file__).parent / "offset.txt").read_text()))
    x = np.random.rand(40, 3).astype("float32") * scale
    kept["x"] = x
    label = np.arange(40) % 2
    return {role: {"x": x[at : at + 10], "y": label[:10]} for at, role in ((0, "tuning"), (10, "calibration"),
            (20, "evaluation"), (30, "train"))}
"""
NET = """
import rows
import torch


class Net(torch.nn.Linear):
    def __init__(self, spoils):
        super().__init__(3, 2)
        if spoils:
            rows.kept["x"][:] = 0
"""
ROLES = ("tuning", "calibration", "evaluation", "train")
FACTORY = {"factory": "rows:load", "inputs": ["x"], "label": "y"}
LOADING = {"sources": {role: {**FACTORY, "part": role} for role in ROLES}, "inputs": ["x"], "label": "y"}


def steps(*, spoils=False):
    return {
        "data.load": LOADING,
        "data.split": {"roles": {role: {role: 1.0} for role in ROLES}, "label": "y"},
        "data.transform": {"task": "binary_classification", "label": "y", "positive": "1", "transforms": []},
        "model.load": {"factory": "net:Net", "args": {"spoils": spoils}},
    }


def inspect(worker, **more):
    return worker.ask({"do": "inspect", "seed": 7, "steps": steps(**more), "keep_data": True})


def load(worker, params=LOADING, listen=None, **more):
    asked = {"do": "run", "step": "load", "operator": "data.load", "params": params, "inputs": {}, "seed": 7,
             "threads": 1, "deterministic": True, **more}  # fmt: skip
    return worker.ask(asked, listen)


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "recipe"
    folder.mkdir()
    for name, text in (("rows.py", ROWS), ("net.py", NET), ("offset.txt", "1")):
        (folder / name).write_text(text)
    return open_home(tmp_path / "home"), folder


@pytest.fixture
def here(place):
    """Give a worker in this process that inspected, and its module of rows."""
    home, folder = place
    worker = in_process.InProcessWorker(home, folder)
    yield worker
    sys.path.remove(str(folder))  # else its modules are there for later tests
    for name in ("rows", "net"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("warm_workers")
def test_takes_over_what_a_step_of_its_own_would_give_and_say(place):
    home, folder = place
    told = []
    with Worker(home, folder, 1, 7) as worker:
        inspect(worker)
        (folder / "offset.txt").write_text("2")  # what was read counts, not what stands there now
        taken = load(worker, listen=told.append)
    (folder / "offset.txt").write_text("1")
    with Worker(home, folder, 1, 7) as fresh:
        alone = load(fresh)
    assert [event["text"] for event in told if event["event"] == "printed"] == ["call 1 1.0\n"]
    for part in ("outputs", "dependencies", "not_reused"):
        assert taken[part] == alone[part]
    assert taken["measurements"] == alone["measurements"] == [{"name": "rows", "value": 40, "unit": ""}]
    assert {"path": "offset.txt", "digest": digest_file(folder / "offset.txt")} in taken["dependencies"]


def calls():
    return len(importlib.sys.modules["rows"].calls)


def test_calls_a_factory_once_whatever_it_returns_and_is_asked_between(here):
    inspect(here)
    here.ask({"do": "inspect", "seed": 7, "steps": {"model.load": steps()["model.load"]}})
    load(here)
    assert calls() == 1


@pytest.mark.parametrize(
    "other",
    [{"seed": 8}, {"threads": 2}, {"deterministic": False}, {"params": {**LOADING, "keep": ["x"]}}],
    ids=lambda other: next(iter(other)),
)
def test_loads_anew_what_would_be_loaded_otherwise(here, other):
    inspect(here)
    load(here, **other)
    assert calls() == 2


def test_loads_anew_what_the_models_code_changed(here):
    inspect(here, spoils=True)
    taken = load(here)
    assert calls() == 2
    inspect(here)
    assert load(here)["outputs"] == taken["outputs"]


def test_is_of_the_first_step_alone(here):
    inspect(here)
    load(here)
    load(here)
    assert calls() == 2


def test_keeps_nothing_where_no_run_follows(here):
    here.ask({"do": "inspect", "seed": 7, "steps": steps()})
    load(here)
    assert calls() == 2
