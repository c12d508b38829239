"""What a model is expected to take on an accelerator: from figures that are measured, published, or not known."""

from dataclasses import replace

import pytest

from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.cost.forward import forward_seconds, held_bytes, opening_seconds, speed_of
from titrant.schema.cost import Arithmetic, ModelUse, Work
from titrant.schema.facts import Bench, Gpu, GpuSpeed, Hardware, HardwareIdentity, Layer, ModelFacts, TensorSpec

PUBLISHED = GpuSpeed(60e12, 900e12, 3e12)
MEASURED = replace(PUBLISHED, transfer_bytes_per_second=20e9, launch_seconds=4e-6, call_seconds=30e-6, measured=True)
MACHINE = Hardware(
    HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 8, 1 << 36, (Gpu(0, "any", "cuda"),), "3.11", {"torch": "2"})
)


def network(width, depth=12):
    """A network of square linear layers."""
    size = width * width
    layers = tuple(Layer(f"l{place}", "Linear", size, 4 * size, (width, width), 2 * size) for place in range(depth))
    shape = (TensorSpec("x", ("batch", width), "float32"),)
    return ModelFacts(
        "factory", "1" * 64, depth * size, depth * size, 4 * depth * size, layers, shape, shape, 2 * depth * size
    )


def seconds(model, batch, speed=PUBLISHED, *, device="cuda", method="none", kind="torch"):
    machine = replace(MACHINE, bench=Bench(gpus={"cuda:0": speed}) if speed is not None else None)
    arithmetic = Arithmetic(half=method == "cast")
    return forward_seconds(model, speed_of(machine, 1, device), cost_of(kind), batch, arithmetic)


def cost_of(kind):
    return backend.run_cost(backend.engines_of(kind)[0], kind)


def test_expects_much_work_to_be_faster_on_a_gpu_and_little_work_not_to_be():
    assert 20 * seconds(network(4096), 256) < seconds(network(4096), 256, device="cpu")
    assert seconds(network(16), 1) > seconds(network(16), 1, device="cpu") / 2


def test_reaches_neither_the_published_peak_nor_half_of_what_was_measured():
    model = network(8192)
    ideal = 4096 * model.flops / 60e12
    assert 2 * ideal <= seconds(model, 4096, MEASURED) < seconds(model, 4096, PUBLISHED)


def test_reads_every_weight_once_a_batch_however_small_it_is():
    model = network(16384, depth=2)
    assert seconds(model, 1) > model.weight_bytes / 3e12


def test_expects_a_cast_model_to_move_half_and_multiply_at_the_16_bit_rate():
    model = network(8192)
    assert seconds(model, 1, method="cast") < 0.7 * seconds(model, 1)
    assert seconds(model, 4096, method="cast") < 0.2 * seconds(model, 4096)


def test_takes_a_16_bit_rate_that_nobody_states_for_the_32_bit_one():
    slow = GpuSpeed(5e12, None, 3e12)
    assert seconds(network(8192), 4096, slow, method="cast") <= seconds(network(8192), 4096, slow)


@pytest.mark.parametrize("kind", ["torch", "torchscript", "onnx"])
def test_never_expects_a_larger_batch_to_take_less(kind):
    found = [seconds(network(256), batch, kind=kind) for batch in (1, 2, 64, 4096)]
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("bench", "device", "basis"),
    [
        (None, "cpu", "guess"),
        (None, "cuda", "guess"),
        (Bench(gpus={"cuda:0": PUBLISHED}), "cuda", "guess"),
        (Bench(gpus={"cuda:0": MEASURED}), "cuda:0", "modelled"),
        (Bench(gpus={"cuda:0": MEASURED}), "cuda:1", "guess"),
        (Bench(gpus={"cuda:0": MEASURED}), "cpu", "guess"),
        (Bench(50e9, gpus={"cuda:0": PUBLISHED}), "cpu", "modelled"),
        (Bench(50e9, gpus={"cuda:0": PUBLISHED}), "cuda", "guess"),
    ],
)
def test_calls_a_guess_whatever_was_not_measured_on_that_device(bench, device, basis):
    assert speed_of(replace(MACHINE, bench=bench), 1, device).basis == basis


def test_takes_a_gpu_that_nobody_describes_for_a_small_one():
    assert seconds(network(4096), 256, None) > seconds(network(4096), 256)
    assert seconds(network(4096), 256, GpuSpeed()) == seconds(network(4096), 256, None)


def test_leaves_activations_to_the_device_and_counts_the_way_of_the_weights_to_it():
    model, use = replace(network(1024), activation_bytes=1 << 30), ModelUse("none", "torch")
    speed = speed_of(replace(MACHINE, bench=Bench(gpus={"cuda:0": MEASURED})), 1, "cuda")
    cost = cost_of("torch")
    assert held_bytes(model, use, cost, 8, on_device=True) == 8 * 2 * 4096
    assert opening_seconds(model, use, cost, speed) == pytest.approx(model.weight_bytes / 20e9)
    assert opening_seconds(model, use, cost, speed_of(MACHINE)) == 0


def test_prices_the_steps_that_take_a_device_by_it():
    machine = replace(MACHINE, bench=Bench(50e9, 100e9, 10e9, gpus={"cuda:0": MEASURED}))
    model, work = replace(network(4096), activation_bytes=1 << 20), Work(rows={"rows": 4096})
    for name, params in (
        ("validate.predict", {"engine": "torch"}),
        ("profile.latency", {"engines": {"original": "torch"}, "iterations": 59}),
    ):
        declaration = catalog.get(name)
        here, there = (
            declaration.predict(declaration.params.model_validate({**params, "device": device}), machine, model, work)
            for device in ("cpu", "cuda")
        )
        assert there.seconds < here.seconds / 3
        assert there.peak_bytes < here.peak_bytes
        assert (here.basis, there.basis) == ("modelled", "modelled")
