"""A small recipe of a user's own, with its model and data beside it, and a way to call the command line."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from ..conftest import called_here  # noqa: TID252 - tests are no package that is installed

NET = '''
"""A user's own small model."""

import torch


class Net(torch.nn.Module):
    """Two linear layers."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.first = torch.nn.Linear(features, 16)
        self.second = torch.nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))
'''

RECIPE = """\
titrant: 1
name: small
level: balanced
task: binary_classification
model:
  factory: net:Net
  args: {features: auto, classes: auto}
data:
  source: {csv: rows.csv}
  label: sick
  positive: 1
  transform: [standardize]
train: {epochs: 4, learning_rate: 0.05}
quantization: {method: none}
validation: {retention: 0.9}
profile: {batches: [1], iterations: 60, warmup: 2}
export: [{format: onnx}]
"""

# Verbs that look at this process or load engines into it; the others start workers for what they run.
APART = {"bench", "doctor", "hardware"}

# What the fixture `warm` gives: it runs `python ARGUMENTS` in a folder.
Warm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def _warm_workers(warm_workers: None) -> None:
    """Verbs that are called here have workers that start as soon as those of other commands."""


@dataclass(frozen=True)
class Answer:
    """What the command line gave."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Place:
    """A user's folder: a recipe, its model, its data, and a home."""

    folder: Path
    home: Path
    warm: Warm

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text, "utf-8")
        return self.folder / name

    def recipe(self, *changes: tuple[str, str]) -> Path:
        text = RECIPE
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return self.write("recipe.yaml", text)

    def titrant(self, *arguments: str | Path, **environment: str) -> Answer:
        """Call a verb, in this process where that is the same: one of its own is most of what many of them take."""
        if arguments[0] not in APART and not environment:
            return self.here(*arguments)
        env = {"TITRANT_HOME": str(self.home), **environment}
        done = self.warm("-m", "titrant", *arguments, cwd=self.folder, env=env)
        return Answer(done.returncode, done.stdout, done.stderr)

    def here(self, *arguments: str | Path) -> Answer:
        """Call a verb in this process, for what is the same in a process of its own: a start takes most of its time."""
        return Answer(*called_here(self.folder, self.home, *arguments))


def rows(count: int = 400, seed: int = 0) -> str:
    """Write a CSV with four numeric columns and a label that they explain."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, 4))
    sick = (values @ np.array([2.0, -1.5, 1.0, 0.5]) > 0).astype(int)
    lines = ["one,two,three,four,sick"]
    lines += [
        ",".join([*(f"{value:.6f}" for value in row), str(label)]) for row, label in zip(values, sick, strict=True)
    ]
    return "\n".join(lines) + "\n"


def place_in(path: Path, warm: Warm) -> Place:
    folder = path / "user"
    folder.mkdir()
    made = Place(folder, path / "home", warm)
    made.write("net.py", NET)
    made.write("rows.csv", rows())
    return made


@pytest.fixture
def place(tmp_path: Path, warm: Warm) -> Place:
    return place_in(tmp_path, warm)


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Place:
    return place_in(tmp_path_factory.mktemp("shared"), warm)


@pytest.fixture(scope="session")
def small_run(session_folder: Path, warm: Warm) -> Path:
    """A place in which the small recipe ran, made once for all the processes of a test session; to be copied."""
    made = session_folder / "small-run"
    with FileLock(f"{made}.lock"):
        if not (made / "answer.json").exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            place = place_in(made, warm)
            answer = place.titrant("run", place.recipe())
            assert answer.code == 0, answer.all
            (made / "answer.json").write_text(json.dumps([answer.code, answer.out, answer.err]), "utf-8")
    return made


@pytest.fixture(scope="module")
def finished(small_run: Path, tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> tuple[Place, Answer]:
    """A place of the module's own in which the small recipe ran once, and what that printed."""
    base = tmp_path_factory.mktemp("finished")
    shutil.copytree(small_run, base, dirs_exist_ok=True)
    place = Place(base / "user", base / "home", warm)
    assert place.titrant("plan", "recipe.yaml").code == 0  # what is known of model and data is known by their place
    return place, Answer(*json.loads((base / "answer.json").read_text("utf-8")))
