"""Plans for an accelerator: what is planned, what it is expected to take, and that figures decide nothing."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.compiler.machine.profile import profiles, shipped_profile
from titrant.compiler.predict.learned import NO_HISTORY, History
from titrant.compiler.predict.memory import Case, capacity_of, needs, short_of
from titrant.schema.cost import Observation
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.facts import Bench, Gpu, GpuSpeed, Layer, TensorSpec
from titrant.schema.language.parse import parse
from titrant.schema.plan import plan_digest

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)
DATA = small.JUDGED

WITH_GPU = {name: shipped_profile(name).hardware.identity.gpus[0].kind for name in profiles()
            if shipped_profile(name).hardware.identity.gpus}  # fmt: skip
WIDE = 8192
MODEL = replace(
    small.MODEL,
    layers=tuple(Layer(f"l{place}", "Linear", WIDE**2, 4 * WIDE**2, (WIDE, WIDE), 2 * WIDE**2) for place in range(8)),
    parameters=8 * WIDE**2, trainable=8 * WIDE**2, weight_bytes=32 * WIDE**2, flops=16 * WIDE**2,
)  # fmt: skip


def planned(hardware, *changes, model=MODEL, history=NO_HISTORY):
    bound = bind(parse(small.TABULAR, "x.yaml", folder=Path(), overrides=("level=balanced", *changes)))
    return compile_plan(bound, hardware, model, DATA, history=history)


def costs(plan):
    return {step.id: step.prediction for step in plan.steps}


def latency(plan, name="original", batch="32"):
    return costs(plan)["latency"].models[name].seconds[batch]


def with_gpus(*gpus, bench=None):
    identity = replace(small.HARDWARE.identity, gpus=gpus, memory_bytes=1 << 40)
    return replace(small.HARDWARE, identity=identity, bench=bench)


@pytest.mark.parametrize("name", WITH_GPU)
def test_plans_for_the_gpu_of_every_shipped_profile_with_its_own_figures(name):
    hardware = shipped_profile(name).hardware
    here, there = planned(hardware), planned(hardware, f"target.device={WITH_GPU[name]}")
    assert [one.id for one in there.candidates] == ["torchscript-fp32", "cast"]
    assert latency(there) < latency(here) / 3
    assert latency(there, "cast", "1") <= latency(there, batch="1")
    stated = next(iter(hardware.bench.gpus.values())).half_flops_per_second is not None
    assert (latency(there, "cast") < latency(there) / 1.9) is stated
    assert costs(there)["baseline.tuning"].seconds < costs(here)["baseline.tuning"].seconds
    assert costs(there)["latency"].models["original"].basis == "guess"
    assert all(math.isfinite(made.seconds) for made in costs(there).values())
    cast = next(step for step in there.steps if step.operator == "model.cast")
    assert cast.params["dtype"] == ("fp16" if name == "nvidia-t4" else "bf16")
    reasons = {one.value: one.because for line in there.decisions for one in line.rejected}
    assert "its kernels run on the CPU" in reasons["ort.static"]
    assert "onnxruntime" in reasons["onnx-fp32"]


def test_expects_the_faster_gpu_to_be_faster():
    order = ["nvidia-t4", "nvidia-l4", "nvidia-a100-80gb", "nvidia-h100", "nvidia-h200"]
    changes = ("target.device=cuda", "profile.batches=[1024]")
    found = [latency(planned(shipped_profile(name).hardware, *changes), "cast", "1024") for name in order]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(("device", "different"), [("auto", 2), ("cuda", 3)])
def test_keeps_the_plan_the_same_whatever_is_known_of_the_gpus_speed(device, different):
    gpu = Gpu(0, "any", "cuda", 1 << 36, "9.0")
    benches = (None, Bench(gpus={"cuda:0": GpuSpeed(1e12)}), Bench(1e9, gpus={"cuda:0": GpuSpeed(9e14, measured=True)}))
    plans = [planned(with_gpus(gpu, bench=bench), f"target.device={device}") for bench in benches]
    assert len({plan_digest(plan) for plan in plans}) == 1
    assert len({str(costs(plan)) for plan in plans}) == different


@pytest.mark.parametrize(
    "gpu",
    [
        Gpu(0, "any", "cuda"),
        Gpu(0, "NVIDIA A100 80GB PCIe MIG 1g.10gb", "cuda", 10 << 30, "8.0", "550", mig=True),
        Gpu(0, "odd", "cuda", 8 << 30, "unknown"),
        Gpu(0, "Apple M9", "mps"),
    ],
)
def test_plans_for_a_gpu_of_which_little_is_known(gpu):
    plan = planned(with_gpus(gpu), f"target.device={gpu.kind}")
    assert [one.id for one in plan.candidates] == ["torchscript-fp32", "cast"]
    assert costs(plan)["latency"].models["cast"].basis == "guess"
    assert "ort.static" in [one.id for one in planned(with_gpus(gpu)).candidates]


def test_prices_the_gpu_that_the_recipe_names_of_several():
    gpus = tuple(Gpu(index, "any", "cuda", 1 << 36, "9.0") for index in range(2))
    bench = Bench(gpus={"cuda:0": GpuSpeed(1e12, 1e12, 1e11), "cuda:1": GpuSpeed(50e12, 50e12, 3e12)})
    machine = with_gpus(*gpus, bench=bench)
    first, second = (planned(machine, f"target.device=cuda:{index}") for index in range(2))
    assert latency(second) < latency(first) / 10
    assert latency(planned(machine, "target.device=cuda")) == latency(first)
    with pytest.raises(InfeasibleError, match="P060"):
        planned(machine, "target.device=cuda:2")


def test_corrects_no_formula_for_one_device_by_what_was_measured_on_another():
    machine = with_gpus(Gpu(0, "any", "cuda", 1 << 36, "9.0"))
    here, there = planned(machine), planned(machine, "target.device=cuda")
    seen = [
        Observation(
            step.operator, "another", 9 * (made.formula_seconds or 1), 1 << 30, 1, made.formula_seconds, 1 << 20,
            models={name: 9 * seconds for name, seconds in made.formula_models.items()},
            formula_models=made.formula_models, device=made.device,
        )
        for step in here.steps for made in [step.prediction] if step.operator == "profile.latency"
    ]  # fmt: skip
    assert {one.device for one in seen} == {"cpu"}
    assert latency(planned(machine, history=History(seen))) == pytest.approx(9 * latency(here))
    assert latency(planned(machine, "target.device=cuda", history=History(seen))) == latency(there)


def lacking(plan, machine, model=MODEL, data=DATA):
    found = needs(Case(plan, model, data))
    return short_of(found, [step.id for step in plan.steps if step.stage != "judge"], capacity_of(machine))


def test_refuses_a_batch_whose_inputs_alone_exceed_the_memory_and_names_the_largest_that_may_fit():
    plan = planned(small.HARDWARE, "profile.batches=[1000000000]", model=small.MODEL)
    (found,) = lacking(plan, small.HARDWARE, small.MODEL)
    # 30 numbers there and 2 back, in 4 bytes each, beside 128 MiB and what is read.
    assert found.code == "P025"
    assert found.message == (
        "step latency answers a batch of 1,000,000,000 and needs 119.3 GiB of memory or more for it, "
        "and this machine has 8.0 GiB"
    )
    largest = int(found.help.partition(" ")[0].replace(",", ""))
    assert 0 < ((8 << 30) - (128 << 20)) // 128 - largest < 200
    fits = planned(small.HARDWARE, f"profile.batches=[{largest}]", model=small.MODEL)
    assert lacking(fits, small.HARDWARE, small.MODEL) == ()
    more = planned(small.HARDWARE, f"profile.batches=[{largest + 1}]", model=small.MODEL)
    assert len(lacking(more, small.HARDWARE, small.MODEL)) == 1


def test_refuses_the_batch_that_latency_is_judged_at_likewise():
    plan = planned(small.HARDWARE, "target.latency.batch=1000000000", "target.latency.p95=1 s", model=small.MODEL)
    assert "a batch of 1,000,000,000" in lacking(plan, small.HARDWARE, small.MODEL)[0].message


def test_holds_the_batch_against_the_memory_of_the_gpu_too():
    machine = with_gpus(Gpu(0, "any", "cuda", 4 << 30, "9.0"))
    plan = planned(machine, "target.device=cuda", "profile.batches=[100000000]")
    (found,) = lacking(plan, machine)
    assert "memory on cuda:0 or more for it, and cuda:0 has 4.0 GiB" in found.message
    assert found.help.startswith("16,")
    small_gpu = with_gpus(Gpu(0, "any", "cuda", 1 << 30, "9.0"))
    (found,) = lacking(planned(small_gpu, "target.device=cuda"), small_gpu)
    assert "a smaller model" in found.help  # the weights alone are too many: no batch would fit


def test_counts_no_input_that_the_model_does_not_take_and_no_size_of_a_fixed_batch():
    plan = planned(small.HARDWARE, "profile.batches=[1000]", model=small.MODEL)
    plain = needs(Case(plan, small.MODEL, DATA))["latency"]
    other = replace(DATA, inputs=(*DATA.inputs, TensorSpec("unread", ("batch", 10**6), "float32")))
    fixed = replace(small.MODEL, outputs=(TensorSpec("logits", (64, 2), "float32"), TensorSpec("loss", (), "float32")))
    assert needs(Case(plan, small.MODEL, other))["latency"].case_bytes == plain.case_bytes == 128
    assert needs(Case(plan, fixed, DATA))["latency"].case_bytes == 128
