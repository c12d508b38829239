"""Several processes: the curve of one with the same batches, one seed for all, and an end for all when one dies.

What they saved they go on from, each with its own random states.
"""

import json
import os
import signal

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject

import titrant
from titrant.runtime.training.loop import train
from titrant.runtime.training.processes import launch
from titrant.runtime.training.processes.launch import run_ranks
from titrant.runtime.training.processes.ranked_task import shared_group
from titrant.runtime.training.processes.ranks import Ranks, rank_seed
from titrant.schema.diagnostics.diagnostics import StepError

pytestmark = pytest.mark.usefixtures("warm_workers")

# What each rank runs; the test takes `make_task` from it too.
WORK = """
import json, os, signal
import numpy as np
import torch
from torch import nn
from torch.nn import functional

import titrant
from titrant.runtime.operators.train.fit import FitParams
from titrant.runtime.training.loop import train
from titrant.runtime.training.processes.fitting import RankContext
from titrant.runtime.training.processes.ranked_task import ranked_task, shared, step_seconds
from titrant.runtime.training.task import TrainingSettings, TrainingTask, Watcher
from titrant.runtime.training.watchers import watchers_of
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.recipe.train import Checkpoints, WatchGradients


def make_task(module):
    generator = np.random.default_rng(0)
    draw = torch.Generator().manual_seed(1)
    batches = [(torch.randn(rows, 4, generator=draw),) for rows in (6, 6, 5)]
    batches = [([x], (x[:, 0] + 0.3 * x[:, 1] > 0).long()) for x, in batches]
    return TrainingTask(
        module=module, train=lambda: [batches[at] for at in generator.permutation(3)], tuning=lambda: batches,
        objective=lambda output, labels, _: functional.cross_entropy(output, labels),
        settings=TrainingSettings(
            epochs=4, optimizer="sgd", learning_rate=0.5, weight_decay=0.0, gradient_clip=0.4, accumulate=2
        ),
        generator=generator, call=lambda net, inputs: net(*inputs),
        right=lambda output, labels: int((output.argmax(1) == labels).sum()),
        progress=lambda *_: None, batches=3,
    )


def make_net(seed):
    torch.manual_seed(seed)
    norms = nn.BatchNorm1d(6), nn.BatchNorm1d(6, momentum=None)
    return nn.Sequential(nn.Linear(4, 6), norms[0], nn.Tanh(), norms[1], nn.Linear(6, 2))


def learn(folder, options, ranks):
    torch.set_num_threads(1)
    module = make_net(ranks.rank)  # the ranks begin with the weights of rank 0
    task, losses = ranked_task(make_task(module), ranks)
    step_seconds(task, shared(next(iter(make_task(module).train())), ranks))  # leaves no trace
    losses.sums.zero_()
    course = train(task, [losses])
    state = {name: value.tolist() for name, value in course.best_weights.items()}
    answer = {"curves": course.curves(), "state": state, "seed": ranks.seed, "resumed": list(resume(folder, ranks))}
    answer["saved"] = save(folder, module, ranks)
    text = json.dumps(answer)
    (folder / f"answer-{ranks.rank}.json").write_text(text)


def save(folder, module, ranks):
    torch.manual_seed(8 + ranks.rank)
    file = titrant.checkpoints.save(folder / "own", {"model": module}, epoch=3)
    drawn = float(torch.rand(()))
    module[0].weight.data.zero_()
    titrant.checkpoints.load(file, {"model": module})
    again = float(torch.rand(())), float(module[0].weight.detach().abs().sum())
    try:
        titrant.checkpoints.save(file / "own", {"model": module}, epoch=4)  # a file stands in its place
    except StepError as error:
        return file.name, drawn, *again, error.diagnostics[0].code


class Killer(Watcher):
    def after_step(self, state):
        if state.step == 5:  # of two an epoch
            raise KeyboardInterrupt


def resume(folder, ranks):
    # Yields curves, weights and the next random number of a training: as a whole, and killed and gone on with.
    params = FitParams(checkpoints=Checkpoints(keep_best=1), watch_gradients=WatchGradients(global_norm=0.01))
    for saved, seed, *killer in ((None, 5), (folder / "saved", 5, Killer()), (folder / "saved", 6)):
        module = nn.Sequential(make_net(seed), nn.Dropout(0.4))
        task, losses = ranked_task(make_task(module), ranks)
        torch.manual_seed(seed + ranks.rank)
        context = RankContext(folder, ranks, task.generator, 0, 1, saved)
        watchers = watchers_of(params, context, {})
        try:
            course = train(task, [losses, *watchers, *killer])
        except KeyboardInterrupt:
            continue
        state = {name: value.tolist() for name, value in module.state_dict().items()}
        yield course.curves(), state, float(torch.rand(())), len(watchers)


def die(folder, options, ranks):
    (folder / f"pid-{ranks.rank}").write_text(str(os.getpid()))
    torch.distributed.barrier()
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.barrier()
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Write the ranks' module where they look for users' modules, and return its names and a folder for the ranks."""
    (tmp_path / "ranks_work.py").write_text(WORK, "utf-8")
    monkeypatch.setenv("TITRANT_RECIPE_FOLDER", str(tmp_path))
    names = {}
    exec(WORK, names)
    folder = tmp_path / "ranks"
    folder.mkdir()
    return names, folder


def request(function):
    return {"module": "ranks_work", "function": function, "seed": 0, "options": {}}


def test_learns_what_one_process_learns_and_goes_on_from_what_it_saved(work):
    names, folder = work
    told = []
    run_ranks(2, folder, request("learn"), told.append)
    first, second = (json.loads((folder / f"answer-{rank}.json").read_text()) for rank in (0, 1))
    module = names["make_net"](0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    course = train(names["make_task"](module))
    torch.set_num_threads(threads)
    for curve in ("loss", "tuning_loss", "tuning_accuracy"):
        assert first["curves"][curve] == pytest.approx(course.curves()[curve], rel=1e-5)
    assert first["curves"] == second["curves"]
    assert first["state"] == second["state"]
    for name, value in course.best_weights.items():
        assert np.array(first["state"][name]) == pytest.approx(value.numpy(), rel=1e-4, abs=1e-6)
    assert (first["seed"], second["seed"]) == (0, rank_seed(0, 1))
    # Killed in the third epoch: the same curves and weights, and each rank's own random numbers. Rank 0 alone looks at
    # gradients, writes and tells.
    (whole, resumed), (other, others) = first["resumed"], second["resumed"]
    assert whole[:3] == resumed[:3]
    assert other[1:3] == others[1:3]
    assert whole[2] != other[2]
    assert (whole[3], resumed[3], other[3], others[3]) == (1, 2, 0, 1)
    assert whole[0]["gradients"]["above"] == 8
    notes = [said["note"] for said in told]
    assert sum("global norm" in note for note in notes) == 2
    assert notes.count("the training goes on after epoch 2") == 1
    assert len(list((folder / "saved").iterdir())) <= 2
    for name, drawn, again, weights, error in (first["saved"], second["saved"]):
        assert (name, error, again) == ("checkpoint-0000000003.safetensors", "X533", drawn)
        assert weights > 0
    assert first["saved"][1] != second["saved"][1]


def test_ends_them_all_when_one_dies_and_names_it(work):
    _, folder = work
    with pytest.raises(StepError) as caught:
        run_ranks(2, folder, request("die"), lambda _: None)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "X523"
    assert diagnostic.message.startswith(f"rank 1 of 2 ended by signal {int(signal.SIGKILL)}")
    for rank in range(2):
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / f"pid-{rank}").read_text()), 0)


def test_names_the_one_that_a_signal_ended_though_the_one_that_lost_it_ended_first(tmp_path, monkeypatch):
    ends = """
import os, signal, time
if os.environ["RANK"] == "0":
    os._exit(1)
time.sleep(0.3)
os.kill(os.getpid(), signal.SIGKILL)
"""
    monkeypatch.setattr(launch, "_RANK", ends)
    monkeypatch.setattr(launch, "_CAUSE_SECONDS", 60.0)  # on a busy machine an interpreter takes its time to start
    with pytest.raises(StepError, match="rank 1 of 2 ended by signal 9"):
        run_ranks(2, tmp_path, {}, lambda _: None)


def test_is_alone_where_nobody_started_several(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with titrant.distributed(7) as ranks:
        drawn = torch.rand(3), np.random.rand()
        assert (ranks.rank, ranks.size, ranks.seed, ranks.writes) == (0, 1, 7, True)
        module = torch.nn.Linear(2, 2)
        assert ranks.wrap(module) is module
        assert ranks.share(torch.arange(5)).tolist() == [0, 1, 2, 3, 4]
    with titrant.distributed(7):
        again = torch.rand(3), np.random.rand()
    assert torch.equal(drawn[0], again[0])
    assert drawn[1] == again[1]
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(12,), (8, 8), (7, 6, 9, 3)])
def test_weighs_the_batches_of_a_step_so_that_every_row_counts_alike(size, sizes):
    group = [([torch.zeros(rows)], torch.arange(rows) + 10.0 * rows) for rows in sizes]
    averaged = 0.0
    for rank in range(size):
        parts = shared_group(group, Ranks(rank, size, 0))
        assert [inputs.steps for inputs, _ in parts] == [False] * (len(sizes) - 1) + [True]
        rows = sum(len(labels) for _, labels in parts)
        # As the loop does: each batch by its share of the rank's rows.
        averaged += sum(float(labels.mean()) * one.weight * len(labels) / rows for one, labels in parts) / size
    assert averaged == pytest.approx(float(torch.cat([labels for _, labels in group]).mean()))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_shares_every_row_once_and_weighs_each_alike(size):
    rows = torch.arange(17.0)
    ranks = [Ranks(rank, size, 0) for rank in range(size)]
    shares = [one.share(rows) for one in ranks]
    assert torch.cat(shares).tolist() == rows.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    averaged = sum(one.weight(len(share), 17) * share.mean() for one, share in zip(ranks, shares, strict=True)) / size
    assert float(averaged) == pytest.approx(float(rows.mean()))
    assert len({rank_seed(3, rank) for rank in range(size)}) == size
