"""The worker's process: what it is given, what it answers, how it ends."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import open_home
from titrant.runtime.worker import parent as workers
from titrant.runtime.worker.messages import DamagedArtifactError, WorkerDiedError
from titrant.runtime.worker.parent import Worker
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.values.canonical import plain

PROBE = '''
import os
import random
import sys
from pathlib import Path

from titrant.runtime.catalog import Params, operator


class Ask(Params):
    expression: str


@operator("probe", version=1, family="toy", params=Ask, inputs={}, outputs={"value": "value"})
def probe(params, context):
    """Evaluate."""
    return {"value": eval(params.expression)}


@operator("change", version=1, family="toy", params=Ask, inputs={"value": "value"}, outputs={"value": "value"},
          consumes=["value"])
def change(params, context, *, value):
    """Change what it was given."""
    seen = dict(value)
    value["changed"] = True
    return {"value": {"seen": seen}}


@operator("wrong", version=1, family="toy", params=Ask, inputs={}, outputs={"value": "value"})
def wrong(params, context):
    """Give another port."""
    return {"values": 1}
'''


# As users write it: seeds at the top of a module, and generators that it keeps.
SEEDING = """
import random

import numpy as np

random.seed(1)
np.random.seed(1)
constant = [random.random(), np.random.random()]
kept, older, oldest = np.random.default_rng(2), np.random.RandomState(3), random.Random(4)


def draw():
    return [*constant, random.random(), np.random.random(), kept.random(), older.rand(), oldest.random()]
"""


@pytest.fixture
def forked(warm, monkeypatch):
    """Let the worker begin with what is heavy loaded, where its beginning is not the subject."""
    names = ("DEVNULL", "STDOUT", "TimeoutExpired")
    parts = {name: getattr(subprocess, name) for name in names}
    monkeypatch.setattr(workers, "subprocess", SimpleNamespace(Popen=warm.start, **parts))


@pytest.fixture
def worker(tmp_path):
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "probes.py").write_text(PROBE)
    with Worker(open_home(tmp_path / "home"), folder, 1, 42) as started:
        yield started


def run(worker, operator, expression="None", *, seed=1, log=None, listen=None, **inputs):
    return worker.ask(
        {"do": "run", "step": "s", "operator": f"probes:{operator}", "params": {"expression": expression},
         "inputs": {port: plain(artifact) for port, artifact in inputs.items()}, "seed": seed, "threads": 1,
         "deterministic": True, "log": log},
        listen,
    )  # fmt: skip


def value(worker, tmp_path, expression, **given):
    from titrant.schema.record import Artifact

    answer = run(worker, "probe", expression, **given)
    return Store(open_home(tmp_path / "home")).value(Artifact(**answer["outputs"]["value"]))


def test_sets_what_must_be_set_before_a_process_starts(worker, tmp_path):
    names = ["PYTHONHASHSEED", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG"]
    assert value(worker, tmp_path, f"[os.environ[n] for n in {names}]") == ["42", "1", "1", ":4096:8"]
    assert value(worker, tmp_path, "sys.path[0]") == str(tmp_path / "recipe")
    assert value(worker, tmp_path, "'torch' in sys.modules") is False


def test_ends_no_worker_that_answers_nobody_when_it_is_interrupted(forked, worker, tmp_path):
    before = value(worker, tmp_path, "os.getpid()")
    worker.interrupt()
    assert value(worker, tmp_path, "os.getpid()") == before


def test_starts_every_step_from_the_same_random_state(forked, worker, tmp_path):
    expression = "[random.random(), __import__('numpy').random.random(), float(context.generator.random())]"
    first = value(worker, tmp_path, expression, seed=5)
    assert value(worker, tmp_path, expression, seed=5) == first
    assert value(worker, tmp_path, expression, seed=6) != first


def test_draws_the_same_whenever_a_users_module_was_loaded_and_whatever_drew_from_it_before(forked, worker, tmp_path):
    (tmp_path / "recipe" / "seeds.py").write_text(SEEDING)
    expression = "__import__('seeds').draw()"
    first = value(worker, tmp_path, expression, seed=5)
    assert value(worker, tmp_path, expression, seed=5) == first
    worker.kill()
    value(worker, tmp_path, "[__import__('random').random(), __import__('seeds').draw()]", seed=6)  # loaded here
    assert value(worker, tmp_path, expression, seed=5) == first
    plain = value(worker, tmp_path, "[random.random(), __import__('numpy').random.random()]", seed=5)
    assert first[2:4] == plain  # the step's own, not those that the module began


def test_gives_each_step_an_empty_scratch_folder_that_goes_away(forked, worker, tmp_path):
    expression = "[str(context.scratch), (context.scratch / 'x').write_text('a'), len(list(context.scratch.iterdir()))]"
    folder, _, count = value(worker, tmp_path, expression)
    assert count == 1
    assert not Path(folder).exists()


def test_forgets_a_value_that_a_step_consumed(forked, worker):
    from titrant.schema.record import Artifact

    given = Artifact(**run(worker, "probe", "{'changed': False}")["outputs"]["value"])
    first = run(worker, "change", value=given)["outputs"]
    assert run(worker, "change", value=given)["outputs"] == first


def test_answers_measurements_time_and_memory(worker):
    answer = run(worker, "probe", "[context.measure('rows', 3), len(bytearray(50_000_000))][1:]")
    assert answer["measurements"] == [{"name": "rows", "value": 3.0, "unit": ""}]
    assert answer["seconds"] > answer["disk_seconds"] > 0
    assert answer["peak_bytes"] > 45_000_000


def test_refuses_outputs_that_are_not_declared(forked, worker):
    with pytest.raises(StepError, match="wrong gave values; it declares value"):
        run(worker, "wrong")


def test_refuses_a_number_that_json_cannot_hold(forked, worker):
    with pytest.raises(StepError, match="ValueError") as caught:
        run(worker, "probe", "float('nan')")
    assert "nan cannot be written as JSON" in caught.value.diagnostics[0].said


def test_names_an_operator_that_cannot_be_loaded(forked, worker):
    with pytest.raises(RecipeError, match="cannot be loaded: there is no module nowhere"):
        worker.ask({"do": "describe", "operator": "nowhere:thing"})


def test_starts_again_after_it_died(forked, worker, tmp_path):
    with pytest.raises(WorkerDiedError, match="exit code 3"):
        run(worker, "probe", "os._exit(3)")
    assert value(worker, tmp_path, "7") == 7


def test_says_that_memory_ran_out(forked, worker, tmp_path):
    with pytest.raises(StepError, match="out of memory"):
        run(worker, "probe", "bytearray(1 << 60)")  # more than any machine has addresses for


def test_does_not_use_an_input_that_is_damaged(forked, worker, tmp_path):
    from titrant.schema.record import Artifact

    given = Artifact(**run(worker, "probe", "{'a': 1}")["outputs"]["value"])
    worker.close()
    path = tmp_path / "home" / "store" / "blake3" / given.digest[:2] / given.digest
    path.unlink()
    with pytest.raises(DamagedArtifactError):
        run(worker, "change", value=given)


def test_ends_by_itself_and_cleans_up_when_closed(worker, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_CLOSE_SECONDS", 120.0)  # then it would be killed
    child = psutil.Process(value(worker, tmp_path, "os.getpid()"))
    process = worker._process
    worker.close()
    assert process.returncode == 0
    assert not child.is_running()
    assert list((tmp_path / "home" / "unfinished").iterdir()) == []


def test_is_killed_when_the_parent_is_interrupted(worker):
    def interrupt(event):
        raise KeyboardInterrupt

    expression = "[context.progress(0, 1), __import__('time').sleep(600)]"
    with pytest.raises(KeyboardInterrupt):
        run(worker, "probe", expression, listen=interrupt)
    assert not worker.started


def test_seeds_torch_the_same_whether_or_not_it_was_loaded_before(worker, tmp_path):
    """Torch is imported by the first step and there already for the second."""
    expression = "[float(__import__('torch').rand(1)), __import__('torch').get_num_threads()]"
    first = value(worker, tmp_path, expression)
    assert value(worker, tmp_path, expression) == first
    assert first[1] == 1
