"""Counts and summaries of live modules."""

import torch  # noqa: TID253 - the tests build tiny modules
from torch import nn  # noqa: TID253

import titrant


class Tied(nn.Module):
    """Two layers that share a weight, one frozen parameter, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.ones(2, dtype=torch.float16), requires_grad=False)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("scratch", torch.zeros(5), persistent=False)


def test_counts_tied_weights_once():
    assert titrant.count_parameters(Tied()) == titrant.Counts(total=14, trainable=12, bytes=12 * 4 + 2 * 2)


def test_counts_on_the_meta_device():
    with torch.device("meta"):
        module = nn.Linear(1 << 20, 1 << 20, bias=False)
    assert titrant.count_parameters(module).bytes == 4 << 40
    line = titrant.summary(module).lines[0]
    assert (line.mean, line.ok) == (None, True)


def test_lists_every_parameter_and_saved_buffer():
    found = titrant.summary(Tied())
    assert [(line.name, line.count, line.tied, line.trainable) for line in found.lines] == [
        ("scale", 2, "", False),
        ("first.weight", 9, "", True),
        ("first.bias", 3, "", True),
        ("second.weight", 9, "first.weight", True),
        ("mean", 2, "", False),
    ]
    assert found.ok
    assert found.counts.total == 14


def test_gives_statistics_over_what_is_finite_and_names_what_is_not():
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 3.0], [float("nan"), float("-inf")]]))
        module.bias.fill_(float("nan"))
    weight, bias = titrant.summary(module).lines
    assert (weight.mean, weight.deviation, weight.minimum, weight.maximum) == (2.0, 1.0, 1.0, 3.0)
    assert weight.verdict == "bad: 1 NaN, 1 infinite"
    assert (bias.mean, bias.verdict) == (None, "bad: 2 NaN")
    assert not titrant.summary(module).ok


def test_writes_a_line_a_parameter():
    text = str(titrant.summary(Tied()))
    assert len(text.splitlines()) == 7
    assert "tied to first.weight" in text
    assert text.endswith("14 parameters, 12 trainable, 52 B; tied weights counted once")
