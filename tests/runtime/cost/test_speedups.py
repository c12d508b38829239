"""A method is priced by the class of a layer, the rows of its product and the processor's instruction sets."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.backends import backend
from titrant.runtime.cost.forward import forward_seconds, layer_class, product_rows, speed_of
from titrant.schema.cost import FP32, LAYER_CLASSES, Arithmetic, Speedup
from titrant.schema.facts import Bench, Hardware, HardwareIdentity, Layer, ModelFacts

EIGHT = Arithmetic(
    speedups=(
        Speedup(("product",), {1: 3.0, 32: 5.0, 256: 4.0}, on=("amx_int8",)),
        Speedup(("product",), {1: 2.0, 16: 1.0}),
        Speedup(("convolution", "depthwise"), {1: 0.1}),
    )
)


def layer(kind, shape, positions, *, groups=1):
    elements = 1
    for size in shape:
        elements *= size
    return Layer(kind, kind, elements, 4 * elements, shape, 2 * positions * elements, groups=groups)


def seconds(one, arithmetic, batch=1, *, instructions=("avx2",), copies=1):
    machine = Hardware(
        HardwareIdentity("linux", "x86_64", "toy", instructions, 2, 1 << 34, (), "3.11", {}),
        bench=Bench(fp32_flops_per_second=50e9, memory_bytes_per_second=1e15),
    )
    layers = (one,) * copies
    model = ModelFacts("onnx", "m", one.parameters, 0, one.weight_bytes, layers, (), (), one.flops)
    free = replace(
        backend.run_cost("onnxruntime", "onnx"), call_seconds=0.0, layer_seconds=0.0, convolution_seconds=0.0
    )
    return forward_seconds(model, speed_of(machine), free, batch, arithmetic)


@pytest.mark.parametrize(
    ("one", "named", "rows"),
    [
        (layer("Linear", (64, 32), 28), "product", 28),
        (layer("MatMul", (32, 64), 1), "product", 1),
        (layer("Conv2d", (16, 8, 3, 3), 196), "convolution", 196),
        (layer("Conv", (16, 1, 3, 3), 196, groups=16), "depthwise", 196),
        (layer("Conv2d", (16, 4, 3, 3), 196, groups=2), "convolution", 196),
        (layer("LSTM", (128, 32), 50), "recurrent", 1),
        (replace(layer("Embedding", (1000, 32), 1), flops=0), "embedding", 1),
        (replace(layer("LayerNorm", (32,), 1), flops=None), "", 1),
    ],
)
def test_tells_a_layers_class_and_the_rows_of_its_product(one, named, rows):
    assert layer_class(one) == named
    assert named == "" or named in LAYER_CLASSES
    assert product_rows(one, 4) == pytest.approx(4 * rows)


def test_prices_a_product_by_batch_times_tokens_and_by_the_instruction_set():
    tokens = layer("Linear", (256, 256), 32)
    one_row = layer("Linear", (256, 256), 1)
    for each, batch, factor in ((one_row, 1, 2.0), (one_row, 4, 1.5), (one_row, 16, 1.0), (tokens, 1, 1.0)):
        assert seconds(each, FP32, batch) / seconds(each, EIGHT, batch) == pytest.approx(factor, rel=1e-3)
    for batch, factor in ((1, 5.0), (8, 4.0), (64, 4.0)):
        slow, fast = (seconds(tokens, how, batch, instructions=("amx_int8", "avx2")) for how in (FP32, EIGHT))
        assert slow / fast == pytest.approx(factor, rel=1e-3)


@pytest.mark.parametrize("groups", [1, 16])
def test_says_that_a_method_makes_a_convolution_slower_than_fp32(groups):
    one = layer("Conv2d", (16, 16 // groups, 3, 3), 196, groups=groups)
    assert seconds(one, EIGHT) == pytest.approx(10 * seconds(one, FP32), rel=1e-2)


def test_leaves_a_layer_of_which_nothing_is_said_as_it_is():
    one = replace(layer("LSTM", (128, 32), 50))
    assert seconds(one, EIGHT) == seconds(one, FP32)


def test_adds_what_quantizing_and_dequantizing_takes_to_the_layers_that_have_a_speedup_alone():
    busy = replace(EIGHT, layer_seconds=1e-3)
    product, recurrent = layer("Linear", (64, 32), 28), layer("LSTM", (128, 32), 50)
    assert seconds(product, busy, copies=3) - seconds(product, EIGHT, copies=3) == pytest.approx(3e-3)
    assert seconds(recurrent, busy) == seconds(recurrent, EIGHT)


def test_reads_fewer_bytes_of_weights_that_no_cache_holds():
    one = layer("Linear", (4096, 4096), 1)
    quarter = Arithmetic(speedups=(Speedup(("product",), {1: 1e6}),), weights=0.25)
    machine = Hardware(
        HardwareIdentity("linux", "x86_64", "toy", (), 2, 1 << 34, (), "3.11", {}), bench=Bench(50e9, None, 1e9)
    )
    model = ModelFacts("onnx", "m", one.parameters, 0, one.weight_bytes, (one,), (), (), one.flops)
    cost = replace(backend.run_cost("onnxruntime", "onnx"), call_seconds=0.0, passes=0.0, layer_seconds=0.0)
    assert forward_seconds(model, speed_of(machine), cost, 1, quarter) == pytest.approx(one.weight_bytes / 4e9)


POINTS = st.dictionaries(st.integers(1, 4096), st.floats(0.05, 8), min_size=1, max_size=5)


@given(POINTS, st.floats(1, 1e6))
def test_stays_between_the_factors_that_are_given_and_meets_each(points, rows):
    given_by = Speedup(("product",), points)
    assert min(points.values()) - 1e-9 <= given_by.factor(rows) <= max(points.values()) + 1e-9
    for place, factor in points.items():
        assert given_by.factor(place) == pytest.approx(factor)


@given(POINTS, POINTS, st.integers(1, 4096))
def test_lets_the_later_of_two_methods_say_how_a_class_fares(first, second, rows):
    before, after = (Arithmetic(speedups=(Speedup(("product",), points),)) for points in (first, second))
    assert before.then(after).speedup("product", rows, ()) == after.speedup("product", rows, ())
    assert before.then(FP32).speedup("product", rows, ()) == before.speedup("product", rows, ())


@given(st.integers(1, 4096), st.sampled_from([(256, 256), (512, 784)]))
def test_takes_as_long_as_reading_the_weights_from_the_caches_at_least(rows, shape):
    one = layer("Linear", shape, 1)
    fast = 1e15
    machine = Hardware(
        HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 2, 1 << 34, (), "3.11", {}), bench=Bench(fast, None, 1e15)
    )
    free = replace(backend.run_cost("onnxruntime", "onnx"), call_seconds=0.0, layer_seconds=0.0, passes=0.0)
    model = ModelFacts("onnx", "m", one.parameters, 0, one.weight_bytes, (one,), (), (), one.flops)
    took = forward_seconds(model, speed_of(machine), free, rows)
    # The rows of a product share one read; a recurrent layer reads for each of its steps, one after another.
    assert took == pytest.approx(one.weight_bytes / 60e9, rel=0.2)
    steps = layer("LSTM", shape, 50)
    model = replace(model, layers=(steps,), flops=steps.flops)
    assert forward_seconds(model, speed_of(machine), free, rows) == pytest.approx(50 * took, rel=0.2)


def test_assumes_more_of_a_processor_with_wider_instructions():
    def assumed(*instructions):
        return speed_of(Hardware(HardwareIdentity("linux", "x86_64", "toy", instructions, 2, 1 << 34, (), "3.11", {})))

    wide, narrow, none = assumed("avx2", "avx512f"), assumed("avx2"), assumed()
    assert wide.flops > narrow.flops > none.flops
    assert narrow.flops < assumed("amx_tile", "avx2", "avx512f").flops < wide.flops  # AMX is not for fp32
    assert wide.basis == "guess"
