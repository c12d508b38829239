"""Arrays that are not finite are named, all are looked at in one go, and a running model stops where they begin."""

import math

import ml_dtypes
import mlx.core as mx
import mlx.nn
import numpy as np
import pytest
import torch  # noqa: TID253 - arrays of the tests
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253

import titrant

NAN, INF = math.nan, math.inf
VALUES = st.lists(st.sampled_from([0.0, 1.0, -2.5, 6e4, NAN, INF, -INF]), max_size=5)
KINDS = {
    "torch": torch.tensor,
    "torch fp16": lambda values: torch.tensor(values, dtype=torch.float16),
    "torch bf16": lambda values: torch.tensor(values, dtype=torch.bfloat16),
    "torch float8": lambda values: torch.tensor(values).to(torch.float8_e5m2),
    "torch double": lambda values: torch.tensor(values, dtype=torch.float64),
    "torch complex": lambda values: torch.complex(torch.zeros(len(values)), torch.tensor(values)),
    "torch sparse": lambda values: torch.tensor(values).to_sparse(),
    "numpy": lambda values: np.array(values, np.float32),
    "numpy half": lambda values: np.array(values, np.float16),
    "numpy bf16": lambda values: np.array(values, np.float32).astype(ml_dtypes.bfloat16),
    "numpy complex": lambda values: np.array(values, np.complex64) * 1j if len(values) else np.zeros(0, np.complex64),
    "mlx": lambda values: mx.array(values, mx.float32),
    "mlx bf16": lambda values: mx.array(values, mx.bfloat16),
}


class Calls(TorchDispatchMode):
    """Counts what torch is called with."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


# What reads a number, or the count of some, from a device.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "item", "unique"}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(values=VALUES)
def test_names_what_is_not_finite(kind, values):
    report = titrant.debug.check_finite({"x": KINDS[kind](values)}, raises=False)
    broken = any(not math.isfinite(value) for value in values)
    assert report.ok == (not broken)
    assert [each.name for each in report.broken] == ["value['x']"] * broken
    if broken and kind != "numpy complex":  # a product with i makes NaN of infinity
        nan = sum(math.isnan(value) for value in values)
        counts = (report.broken[0].nan, report.broken[0].infinite)
        assert counts == (nan, sum(math.isinf(value) for value in values))


@pytest.mark.parametrize("tensors", [1, 40])
def test_asks_and_waits_once_however_many_tensors_there_are(tensors):
    value = [torch.ones(3) for _ in range(tensors)] + [torch.ones(2, dtype=torch.float16) for _ in range(tensors)]
    with Calls() as calls:
        titrant.debug.check_finite(value)
    assert calls.names.count("_foreach_norm") == 2  # one a dtype
    assert calls.names.count("stack") == 1  # what is read back
    assert not WAITING.intersection(calls.names)
    assert not [name for name in calls.names if name.startswith("is")]


def test_counts_the_values_of_broken_tensors_alone():
    value = [torch.ones(3) for _ in range(5)] + [torch.tensor([NAN, 1.0])]
    with Calls() as calls:
        report = titrant.debug.check_finite(value, raises=False)
    assert str(report) == "value[5] (1 NaN of 2)"
    assert calls.names.count("isfinite") + calls.names.count("isnan") <= 4
    assert not WAITING.intersection(calls.names)


def test_raises_with_every_name():
    with pytest.raises(
        titrant.TitrantError, match=r"X690: not finite: batch\[0\] \(1 NaN of 2\), batch\[1\] \(1 infinite"
    ):
        titrant.debug.check_finite((torch.tensor([NAN, 1.0]), np.array([INF]), mx.zeros(2), 3, "text"), name="batch")
    with pytest.raises(titrant.TitrantError, match="and 92 more"):
        titrant.debug.check_finite([NAN] * 100)


def test_names_the_parameters_of_modules_and_lets_masks_be_infinite():
    layer = nn.Linear(2, 2)
    layer.register_buffer("mask", torch.full((2, 2), -INF).triu(1))
    assert titrant.debug.check_finite(layer).ok
    with torch.no_grad():
        layer.weight[0, 0] = INF
        layer.mask[0, 0] = NAN
    names = [each.name for each in titrant.debug.check_finite(layer, raises=False).broken]
    assert names == ["weight", "mask"]
    inner = titrant.debug.check_finite({"net": layer}, raises=False).broken
    assert [each.name for each in inner] == ["value['net'].weight", "value['net'].mask"]
    assert [each.name for each in titrant.debug.check_finite(layer, infinity=False, raises=False).broken] == ["mask"]
    of_mlx = mlx.nn.Linear(2, 2)
    of_mlx.weight = mx.full((2, 2), NAN)
    assert str(titrant.debug.check_finite(of_mlx, raises=False)) == "weight (4 NaN of 4)"


def test_says_what_it_could_not_read():
    report = titrant.debug.check_finite([torch.ones(2, device="meta"), np.array([None]), torch.ones(1)], raises=False)
    assert (report.checked, report.unread, str(report)) == (
        1, ("value[0]", "value[1]"), "1 arrays are finite; 2 without values",
    )  # fmt: skip


class Log(nn.Module):
    def forward(self, x):
        return x.log()


class Divided(nn.Module):
    """Breaks its values between its layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x, scale=0.0):
        return self.second(self.first(x)) / scale * 0


def stopped(model, *inputs, **more):
    with pytest.raises(titrant.TitrantError) as raised, titrant.debug.watch_finite(model) as watch:
        model(*inputs, **more)
    return raised.value.diagnostics[0], watch


def test_stops_at_the_first_layer_and_says_what_it_took():
    ran = []
    model = nn.Sequential(nn.Identity(), Log(), nn.Flatten())
    model[2].register_forward_hook(lambda *_: ran.append(1))
    found, watch = stopped(model, torch.tensor([[-1.0, 2.0]]))
    assert found.code == "X691"
    assert found.message == "1 (Log) gave 1 NaN of 2 values; it took input float32 (1, 2) from -1 to 2"
    assert "logarithm" in found.help
    assert (watch.layer.name, watch.layer.inputs["input"].minimum, watch.calls, ran) == ("1", -1.0, 2, [])


def test_says_that_the_weights_of_a_layer_are_broken():
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].bias[0] = NAN
    found, watch = stopped(model, torch.ones(1, 2))
    assert "its own weights are broken: bias (1 NaN of 2)" in found.message
    assert "learning rate" in found.help
    assert [each.name for each in watch.layer.weights] == ["bias"]


def test_blames_the_module_whose_layers_are_finite():
    found, _ = stopped(Divided(), torch.ones(1, 2))
    assert found.message.startswith("(model) (Divided) gave 2 NaN of 2 values; it took input float32 (1, 2)")
    assert "between them" in found.help


def test_blames_the_data_before_the_first_layer():
    found, watch = stopped(Divided(), torch.tensor([[NAN, 1.0]]), scale=1.0)
    assert (found.code, watch.calls) == ("X690", 0)
    assert "input[0] (1 NaN of 2)" in found.message


def test_leaves_no_hook_behind():
    model = nn.Sequential(Log())
    with titrant.debug.watch_finite(model, infinity=False):
        assert model(torch.zeros(1)).isinf().all()
    stopped(model, torch.tensor([-1.0]))
    assert model(torch.tensor([-1.0])).isnan().all()
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


def test_stops_a_training_in_half_precision_where_it_overflows():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).to(torch.float16)
    with torch.no_grad():
        model[0].weight.fill_(6e4)
    found, _ = stopped(model, torch.full((1, 4), 10.0, dtype=torch.float16))
    assert found.message.startswith(
        "0 (Linear) gave 4 infinite of 4 values; it took input float16 (1, 4) from 10 to 10"
    )
    assert "float32" in found.help


def test_says_what_else_gives_infinity_than_numbers_that_are_too_large_for_their_type():
    found, _ = stopped(nn.Sequential(Log()), torch.tensor([[0.0, 2.0]]))
    assert found.message == "0 (Log) gave 1 infinite of 2 values; it took input float32 (1, 2) from 0 to 2"
    assert found.help == (
        "scale its inputs down, or normalize before it; dividing by 0 and the logarithm of 0 give infinity too"
    )


def test_refuses_models_whose_layers_no_hook_sees():
    model = nn.Sequential(nn.Linear(1, 1))
    for hidden, words in (
        (torch.jit.trace(model, torch.ones(1, 1)), "TorchScript"),
        (torch.compile(model), "before torch.compile"),
        (mlx.nn.Linear(1, 1), "a Linear has no hooks"),
        (3, "a int has no hooks"),
    ):
        with pytest.raises(ValueError, match=words), titrant.debug.watch_finite(hidden):
            pass


@pytest.mark.parametrize(
    ("value", "broken"),
    [
        (torch.nested.nested_tensor([torch.ones(2), torch.tensor([NAN])]), True),
        (torch.ones(3).to_mkldnn(), False),
        (torch.tensor([[NAN, 0], [0, 1]]).to_sparse_csr(), True),
        (np.array([np.longdouble("1e4000")]), False),
        (np.array([complex(1.7e308, 1.7e308)]), False),
        (torch.tensor([3e38 + 3e38j]), False),
        (mx.array([3e38 + 3e38j]), False),
        (mx.array([complex(0, NAN)]), True),
        ([torch.tensor([1e308], dtype=torch.float64), torch.ones(1)], False),
    ],
)
def test_takes_no_large_number_and_no_layout_for_broken(value, broken):
    assert titrant.debug.check_finite(value, raises=False).ok == (not broken)
    assert titrant.debug.statistics(value).ok == (not broken)


@pytest.mark.parametrize("value", ["text", (number for number in [1.0]), {1.0}, object()])
def test_refuses_what_can_hold_no_arrays(value):
    for look in (titrant.debug.check_finite, titrant.debug.statistics):
        with pytest.raises(ValueError, match="holds no arrays that can be looked at: give an array"):
            look(value)


def test_finds_nothing_wrong_in_nothing():
    assert titrant.debug.check_finite([None, {}, (), 3]).checked == 0
