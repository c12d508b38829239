"""What vendors publish of accelerators: told apart from what identifies a machine and from what was measured."""

import json
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from titrant.compiler.machine.profile import profiles, read_profile, shipped_profile
from titrant.compiler.machine.speeds import published, with_published
from titrant.schema.facts import Bench, Gpu, GpuSpeed, Hardware
from titrant.schema.values.canonical import canonical_json, plain

WITH_GPU = [name for name in profiles() if shipped_profile(name).hardware.identity.gpus]
T4 = Gpu(0, "Tesla T4", "cuda", 15 << 30, "7.5")
TEXT = """
description: a board
system: linux
machine: aarch64
cpu: some core
instructions: [neon]
cores: 4
gpus: [{name: any, kind: cuda, fp32_tflops: 5}, {name: other, kind: cuda}]
"""


@pytest.mark.parametrize("name", WITH_GPU)
def test_states_the_speed_of_every_gpu_of_a_profile_apart_from_its_identity(name):
    hardware = shipped_profile(name).hardware
    assert list(hardware.bench.gpus) == [f"{gpu.kind}:{gpu.index}" for gpu in hardware.identity.gpus]
    assert not hardware.bench.measured
    for speed in hardware.bench.gpus.values():
        assert 1e12 < speed.fp32_flops_per_second < 1e14
        assert 5e10 < speed.memory_bytes_per_second < 1e13
        assert speed.half_flops_per_second is None or speed.half_flops_per_second > speed.fp32_flops_per_second
        assert not speed.measured
    assert "flops" not in canonical_json(hardware.identity)


def test_gives_what_a_profile_states_to_a_gpu_of_the_same_name():
    found = with_published(None, (T4, replace(T4, index=1, name="NVIDIA H200"), replace(T4, index=2, name="another")))
    assert set(found.gpus) == {"cuda:0", "cuda:1"}
    assert found.gpus["cuda:0"].fp32_flops_per_second == pytest.approx(8.1e12)
    assert not found.measured


def test_gives_a_slice_of_a_divided_gpu_none_of_it():
    assert with_published(None, (replace(T4, mig=True),)) is None
    assert published("cuda", "NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    assert published("mps", "Tesla T4") is None


def test_prefers_what_was_measured():
    measured = Bench(1e9, gpus={"cuda:0": GpuSpeed(7e12, measured=True)})
    assert with_published(measured, (T4,)) == measured
    assert with_published(measured, (T4, replace(T4, index=1))).gpus["cuda:1"] == published("cuda", "Tesla T4")


def test_reads_a_gpu_without_figures_and_one_with_some():
    hardware = read_profile(TEXT, "board").hardware
    assert hardware.bench == Bench(gpus={"cuda:0": GpuSpeed(5e12)})


@pytest.mark.parametrize("value", ["0", "-1", ".inf", ".nan", "fast", "[1]"])
def test_takes_only_positive_figures(value):
    with pytest.raises(ValueError, match="fp32_tflops"):
        read_profile(TEXT.replace("fp32_tflops: 5", f"fp32_tflops: {value}"), "board")


def test_keeps_the_figures_of_a_machine_that_is_saved():
    hardware = shipped_profile("nvidia-h200").hardware
    again = TypeAdapter(Hardware).validate_python(json.loads(json.dumps(plain(hardware))))
    assert again == hardware
