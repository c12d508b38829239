"""Live values to run operators on, whose nets lie in `operators`, and a toy plan for tests to execute."""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from titrant.runtime.run.execute import execute
from titrant.runtime.run.preview import preview
from titrant.runtime.store.home import Home, open_home
from titrant.schema.plan import plan_digest

from .in_process import InProcessWorker, forget_user_code
from .toy_plans import planned, toy_plan

sys.path.insert(0, str(Path(__file__).parent / "operators"))

HERE = Path(__file__).parent


@dataclass
class Toy:
    """A recipe folder with the toy operators, a home, and what ran; `worker` makes each run's, if not a process."""

    folder: Path
    home: Home
    log: Path
    worker: Callable[[Home, Path], object] | None = None

    def ran(self):
        """Return the names of the executed steps since the last call, sorted."""
        names = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return sorted(names)

    def run(self, plan, *, hear=lambda event: None, **given):
        self.events = []

        def listen(event):
            self.events.append(event)
            hear(event)

        if self.worker is not None:
            given = {"worker": self.worker(self.home, self.folder), **given}
        return execute(self.planned(plan), self.home, listen=listen, **given)

    def planned(self, plan, file="toy.yaml"):
        return planned(plan, self.folder, file)

    def preview(self, plan):
        return preview(self.planned(plan), self.home)

    def previews(self, plan):
        found = self.preview(plan).steps
        return {step: entry.symbol for step, entry in found.items()}, found


@pytest.fixture
def toy(tmp_path, monkeypatch):
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "toys.py").write_text((HERE / "toys.py").read_text())
    (folder / "toy_numbers.py").write_text("PLUS = 1\n")
    log = tmp_path / "ran.txt"
    monkeypatch.setenv("TOY_LOG", str(log))
    return Toy(folder, open_home(tmp_path / "home"), log)


@pytest.fixture
def here(toy):
    """Let runs do their steps in this process, where no worker is the subject: it takes half the time."""
    toy.worker = InProcessWorker


@pytest.fixture
def make_plan():
    return toy_plan


@pytest.fixture(scope="session")
def homes_after(tmp_path_factory):
    """Keep by a plan's digest its record, the recipe's folder, and the home after it ran."""
    return tmp_path_factory.mktemp("ran"), {}


@pytest.fixture
def ran(toy, homes_after):
    """Return a function that lets a toy's empty home become what it is after a run of a plan, and gives the record.

    A plan runs once in a test session, without a process; later its home is copied, as if the folder had been moved.
    """
    place, kept = homes_after

    def begin(plan):
        digest = plan_digest(plan)
        if digest not in kept:
            forget_user_code("toys", "toy_numbers")  # else it rests on the files of whose folder they came from
            worker = InProcessWorker(toy.home, toy.folder)
            kept[digest] = execute(toy.planned(plan), toy.home, worker=worker), toy.folder
            shutil.copytree(toy.home.path, place / digest, symlinks=True)
            toy.ran()
            return kept[digest][0]
        record, folder = kept[digest]
        shutil.copytree(place / digest, toy.home.path, symlinks=True, dirs_exist_ok=True)
        described = toy.home.facts / "operators"
        for name in {step.operator for step in plan.steps}:
            before, now = (hashlib.sha256(f"{each}\n{name}".encode()).hexdigest() for each in (folder, toy.folder))
            if before != now and (described / f"{before}.json").exists():
                (described / f"{before}.json").rename(described / f"{now}.json")
        return record

    return begin


@pytest.fixture
def change():
    """Return a function that changes the parameters of one step."""

    def changed(plan, name, **params):
        steps = tuple(replace(s, params={**s.params, **params}) if s.id == name else s for s in plan.steps)
        return replace(plan, steps=steps)

    return changed


@pytest.fixture
def environment():
    return dict(os.environ)


@pytest.fixture(scope="session")
def torch_model():
    """Make a TorchModel of a factory in operator_nets, seeded."""

    def make(name, *shape, outputs=("logits",), dtype="float32", **args):
        import torch

        from titrant.runtime.backends.torch.factory import build, source_digest
        from titrant.runtime.values import TorchModel

        factory = f"operator_nets:{name}"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            module = build(factory, args).eval()
        inputs = (("x", ("batch", *shape), dtype),)
        return TorchModel(module, factory, args, source_digest(factory), inputs, outputs)

    return make


@pytest.fixture(scope="session")
def rows():
    """Make rows of normally distributed numbers under the input name x, or of given arrays."""

    def make(*shape, count=40, role="tuning", labels=None, x=None):
        from titrant.runtime.values import Rows

        array = np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32) if x is None else x
        numbers = np.arange(len(array))
        labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        return Rows(role, {"x": array}, labels, numbers, numbers.astype(np.uint64), ("a", "b"), 1)

    return make


@pytest.fixture
def apply(tmp_path):
    """Run an operator with every output in one folder of the test."""
    from titrant.runtime.api import apply as apply_operator

    def run(name, inputs, params=None, **settings):
        scratch = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        return apply_operator(name, inputs, params, scratch=scratch, **settings)

    return run


@pytest.fixture(scope="session")
def answers():
    """Answer an array in the engine that runs a model's kind."""

    def run(model, x):
        from titrant.runtime.backends import backend

        with backend.get(backend.engines_of(model.kind)[0]).open(model, threads=1) as session:
            return next(iter(session.run({session.input_names[0]: x}).values()))

    return run
