"""Files are timed in turns so that a slow spell slows all, and the profiler's seconds are given to regions."""

from itertools import pairwise

import numpy as np
import onnx  # noqa: TID253 - its very subject
import pytest
from chain_nets import Chain, residual, rows_of

from titrant.runtime.api import PlainContext
from titrant.runtime.backends.onnxruntime.calibration import RangeRule
from titrant.runtime.backends.onnxruntime.titration import times
from titrant.runtime.backends.onnxruntime.titration.mixture import Int8, Mixtures
from titrant.runtime.backends.onnxruntime.titration.regions import regions
from titrant.runtime.backends.onnxruntime.titration.times import border_tensors, region_seconds, seconds_in_turns
from titrant.runtime.mixture.pricing import BorderTensor, alternating
from titrant.runtime.values import OnnxModel

INT8 = Int8(False, True, "uint8", "int8", RangeRule("minmax", 100.0, 64, 16))


class Clock:
    """A process whose runs take what they are said to, in spells that are slow for every session alike."""

    def __init__(self):
        self.now, self.spell = 0.0, 1.0

    def __call__(self):
        return self.now


class Session:
    def __init__(self, clock, seconds, disturbed=()):
        self.clock, self.seconds, self.runs, self.disturbed = clock, seconds, 0, disturbed

    def run(self, batch):
        self.runs += 1
        # A spell of the machine lasts for longer than a round.
        spell = 3.0 if int(self.clock.now / 0.3) % 3 == 0 else 1.0
        self.clock.now += self.seconds * spell * (50 if self.runs in self.disturbed else 1)


def turns(monkeypatch, seconds, **given):
    clock = Clock()
    monkeypatch.setattr(times.time, "process_time", clock)
    sessions = {name: Session(clock, took, **given) for name, took in seconds.items()}
    answer = seconds_in_turns(sessions, {}, threads=1, seconds=2.0, generator=np.random.default_rng(0))
    return answer, sessions


def test_compares_rounds_so_that_a_slow_spell_of_the_machine_slows_all_alike(monkeypatch):
    answer, _ = turns(monkeypatch, {"a": 1e-3, "b": 3e-3, "c": 2e-4})
    assert answer["b"] / answer["a"] == pytest.approx(3, rel=0.02)
    assert answer["a"] / answer["c"] == pytest.approx(5, rel=0.02)


def test_is_not_led_astray_by_runs_that_were_held_up(monkeypatch):
    answer, _ = turns(monkeypatch, {"a": 1e-3, "b": 2e-3}, disturbed=range(100, 110))
    assert answer["b"] / answer["a"] == pytest.approx(2, rel=0.02)


def test_runs_a_short_network_several_times_between_two_looks_at_the_clock(monkeypatch):
    _, sessions = turns(monkeypatch, {"short": 1e-4, "long": 5e-3})
    assert sessions["short"].runs > 3 * sessions["long"].runs
    assert sessions["long"].runs > 2 * 15


def test_counts_the_faster_half_of_a_node_and_none_of_what_is_no_node():
    events = [{"cat": "Node", "name": "conv_kernel_time", "dur": took} for took in [*range(1, 11), *[900] * 10]]
    events += [
        {"cat": "Node", "name": "conv_fence_before", "dur": 7},
        {"cat": "Session", "name": "model_run", "dur": 9},
    ]
    # Of twenty runs the third to the tenth.
    assert times._node_seconds(events) == {"conv": pytest.approx(np.mean(range(3, 11)) * 1e-6)}


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Three residual blocks, and the mixtures that can be made of them."""
    chain, folder = Chain("x"), tmp_path_factory.mktemp("net")
    at = chain.layer("x", "stem")
    for place in range(3):
        at = chain.node("Relu", [residual(chain, at, f"blocks.{place}")])
    onnx.save(chain.done(chain.layer(at, "head")), folder / "net.onnx")
    model = OnnxModel(folder / "net.onnx")
    mixtures = Mixtures(model, rows_of(64, "x"), INT8, PlainContext(1, 1, folder))
    return model, mixtures, regions(mixtures.graph, chain.layers)


def test_finds_the_tensors_between_regions(net):
    _, mixtures, parts = net
    names = [region.name for region in parts]
    assert border_tensors(mixtures.graph, parts) == tuple(BorderTensor(one, (other,)) for one, other in pairwise(names))


def test_lists_all_that_read_one_tensor(tmp_path):
    chain = Chain("x")
    at = chain.layer("x", "stem")
    left, right = (chain.layer(chain.layer(at, f"{side}.fc0"), f"{side}.fc1") for side in ("left", "right"))
    onnx.save(chain.done(chain.node("Add", (left, right))), tmp_path / "net.onnx")
    mixtures = Mixtures(OnnxModel(tmp_path / "net.onnx"), rows_of(64, "x"), INT8, PlainContext(1, 1, tmp_path))
    parts = regions(mixtures.graph, chain.layers)
    made = {tensor.producer: tensor.consumers for tensor in border_tensors(mixtures.graph, parts)}
    by_layer = {layer: region.name for region in parts for layer in region.layers}
    if by_layer["left.fc0"] != by_layer["right.fc0"]:
        assert {*made[by_layer["stem"]]} == {by_layer["left.fc0"], by_layer["right.fc0"]}
    else:
        assert made == {"stem": (by_layer["left.fc0"],)}


@pytest.mark.parametrize("mix", ["float", "int8", "even", "odd"])
def test_gives_every_node_that_the_engine_runs_to_a_region(net, mix, monkeypatch):
    model, mixtures, parts = net
    names = [region.name for region in parts]
    even, odd = alternating(names)
    int8 = {"float": frozenset(), "int8": frozenset(names), "even": even, "odd": odd}[mix]
    left = [layer for region in parts if region.name not in int8 for layer in region.layers]
    file = mixtures.file(left, f"{mix}.onnx")[0] if int8 else model
    counted = {}

    def count(events):
        counted.update(dict.fromkeys(_kernels(events), 1.0))
        return counted

    monkeypatch.setattr(times, "_node_seconds", count)
    by_region = region_seconds(file, parts, {"x": rows_of(2, "x").inputs["x"]}, threads=1, once=1e-3, seconds=0.01)
    assert list(by_region) == [*names, ""]
    assert by_region[""] == 0
    assert sum(by_region.values()) == len(counted) > len(names)
    assert all(by_region[name] >= 1 for name in names)
    # Two products, two activations and their sum, or fewer where the engine fuses them.
    assert by_region["blocks.1"] >= 3


def _kernels(events):
    ending = "_kernel_time"
    return [each["name"].removesuffix(ending) for each in events if str(each["name"]).endswith(ending)]
