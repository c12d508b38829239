"""titrant.prune: every method of recipes on a live model, which stays as it is."""

import numpy as np
import pytest
import torch  # noqa: TID253 - the tests run modules
from torch import nn  # noqa: TID253

import titrant
from titrant.runtime import catalog

RNG = np.random.default_rng(0)
ROWS, LABELS = {"x": RNG.normal(size=(32, 6)).astype(np.float32)}, RNG.integers(0, 2, 32)
METHODS = [name.partition(".")[2] for name in catalog.names() if name.startswith("prune.") and name != "prune.toy"]


class Layered(nn.Module):
    """Blocks that an identity can stand for, between two layers: (batch, 6) → (batch, 2)."""

    def __init__(self):
        super().__init__()
        self.into, self.head = nn.Linear(6, 16), nn.Linear(16, 2)
        self.blocks = nn.Sequential(*(Inner() for _ in range(3)))

    def forward(self, x):
        return self.head(self.blocks(torch.relu(self.into(x))))


class Inner(nn.Module):
    """A residual block: (batch, 16) → (batch, 16)."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Layered()


@pytest.mark.parametrize("method", METHODS)
def test_prunes_by_every_method_of_the_catalog(model, method):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = titrant.prune(model, (ROWS, LABELS), method=method, skip=["head"])
    measured = result.measurements
    weights = sum(weight.numel() for weight in result.model.parameters())
    zeros = sum(int((weight == 0).sum()) for weight in result.model.parameters())
    total = sum(value.numel() for value in before.values())
    if measured.get("parameters_removed"):
        assert weights == pytest.approx(total * (1 - measured["parameters_removed"]))
    else:
        assert weights == total
        assert zeros / total == pytest.approx(measured["weights_masked"], abs=0.01)
        assert zeros
    assert result.summary
    assert result.model(torch.from_numpy(ROWS["x"])).shape == (32, 2)
    assert result.model is not model
    assert not result.model.training
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_judges_on_other_rows_where_they_are_given(model):
    tuning = {"x": 3 * ROWS["x"][:8]}
    one, other = (titrant.prune(model, ROWS, tuning=rows, sparsity=0.4) for rows in (None, tuning))
    assert one.measurements["kl.uniform"] != other.measurements["kl.uniform"]
    again = titrant.prune(model, tuning, sparsity=0.4)
    assert again.measurements == other.measurements


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"method": "structure"}, "X230"),
        ({"options": {"rount_to": 4}}, "X231"),
        ({"sparsity": 1.5}, "X231"),
        ({"skip": ["heads"]}, "X231"),
        ({"options": {"importance": "taylor"}}, "X541"),
        ({"sparsity": 0.001, "options": {"round_to": 8}}, "X540"),
    ],
)
def test_refuses_what_does_not_fit(model, arguments, code):
    with pytest.raises(titrant.TitrantError) as refused:
        titrant.prune(model, ROWS, **arguments)
    assert refused.value.diagnostics[0].code == code


def test_asks_for_the_name_of_rows_that_have_none(model):
    with pytest.raises(titrant.TitrantError, match=r'X232: train: the rows are a ndarray.*\{"x": array\}'):
        titrant.prune(model, next(iter(ROWS.values())))
