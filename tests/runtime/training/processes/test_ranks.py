"""Several processes: the curve of one with the same batches, one seed for all, and an end for all when one dies."""

import json
import os
import signal

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject

import titrant
from titrant.runtime.training.loop import train
from titrant.runtime.training.processes.launch import run_ranks
from titrant.runtime.training.processes.ranks import Ranks, rank_seed
from titrant.schema.diagnostics.diagnostics import StepError

# What each rank runs; the test takes `make_task` from it too.
WORK = """
import json, os, signal
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from titrant.runtime.training.loop import train
from titrant.runtime.training.processes.ranked_task import ranked_task, shared, step_seconds
from titrant.runtime.training.task import TrainingSettings, TrainingTask


def make_task(module):
    draw = torch.Generator().manual_seed(1)
    batches = [(torch.randn(rows, 4, generator=draw),) for rows in (6, 6, 5)]
    batches = [([x], (x[:, 0] + 0.3 * x[:, 1] > 0).long()) for x, in batches]
    return TrainingTask(
        module=module, train=lambda: batches, tuning=lambda: batches,
        objective=lambda output, labels, _: functional.cross_entropy(output, labels),
        settings=TrainingSettings(epochs=3, optimizer="sgd", learning_rate=0.5, weight_decay=0.0, gradient_clip=0.4),
        generator=np.random.default_rng(0), call=lambda net, inputs: net(*inputs),
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
    text = json.dumps({"curves": course.curves(), "state": state, "seed": ranks.seed, "pid": os.getpid()})
    (folder / f"answer-{ranks.rank}.json").write_text(text)


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


def test_learns_what_one_process_learns_from_the_same_batches(work):
    names, folder = work
    run_ranks(2, folder, request("learn"), lambda _: None)
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
