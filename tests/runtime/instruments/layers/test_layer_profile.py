"""The figures of layers: exact counts in every engine, a table that fits, bars, a roofline, and a valid timeline."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch  # noqa: TID253

import titrant
from titrant.runtime.backends.profile import LayerSpan
from titrant.runtime.instruments.layers.bars import time_bars
from titrant.runtime.instruments.layers.figures import LayerProfile
from titrant.runtime.instruments.layers.layer import LayerFigures, block_of, short_number, shortened_name
from titrant.runtime.instruments.layers.roofline import machine_limits, roofline_points
from titrant.runtime.instruments.layers.trace import trace_events
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.facts import Bench, GpuSpeed
from titrant.schema.values.canonical import plain, read_back

SHORT = 1e-3
BENCH = Bench(fp32_flops_per_second=1e11, int8_flops_per_second=4e11, memory_bytes_per_second=1e10)


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.depthwise = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.gru = torch.nn.GRU(8, 4, batch_first=True)
        self.attention = torch.nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x):
        x = torch.relu(self.depthwise(self.conv(x))).flatten(2).transpose(1, 2)
        steps, _ = self.gru(x)
        return self.head(self.attention(steps, steps, steps)[0].mean(1))


ROWS, PLACES = 2, 36
# Two FLOPs a multiply-add, by hand, for two rows of 6 × 6 places.
BY_HAND = {
    "conv": (8 * 3 * 9, 2 * ROWS * PLACES * 8 * 3 * 9),
    "depthwise": (8 * 9 + 8, 2 * ROWS * PLACES * 8 * 9),
    "gru": (3 * 4 * (8 + 4) + 2 * 12, 2 * ROWS * PLACES * 3 * 4 * (8 + 4)),
    # Three projections, two products of attention, and the projection at the end.
    "attention": (3 * 4 * 4 + 12 + 4 * 4 + 4, 2 * ROWS * (PLACES * 4 * 12 + 2 * PLACES * PLACES * 4 + PLACES * 4 * 4)),
    "head": (4 * 2 + 2, 2 * ROWS * 4 * 2),
}


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    net = Tiny()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net


@pytest.fixture(scope="module")
def image():
    return torch.randn(ROWS, 3, 6, 6)


@pytest.fixture(scope="module")
def profile_in(tiny, image):
    """Return the profile of the net in an engine, which is taken once."""
    return cache(lambda engine: titrant.layers(tiny, image, engine=engine, seconds=SHORT))


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_counts_parameters_and_flops_exactly_in_every_engine(engine, tiny, profile_in):
    profile = profile_in(engine)
    rows = {layer.name: layer for layer in profile.layers}
    counted = {
        name: tuple(sum(getattr(rows[row], key) or 0 for row in rows if row.split(".")[0] == name)
                    for key in ("parameters", "flops"))
        for name in BY_HAND
    }  # fmt: skip
    # OpenVINO adds the two biases of a GRU up while it converts, but for that of the new state.
    merged = 2 * 4 if engine == "openvino" else 0
    assert counted == BY_HAND | {"gru": (BY_HAND["gru"][0] - merged, BY_HAND["gru"][1])}
    assert profile.parameters == sum(parameter.numel() for parameter in tiny.parameters()) - merged
    assert profile.flops == sum(flops for _, flops in BY_HAND.values())
    assert {row.precision for row in rows.values() if row.flops} == {"fp32"}
    assert abs(sum(layer.share for layer in profile.layers) - 1) < 1e-9
    assert rows["conv"].kind == "Conv2d"


def test_lists_a_layer_that_takes_less_than_a_microsecond(tiny, image, monkeypatch):
    from titrant.runtime.backends.openvino import layer_times

    counted = layer_times._counted

    def quick_head(request):
        return {key: 0.0 if "head" in key[0] else seconds for key, seconds in counted(request).items()}

    monkeypatch.setattr(layer_times, "_counted", quick_head)
    layers = {layer.name: layer for layer in titrant.layers(tiny, image, engine="openvino", seconds=SHORT).layers}
    assert (layers["head"].parameters, layers["head"].seconds) == (10, 0.0)
    assert layers["conv"].seconds > 0


@pytest.fixture
def unknown_operation():
    """Give torch an operation of somebody's own, of which nobody here knows what it multiplies."""
    own = torch.library.Library("titrant_layers", "DEF")
    own.define("mix(Tensor x) -> Tensor")
    own.impl("mix", lambda x: x * 2, "CPU")
    yield torch.ops.titrant_layers.mix
    own._destroy()


def test_counts_a_shared_weight_once_and_says_what_has_no_count(unknown_operation):
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(unknown_operation(self.first(x)))

    profile = titrant.layers(Odd(), torch.ones(3, 4), seconds=SHORT)
    rows = {layer.name: layer for layer in profile.layers}
    assert profile.parameters == 4 * 4 + 2 * 4
    assert rows["second"].parameters == 4
    assert profile.flops is None
    assert rows["second"].flops == 2 * 3 * 4 * 4
    assert "FLOPs are not known of the model itself: titrant has no count of an operation in it" in profile.notes


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_counts_weights_that_torch_keeps_packed():
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    packed = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear})
    first = titrant.layers(packed, torch.ones(2, 4), seconds=SHORT).layers[0]
    assert (first.parameters, first.precision, first.flops) == (4 * 8 + 8, "int8", None)
    assert first.parameter_bytes == 4 * 8 + 4 * 8


def test_counts_what_a_weight_is_computed_from_and_not_the_weight():
    from torch.nn.utils.parametrizations import orthogonal, weight_norm

    net = torch.nn.Sequential(weight_norm(torch.nn.Linear(6, 5)), orthogonal(torch.nn.Linear(5, 3)))
    profile = titrant.layers(net, torch.ones(2, 6), seconds=SHORT)
    assert profile.parameters == sum(parameter.numel() for parameter in net.parameters())
    assert profile.layers[-1].parameters == 0


def layer(name, seconds=1e-3, **given):
    figures = {
        "kind": "Linear", "block": block_of(name), "seconds": seconds, "cpu_seconds": seconds, "share": 0.0, "calls": 1,
        "parameters": 10, "parameter_bytes": 40, "activation_bytes": 64, "moved_bytes": 1000, "flops": 10_000,
        "precision": "fp32", "engine_op": "linear", **given,
    }  # fmt: skip
    return LayerFigures(name, **figures)


def profile_of(*layers, **given):
    whole = sum(each.time for each in layers)
    shared = tuple(replace(each, share=each.time / whole) for each in layers)
    spans = (LayerSpan("", "Net", 0.0, whole), *(LayerSpan(each.name, each.kind, 0.0, each.seconds) for each in layers))
    about = {"seconds": whole, "cpu_seconds": whole, "overhead_seconds": 0.0, "runs": 10, "spans": spans, **given}
    return LayerProfile("net", "torch", "cpu", 1, 1, shared, **about)


LONG = "encoder.layers.11.attention.self.query.projection.with.a.very.long.name"


def test_writes_a_table_that_fits_and_says_what_it_is_of():
    rest = layer("", kind="", parameters=0, flops=None, precision="", activation_bytes=None, seconds=3e-3)
    text = str(profile_of(layer(LONG, parameters=123_456_789, activation_bytes=1 << 30, flops=10**15), rest))
    assert max(map(len, text.splitlines())) <= 100
    assert "projection" not in text.splitlines()[1].split()[0]
    assert "1e+03 T" in text or "1,000 T" in text or "1000 T" in text
    assert "(no layer)" in text
    assert "unknown FLOPs" in text
    assert "rows add up to 100%" in text


def test_says_where_the_figures_are_not_to_be_trusted():
    profile = profile_of(layer("a"), seconds=9e-3, cpu_seconds=2e-3, told_when=False, notes=("and this",))
    assert list(profile.warnings()) == [
        "a batch took 9 ms and computed for 2 ms of them: the machine was busy, or the model waits",
        "the rows add up to 50% of a batch: ask for more `seconds`, or a larger batch",
        "torch tells how long an operation takes and not when: the timeline has them in their order",
        "and this",
    ]
    assert list(profile_of(layer("a")).warnings()) == []


@pytest.mark.parametrize(
    ("name", "block"),
    [("layer1.0.conv1", "layer1.0"), ("encoder.layers.3.attn.out", "encoder.layers.3"), ("stem.conv", "stem"),
     ("fc", ""), ("", ""), ("/layer1/layer1.0/conv1/Conv", "layer1.0"), ("/fc/Gemm", "fc"), ("Gemm_3", "")],
)  # fmt: skip
def test_finds_the_block_of_a_layer(name, block):
    assert block_of(name) == block


def test_shortens_names_in_the_middle():
    assert shortened_name("layer1.0.conv1", 30) == "layer1.0.conv1"
    short = shortened_name(LONG, 20)
    assert len(short) == 20
    assert short.startswith("encode")
    assert short.endswith("long.name")
    assert (short_number(None), short_number(0), short_number(1234), short_number(2.5e9)) == (
        "–",
        "–",
        "1.23 k",
        "2.5 G",
    )


def test_draws_a_bar_a_layer_and_of_many_layers_a_bar_a_block():
    few = profile_of(*(layer(f"part.{place}.fc") for place in range(10)), layer("", kind=""))
    assert [bar.name for bar in time_bars(few.layers)] == [*(f"part.{place}.fc" for place in range(10)), "(no layer)"]
    many = profile_of(*(layer(f"layers.{place // 8}.fc{place % 8}") for place in range(320)), layer("", kind=""))
    bars = time_bars(many.layers)
    assert [bar.name for bar in bars] == [*(f"layers.{place}" for place in range(40)), "(no layer)"]
    assert abs(sum(bar.share for bar in bars) - 1) < 1e-9
    wide = profile_of(*(layer(f"fc{place}", seconds=1e-3 + 1e-6 * place) for place in range(300)), layer("", kind=""))
    bars = time_bars(wide.layers)
    assert len(bars) == 41
    assert bars[-2].name == "261 shorter ones"
    assert "fc299" in wide.plot().svg
    assert abs(sum(bar.share for bar in bars) - 1) < 1e-9


def test_escapes_names_in_pictures():
    profile = profile_of(layer("<script>"))
    assert "<script>" not in profile.plot().svg + profile.roofline(BENCH).svg


def test_sets_layers_below_the_limits_of_their_precision():
    slow = layer("memory", moved_bytes=10_000, flops=1000, seconds=1e-6)
    fast = layer("arithmetic", moved_bytes=100, flops=10**6, seconds=1e-4)
    whole = layer("whole numbers", moved_bytes=100, flops=10**6, seconds=1e-5, precision="int8")
    points = {each.name: each for each in roofline_points([slow, fast, whole], machine_limits(BENCH, "cpu"))}
    assert points["memory"].bound == "memory"
    assert points["memory"].limit == pytest.approx(0.1 * 1e10)
    assert points["memory"].flops_per_second == pytest.approx(1e9)
    assert (points["arithmetic"].bound, points["arithmetic"].limit) == ("arithmetic", 1e11)
    assert points["whole numbers"].limit == 4e11
    svg = profile_of(slow, fast, whole).roofline(BENCH).svg
    assert "fp32: 100 GFLOP/s" in svg
    assert "memory: 10 GB/s" in svg


def test_reads_an_accelerators_limits():
    bench = Bench(gpus={"cuda:0": GpuSpeed(5e13, 4e14, 3e12)})
    limits = machine_limits(bench, "cuda")
    assert (limits.ceiling("fp32"), limits.ceiling("bf16"), limits.ceiling("int8")) == (5e13, 4e14, 5e13)


@pytest.mark.parametrize(
    ("layers", "bench", "said"),
    [([layer("a")], None, "X710: nothing says how fast this machine computes and reads memory"),
     ([layer("a")], Bench(fp32_flops_per_second=1e9), "X710: nothing says how fast this machine"),
     ([layer("a", flops=0)], BENCH, "X712: no layer of net in torch multiplies"),
     ([layer("a", moved_bytes=None)], BENCH, "X712: no layer")],
)  # fmt: skip
def test_refuses_a_roofline_without_limits_or_products(layers, bench, said):
    with pytest.raises(RecipeError, match=said):
        profile_of(*layers).roofline(bench)


def test_is_read_back_from_what_a_record_keeps():
    profile = profile_of(layer("a", joined=("b",)), layer("", kind=""))
    assert read_back(LayerProfile, json.loads(json.dumps(plain(profile)))) == profile


def check_trace(trace):
    """Check a trace by the "Trace Event Format": the object form, complete and metadata events, nested by time."""
    assert {*trace} <= {"traceEvents", "displayTimeUnit", "systemTraceEvents", "otherData", "stackFrames", "samples"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    assert all(isinstance(value, str) for value in trace["otherData"].values())
    open_until = {}
    last = {}
    for event in trace["traceEvents"]:
        assert isinstance(event["name"], str)
        assert event["name"]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["ts"], (int, float))
        assert event["ts"] >= 0
        assert isinstance(event["args"], dict)
        if event["ph"] == "M":
            key = {"process_name": "name", "process_labels": "labels", "thread_name": "name"}[event["name"]]
            assert isinstance(event["args"][key], str)
            continue
        assert event["ph"] == "X"
        assert isinstance(event["cat"], str)
        assert isinstance(event["dur"], (int, float))
        assert event["dur"] >= 0
        where = (event["pid"], event["tid"])
        assert event["ts"] >= last.get(where, 0)  # in order, as the format asks of nested complete events
        last[where] = event["ts"]
        ends = open_until.setdefault(where, [])
        while ends and event["ts"] >= ends[-1] - 1e-9:
            ends.pop()
        end = event["ts"] + event["dur"]
        assert not ends or end <= ends[-1] + 1e-6, "it ends after what it lies in"
        ends.append(end)
    named = {event["name"] for event in trace["traceEvents"] if event["ph"] == "M"}
    assert {"process_name", "thread_name"} <= named


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_writes_a_timeline_that_follows_the_format(engine, profile_in, tmp_path):
    file = profile_in(engine).save_trace(tmp_path / "trace.json")
    trace = json.loads(file.read_text("utf-8"))
    check_trace(trace)
    calls = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert {"conv", "head"} <= {event["name"] for event in calls}
    whole = calls[0]
    assert all(event["ts"] + event["dur"] <= whole["ts"] + whole["dur"] + 1e-6 for event in calls)
    head = next(event for event in calls if event["name"] == "head")
    assert head["args"]["FLOPs of all its calls"] == BY_HAND["head"][1]
    assert (trace["otherData"]["times"] == "measured") is (engine != "openvino")


@pytest.mark.parametrize(
    "change",
    [{"ph": "B"}, {"ts": "0"}, {"dur": -1.0}, {"pid": None}, {"dur": 1e9}, {"name": ""}],
)
def test_sees_a_timeline_that_does_not_follow_the_format(change):
    about = {"model": "net", "engine": "torch", "device": "cpu", "threads": 1, "batch": 1}
    spans = [LayerSpan("", "Net", 0.0, 1.0), LayerSpan("a", "Linear", 0.1, 0.2), LayerSpan("b", "Linear", 0.2, 0.9)]
    trace = trace_events(spans, [layer("a")], about)
    check_trace(trace)  # `b` was cut where the batch and `a` end
    trace["traceEvents"][-1] |= change
    with pytest.raises((AssertionError, KeyError, TypeError)):
        check_trace(trace)


def test_refuses_a_timeline_that_cannot_be_written(tmp_path):
    with pytest.raises(RecipeError, match=r"X711: the trace cannot be written to .*nowhere"):
        profile_of(layer("a")).save_trace(tmp_path / "nowhere" / "trace.json")


def test_measures_arrays_of_numpy_as_well(tiny):
    profile = titrant.layers(tiny, {"x": np.ones((1, 3, 6, 6), np.float32)}, batch=3, seconds=SHORT)
    assert profile.batch == 3
