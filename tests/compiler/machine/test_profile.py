"""Profiles of machines that are not at hand, and what a plan makes of them."""

import re
from pathlib import Path

import pytest

from titrant.compiler.decide.number_format import seven_bits
from titrant.compiler.machine.profile import profiles, read_profile, shipped_profile

ROOT = Path(__file__).parents[3]
TEXT = """
description: a board
system: linux
machine: aarch64
cpu: some core
instructions: [neon]
cores: 4
memory: 8 GB
"""


@pytest.mark.parametrize("name", profiles())
def test_ships_profiles_that_say_where_they_come_from(name):
    profile = shipped_profile(name)
    assert profile.hardware.source == name
    assert profile.published
    assert all(source.startswith("https://") for source in profile.published)
    assert profile.hardware.identity.memory_bytes > 4 << 30
    assert profile.hardware.volatile.disk_free_bytes is None
    assert profile.hardware.bench is None or not profile.hardware.bench.measured
    assert (profile.hardware.bench is None) is (profile.hardware.identity.gpus == ())


def test_ships_the_machines_that_people_plan_for():
    assert {"x86-avx2", "x86-vnni", "arm-neoverse-v1", "jetson-orin", "apple-m2"} <= set(profiles())
    assert {"nvidia-t4", "nvidia-l4", "nvidia-a100-80gb", "nvidia-h100", "nvidia-h200"} <= set(profiles())


@pytest.mark.parametrize(
    ("name", "seven"), [("x86-avx2", True), ("x86-vnni", False), ("arm-neoverse-v1", False), ("apple-m2", False)]
)
def test_lets_the_instruction_sets_decide_the_number_format(name, seven):
    assert seven_bits(shipped_profile(name).hardware.identity)[0] is seven


def test_counts_each_gpu_of_a_server():
    gpus = shipped_profile("nvidia-h200").hardware.identity.gpus
    assert [gpu.index for gpu in gpus] == list(range(8))
    assert {gpu.memory_bytes for gpu in gpus} == {141 * 10**9}


def test_assumes_the_versions_that_titrant_is_tested_with():
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.M))
    pinned = {name.lower(): version for name, version in pinned.items()}
    packages = shipped_profile("x86-avx2").hardware.identity.packages
    assert packages == {name: pinned[name] for name in packages}
    assert {"torch", "onnx", "onnxruntime", "numpy"} <= set(packages)


def test_reads_a_profile_written_by_hand():
    identity = read_profile(TEXT + "packages: {torch: '2.9'}\npython: '3.12'\n", "board").hardware.identity
    assert (identity.memory_bytes, identity.gpus, identity.python) == (8 * 10**9, (), "3.12")
    assert identity.packages == {"torch": "2.9"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("neon", "neno", "unknown instruction set 'neno'"),
        ("8 GB", "8 XB", "XB"),
        ("cores: 4", "cores: 0", "greater than or equal to 1"),
        ("cores: 4", "kores: 4", "kores"),
        ("aarch64", "riscv", "aarch64"),
        ("cpu: some core", "cpu: [", "parsing"),
        ("cores: 4", "cores: 4\ncores: 8", "`cores` stands twice"),
        ("cores: 4", "cores: true", "cores"),
        (TEXT, "", "it holds no keys such as `system`"),
        (TEXT, "- a list", "it holds no keys such as `system`"),
    ],
)
def test_refuses_a_profile_that_describes_no_machine(old, new, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        read_profile(TEXT.replace(old, new), "board")
