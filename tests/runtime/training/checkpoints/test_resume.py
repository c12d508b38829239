"""A training that is killed, wherever it is, goes on from its latest checkpoint and gives the same bytes."""

import os
import resource
import signal
import time

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from same_states import same

from titrant import checkpoints
from titrant.runtime.training.epoch_checkpoints import CheckpointPlan, EpochCheckpoints
from titrant.runtime.training.gradient_norms import GradientLimits
from titrant.runtime.training.gradient_watcher import GradientWatcher
from titrant.runtime.training.loop import train
from titrant.runtime.training.task import TrainingSettings, TrainingTask, Watcher
from titrant.schema.diagnostics.diagnostics import StepError

EPOCHS = 5


class Killed(BaseException):
    """What ends a training in mid-step."""


class Killer(Watcher):
    """Ends a training after a step."""

    def __init__(self, step):
        self._step = step

    def after_step(self, state):
        if state.step == self._step:
            raise Killed


def make_task(**said):
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 2)
    )
    rows = torch.randn(24, 4)
    labels = (rows[:, 0] > 0).long()
    generator = np.random.default_rng(0)
    return TrainingTask(
        module=net,
        train=lambda: [(rows[part], labels[part]) for part in torch.from_numpy(generator.permutation(24)).split(6)],
        tuning=lambda: [(rows, labels)],
        objective=lambda output, labels, _: torch.nn.functional.cross_entropy(output, labels),
        settings=TrainingSettings(**{"epochs": EPOCHS, "learning_rate": 0.05, **said}),
        generator=generator,
        call=lambda net, inputs: net(inputs),
        right=lambda output, labels: int((output.argmax(1) == labels).sum()),
        progress=lambda *_: None,
        batches=4,
    )


def plan(folder, **said):
    return CheckpointPlan(folder=folder, **said)


def trained(folder, *, kill=0, said=None, notes=None, **how):
    """Train, or raise Killed after a step; return the course and the last weights."""
    task = make_task(**(said or {}))
    tell = (notes if notes is not None else []).append
    saving = [] if folder is None else [EpochCheckpoints(plan(folder, **how), tell)]
    watched = [GradientWatcher(GradientLimits(global_norm=0.5), tell)]
    course = train(task, [*watched, *saving, *([Killer(kill)] if kill else [])])
    return {"course": vars(course), "module": dict(task.module.state_dict())}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, EPOCHS * 4), min_size=1, max_size=3),
    st.tuples(
        st.sampled_from(["adamw", "sgd", "adafactor", "nadam"]),
        st.sampled_from([None, "one_cycle", "plateau", "cosine_warmup", "step"]),
    ),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_gives_the_same_bytes_however_often_it_is_killed(tmp_path_factory, kills, rate, accumulate, every):
    optimizer, schedule = rate
    said = {"optimizer": optimizer, "schedule": schedule, "accumulate": accumulate, "early_stop": True, "patience": 2}
    folder = tmp_path_factory.mktemp("killed")
    whole = trained(None, said=said)
    for kill in kills:
        try:
            trained(folder, kill=kill, said=said, every=every)
        except Killed:
            continue
    assert same(trained(folder, said=said, every=every), whole)


def test_survives_kill_9_while_it_writes(tmp_path):
    whole = trained(None)
    for wait in (0.0, 0.01, 0.03, 0.06):
        child = os.fork()
        if child == 0:
            try:
                trained(tmp_path)
            finally:
                os._exit(0)
        deadline = time.monotonic() + 20
        while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert same(trained(tmp_path), whole)
    assert all(file.name.startswith("checkpoint-") for file in tmp_path.iterdir())


def test_goes_on_after_the_epoch_that_was_saved(tmp_path):
    with pytest.raises(Killed):
        trained(tmp_path, kill=11)
    notes = []
    trained(tmp_path, notes=notes)
    assert "the training goes on after epoch 2" in notes


def test_begins_anew_where_the_code_that_it_rests_on_has_changed(tmp_path):
    """A loss of the recipe's own stands in no key, and weights of two losses are those of neither."""
    before, since = {"losses.py": "a", "f00d": "c"}, "changed since checkpoint-0000000002.safetensors was saved"
    for code, told in (
        ({"losses.py": "a", "read_since.py": "d"}, "the training goes on after epoch 2"),
        ({"losses.py": "x", "f00d": "x"}, f"losses.py {since}"),
        ({"losses.py": "a", "f00d": "x"}, f"a file that its code read {since}"),
    ):
        folder, notes = tmp_path / code["losses.py"] / str(len(code)) / told[:3], []
        with pytest.raises(Killed):
            trained(folder, kill=11, code=before)
        trained(folder, notes=notes, code=code)
        assert [note for note in notes if note.startswith(told)]


def test_begins_anew_where_that_is_asked_for(tmp_path):
    with pytest.raises(Killed):
        trained(tmp_path, kill=11)
    notes = []
    trained(tmp_path, notes=notes, resume=False)
    assert not [note for note in notes if "goes on" in note]


@pytest.mark.parametrize("harm", ["cut", "another model"])
def test_takes_the_one_before_a_damaged_one(tmp_path, harm):
    with pytest.raises(Killed):
        trained(tmp_path, kill=15, keep_best=3)
    newest = checkpoints.latest(tmp_path)
    if harm == "cut":
        newest.write_bytes(newest.read_bytes()[:-3])
    else:
        newest.unlink()
        checkpoints.save(tmp_path, {"model": torch.nn.Linear(1, 1)}, epoch=3)
    notes = []
    assert same(trained(tmp_path, notes=notes)["module"], trained(None)["module"])
    assert "the training goes on after epoch 2" in notes


def test_keeps_the_best_and_the_latest(tmp_path):
    course = trained(tmp_path, keep_best=2, metric="tuning accuracy", mode="max")["course"]
    accuracy = course["tuning_accuracy"]
    best = sorted(range(EPOCHS), key=lambda epoch: (-accuracy[epoch], epoch))[:2]
    kept = {int(file.stem.removeprefix("checkpoint-")) for file in tmp_path.iterdir()}
    assert kept == {epoch + 1 for epoch in best} | {EPOCHS}


def test_saves_no_sooner_than_it_is_allowed_to(tmp_path):
    trained(tmp_path, seconds=3600.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("required", [True, False])
def test_says_that_the_disk_is_full(tmp_path, required):
    trained(tmp_path, said={"epochs": 1})
    first = checkpoints.latest(tmp_path)
    content, notes = first.read_bytes(), []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        if required:
            with pytest.raises(StepError, match="X533"):
                trained(tmp_path, resume=False)
        else:
            trained(tmp_path, resume=False, required=False, notes=notes)
            assert [note for note in notes if "disk is full" in note]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert first.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


class Zeroing(Watcher):
    """Sets a weight that was none at the start to 0 after the second epoch."""

    @torch.no_grad()
    def after_epoch(self, state):
        if state.epoch == 2:
            state.module[0].weight[5, 1] = 0


def test_keeps_masks_where_they_were_when_it_goes_on(tmp_path):
    def masked():
        task = make_task(keep_zeros=True)
        with torch.no_grad():
            task.module[0].weight[:4] = 0
        return task

    whole = masked()
    train(whole, [Zeroing()])
    for kill in (9, 0):
        task = masked()
        try:
            train(task, [Zeroing(), EpochCheckpoints(plan(tmp_path), print), *([Killer(kill)] if kill else [])])
        except Killed:
            continue
    assert same(dict(task.module.state_dict()), dict(whole.module.state_dict()))
    assert bool((task.module[0].weight[:4] == 0).all())
    assert task.module[0].weight[5, 1] != 0
