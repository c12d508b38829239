"""`titrant.train.fit` trains any module on any batches, as a hand-written loop would."""

import copy

import pytest
import torch  # noqa: TID253 - the tests build tiny models
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253
from torch.utils.data import DataLoader, IterableDataset, TensorDataset  # noqa: TID253

import titrant
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError

X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
BATCHES = list(zip(X.split(10), Y.split(10), strict=True))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def settings(**said):
    return titrant.train.TrainingSettings(**{"epochs": 3, "learning_rate": 0.05, **said})


def test_goes_where_a_bare_loop_goes_with_a_shuffling_loader():
    mine = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
    theirs = copy.deepcopy(mine)
    loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)
    torch.manual_seed(4)
    result = titrant.train.fit(mine, loader, settings=settings(optimizer="adamw"))
    torch.manual_seed(4)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.05, weight_decay=0.01)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            functional.cross_entropy(theirs(x), y).backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert result.model is mine
    assert not mine.training
    assert len(result.curves["loss"]) == 3
    assert result.seconds > 0


def test_keeps_the_best_epoch_where_there_are_tuning_batches():
    net = nn.Linear(4, 2)
    seen = []

    class Keep(titrant.train.Watcher):
        def after_epoch(self, state):
            seen.append(copy.deepcopy(state.module.state_dict()))

    wrong = [(x, 1 - y) for x, y in BATCHES]
    said = settings(epochs=6, early_stop=True, patience=2)
    result = titrant.train.fit(net, BATCHES, tuning=wrong, settings=said, watchers=[Keep()])
    assert result.curves["best_epoch"] == 0
    assert len(seen) == 3  # two epochs without improvement
    assert torch.equal(net.weight, seen[0]["weight"])
    assert len(result.curves["tuning_accuracy"]) == 3


class Two(nn.Module):
    """Takes two inputs, and answers with a tuple."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 2)

    def forward(self, left, right):
        return self.inner(torch.cat([left, right], 1)), left


@pytest.mark.parametrize("form", [tuple, list, lambda pair: dict(zip(("left", "right"), pair, strict=True))])
def test_takes_inputs_by_place_and_by_name(form):
    torch.manual_seed(1)
    net = Two()
    batches = [(form((x, -x)), y) for x, y in BATCHES]
    result = titrant.train.fit(net, batches, settings=settings(epochs=20))
    assert result.curves["loss"][-1] < 0.5 * result.curves["loss"][0]


def test_calls_a_loss_of_ones_own_with_the_whole_answer():
    def loss(answer, labels):
        logits, left = answer
        assert left.shape == (10, 4)
        return functional.cross_entropy(logits, labels)

    batches = [((x, -x), y) for x, y in BATCHES]
    result = titrant.train.fit(Two(), batches, tuning=batches, loss=loss, settings=settings())
    assert result.curves["tuning_accuracy"] == []
    assert len(result.curves["tuning_loss"]) == 3


def test_fits_numbers_with_a_loss_of_torchs():
    net = nn.Linear(4, 1)
    batches = [(x, x[:, :1] * 3) for x, _ in BATCHES]
    result = titrant.train.fit(net, batches, loss=functional.mse_loss, settings=settings(epochs=60))
    assert result.curves["loss"][-1] < 0.2 * result.curves["loss"][0]


def test_finds_a_learning_rate_and_shows_what_it_saw():
    said = settings(find_learning_rate=True, schedule="cosine")
    curves = titrant.train.fit(nn.Linear(4, 2), BATCHES, settings=said).curves
    assert len(curves["sweep"]["rates"]) == len(curves["sweep"]["loss"])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"early_stop": True}, "give `tuning`"),
        ({"schedule": "plateau"}, "give `tuning`"),
        ({"schedule": "cosine"}, "cosine has to know the steps"),
    ],
)
def test_says_what_a_setting_needs(said, reason):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(X, Y, strict=True))

    with pytest.raises(ValueError, match=reason):
        titrant.train.fit(nn.Linear(4, 2), DataLoader(Stream(), batch_size=10), settings=settings(**said))


def test_needs_no_length_where_no_schedule_asks_for_it():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(X, Y, strict=True))

    result = titrant.train.fit(nn.Linear(4, 2), DataLoader(Stream(), batch_size=10), settings=settings())
    assert len(result.curves["loss"]) == 3


def test_refuses_what_is_no_training():
    net = nn.Linear(4, 2)
    with pytest.raises(RecipeError, match="X231"):
        titrant.train.fit(net, BATCHES, settings=settings(optimizer="adamax2"))
    with pytest.raises(RecipeError, match="X231"):
        titrant.train.fit(net, BATCHES, settings=settings(epochs=0))
    with pytest.raises(ValueError, match="a pair of inputs and labels, and this one is a tuple of 3"):
        titrant.train.fit(net, [(X, X, Y)], settings=settings())
    with pytest.raises(ValueError, match="a batch holds tensors, and this one a ndarray"):
        titrant.train.fit(net, [(X.numpy(), Y)], settings=settings())
    with pytest.raises(ValueError, match="there is no loss 'nll_los': the losses are cross_entropy, nll_loss"):
        titrant.train.fit(net, BATCHES, loss="nll_los", settings=settings())
    said = settings(metric="tuning accuracy")
    with pytest.raises(ValueError, match="no tuning accuracy"):
        titrant.train.fit(net, BATCHES, tuning=BATCHES, loss=functional.cross_entropy, settings=said)
    with pytest.raises(StepError, match=r"X512.*train batches"):
        titrant.train.fit(net, iter(BATCHES), settings=settings())
    with pytest.raises(StepError, match=r"X512.*tuning batches"):
        titrant.train.fit(net, BATCHES, tuning=[], settings=settings())
    with pytest.raises(ValueError, match="no trainable parameters"):
        titrant.train.fit(nn.ReLU(), BATCHES, settings=settings())
