"""The figures of a machine: kept while it is the same machine, made anew when anything about the file is odd."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.compiler.machine.detect import detect
from titrant.compiler.machine.speeds import bench_file, read_bench, read_figures, write_bench
from titrant.schema.facts import Bench, GpuSpeed, HardwareIdentity

IDENTITY = HardwareIdentity("linux", "x86_64", "a", ("avx2",), 2, 8, (), "3.11", {"torch": "2", "pandas": "1"})
BENCH = Bench(1e9, 2e9, 3e9, None, 4e9, 2.5)
GPU = GpuSpeed(5e12, 6e12, 7e9, 8e9, 1e-6, 2e-6, measured=True)


def test_gives_back_what_was_measured(tmp_path):
    write_bench(tmp_path, IDENTITY, BENCH)
    assert read_bench(tmp_path, IDENTITY) == BENCH


def test_gives_back_what_was_measured_of_accelerators(tmp_path):
    whole = replace(BENCH, gpus={"cuda:0": GPU, "cuda:1": GpuSpeed(5e12, measured=True), "mps:0": GPU})
    write_bench(tmp_path, IDENTITY, whole)
    assert read_bench(tmp_path, IDENTITY) == whole


@pytest.mark.parametrize(
    "gpus", [[], {"cuda:0": []}, {"cuda:0": {"speed": 1}}, {"tpu:0": {}}, {"cuda": {}}, {"cuda:0": {"call_seconds": 0}}]
)
def test_ignores_figures_of_accelerators_that_are_none(gpus):
    with pytest.raises((ValueError, TypeError, AttributeError)):
        read_figures({"gpus": gpus})


def test_is_part_of_what_is_detected_here(tmp_path):
    here = detect(tmp_path)
    assert here.bench is None or not here.bench.measured
    write_bench(tmp_path, here.identity, BENCH)
    assert replace(detect(tmp_path).bench, gpus={}) == BENCH
    assert detect(tmp_path).identity == here.identity


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"cpu": "b"}, False),
        ({"cores": 4}, False),
        ({"packages": {"torch": "3", "pandas": "1"}}, False),
        ({"packages": {"torch": "2", "pandas": "9"}}, True),
    ],
)
def test_forgets_the_figures_of_another_machine(tmp_path, change, kept):
    write_bench(tmp_path, IDENTITY, BENCH)
    assert (read_bench(tmp_path, replace(IDENTITY, **change)) is not None) is kept


@given(damage=st.binary(max_size=80), at=st.integers(0, 400))
def test_ignores_a_damaged_file(tmp_path_factory, damage, at):
    home = tmp_path_factory.mktemp("home")
    write_bench(home, IDENTITY, BENCH)
    whole = bench_file(home).read_bytes()
    bench_file(home).write_bytes(whole[:at] + damage)
    assert read_bench(home, IDENTITY) in (None, BENCH)


@pytest.mark.parametrize("value", ["-1", "0", "NaN", "Infinity", '"fast"', "true", "[1]"])
def test_takes_only_positive_numbers(tmp_path, value):
    write_bench(tmp_path, IDENTITY, BENCH)
    text = bench_file(tmp_path).read_text().replace("1000000000.0", value, 1)
    bench_file(tmp_path).write_text(text)
    assert read_bench(tmp_path, IDENTITY) is None
