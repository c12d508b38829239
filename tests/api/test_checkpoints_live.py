"""Watchers of a live training: it is saved after its epochs and goes on from there, and its gradients are watched."""

import pytest
import torch  # noqa: TID253 - the tests build tiny models

import titrant
from titrant.schema.diagnostics.diagnostics import StepError


def trained(epochs, *watchers):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))
    batches = [(torch.randn(6, 3), torch.randint(2, (6,))) for _ in range(2)]
    settings = titrant.train.TrainingSettings(epochs=epochs, learning_rate=0.05)
    return titrant.train.fit(net, batches, tuning=batches, settings=settings, watchers=watchers)


def test_goes_on_from_where_it_was(tmp_path):
    whole = trained(4)
    trained(2, titrant.checkpoints.each_epoch(tmp_path))
    fitted = trained(4, titrant.checkpoints.each_epoch(tmp_path, keep_best=1))
    assert fitted.curves == whole.curves
    for mine, other in zip(fitted.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    best = min(range(4), key=whole.curves["tuning_loss"].__getitem__) + 1
    assert titrant.checkpoints.load(titrant.checkpoints.best(tmp_path, "tuning_loss"), {}).epoch == best
    assert {titrant.checkpoints.load(file, {}).epoch for file in tmp_path.iterdir()} == {best, 4}


@pytest.mark.parametrize("said", [{"every": 0}, {"mode": "least"}])
def test_refuses_what_saves_nothing(tmp_path, said):
    with pytest.raises(ValueError, match=r"epochs|min or max"):
        titrant.checkpoints.each_epoch(tmp_path, **said)


def test_watches_gradients():
    notes = []
    fitted = trained(2, titrant.debug.watch_gradients(notes.append, limits={"global_norm": 1e-6}))
    assert len(notes) == 1
    assert fitted.curves["gradients"]["above"] == 4
    with pytest.raises(StepError, match="X537"):
        trained(1, titrant.debug.watch_gradients(notes.append, pattern="head.*"))
    with pytest.raises(ValueError, match="limits are"):
        titrant.debug.watch_gradients(notes.append, limits={"norm": 1.0})
