"""What a step of training computes in, and what it computes again: said where it is asked for."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.runtime import catalog
from titrant.schema.facts import Layer

HERE = Path(__file__).parents[1]
specification = importlib.util.spec_from_file_location("case", HERE / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

TRAINED = case.RECIPE + "level: balanced\n"
# Twelve convolutions whose answers take 7 MiB a case: with gradients, 64 cases take about 8 GiB.
CONVOLUTION = Layer("conv", "Conv2d", 36_864, 147_456, (64, 64, 3, 3), flops=2 * 576 * (7 << 18), trainable=36_864)
DEEP = replace(
    case.MODEL,
    layers=tuple(replace(CONVOLUTION, name=f"conv{place}") for place in range(12)),
    flops=12 * CONVOLUTION.flops,
    activation_bytes=2 << 20,
)
KEYS = ("precision", "gradient_checkpointing", "offload", "offload_above_bytes")


def settled(*changes, **facts):
    """Return what the decided training has of the two parameters, and their lines by subject."""
    decisions = case.decided(TRAINED, *changes, **facts)
    lines = {line.subject: line for line in decisions.decisions if line.subject.endswith(KEYS)}
    return {key: value for key, value in decisions.settled.training.items() if key in KEYS}, lines


def test_says_nothing_where_nothing_is_asked():
    assert settled() == ({}, {})


@pytest.mark.parametrize(("asked", "chosen"), [("fp32", "fp32"), ("bf16", "bf16"), ("fp16", "fp16"), ("auto", "fp32")])
def test_takes_the_precision_that_is_written_and_fp32_on_a_processor_for_auto(asked, chosen):
    native = case.machine("avx2", "avx512_bf16")
    params, lines = settled(f"train.precision={asked}", hardware=native)
    line = lines["train.precision"]
    assert params == {"precision": chosen}
    assert (line.asked, line.chosen) == (asked, chosen)
    assert bool(line.rejected) is (asked == "auto")


@pytest.mark.parametrize(
    ("precision", "instructions", "unmet"),
    [
        ("fp32", (), False),
        ("bf16", ("avx2",), True),
        ("bf16", ("avx512_bf16",), False),
        ("bf16", ("amx_bf16",), False),
        ("bf16", ("bf16",), False),
        ("fp16", ("avx512_fp16",), True),
    ],
)
def test_needs_a_processor_that_computes_in_the_precision(precision, instructions, unmet):
    fit = catalog.get("train.fit")
    found_unmet = fit.requires(fit.params(precision=precision), case.machine(*instructions), case.MODEL)
    assert bool(found_unmet) is unmet
    assert all("train.precision" in one.remedy for one in found_unmet)


def test_recomputes_the_share_that_is_written():
    params, lines = settled("memory.gradient_checkpointing=0.25")
    assert params == {"gradient_checkpointing": 0.25}
    assert lines["memory.gradient_checkpointing"].chosen.startswith("25%")


@pytest.mark.parametrize(("gibibytes", "ratio"), [(None, 0.0), (64, 0.0), (9, 0.25), (6, 0.5), (5, 0.75), (0.1, 1.0)])
def test_recomputes_by_itself_the_least_share_that_fits(gibibytes, ratio):
    total = None if gibibytes is None else int(gibibytes * (1 << 30))
    hardware = replace(case.AVX2, identity=replace(case.AVX2.identity, memory_bytes=total))
    params, lines = settled("memory.gradient_checkpointing=auto", hardware=hardware, model=DEEP)
    assert params == {"gradient_checkpointing": ratio}
    assert ("GiB" in lines["memory.gradient_checkpointing"].because) is (gibibytes is not None)


@pytest.mark.parametrize(
    ("asked", "gibibytes", "above"),
    [
        ("disk", None, 0),  # nobody knows what fits
        ("auto", None, None),
        ("auto", 64, None),
        ("disk", 64, 50),
        ("auto", 6, 2.1),
        ("disk", 6, 2.1),
        ("auto", 0.1, 0),
    ],
)
def test_keeps_on_the_disk_what_is_predicted_not_to_fit(asked, gibibytes, above):
    total = None if gibibytes is None else int(gibibytes * (1 << 30))
    hardware = replace(case.AVX2, identity=replace(case.AVX2.identity, memory_bytes=total))
    params, lines = settled(f"memory.offload={asked}", hardware=hardware, model=DEEP)
    kept = params["offload_above_bytes"]
    assert kept == (above and pytest.approx(above * (1 << 30), rel=0.1))
    line = lines["memory.offload"]
    assert (line.asked, "on the disk" in line.chosen) == (asked, above is not None)
    assert ("GiB" in line.because) is (gibibytes is not None)
    if above:
        fit = catalog.get("train.fit")
        peak = fit.predict(fit.params(**params, epochs=1), hardware, DEEP).peak_bytes
        assert peak <= 0.8 * total + 1


def test_recomputes_before_the_disk_takes_the_rest():
    hardware = replace(case.AVX2, identity=replace(case.AVX2.identity, memory_bytes=int(5.5 * (1 << 30))))
    both = "memory.gradient_checkpointing=auto", "memory.offload=auto"
    params, _ = settled(*both, hardware=hardware, model=DEEP)
    assert params == {"gradient_checkpointing": 0.75, "offload_above_bytes": None}
    lower, _ = settled(*both, "memory.offload_from=0.2", hardware=hardware, model=DEEP)
    assert lower["gradient_checkpointing"] == 0.75
    assert lower["offload_above_bytes"] is not None


def test_predicts_less_memory_and_more_time_for_the_disk():
    fit = catalog.get("train.fit")
    plain, half = (fit.predict(fit.params(offload_above_bytes=bytes), case.AVX2, DEEP) for bytes in (None, 2 << 30))
    assert half.peak_bytes < 0.7 * plain.peak_bytes
    assert plain.seconds < half.seconds


def test_predicts_less_memory_and_more_time_for_recomputing():
    fit = catalog.get("train.fit")
    plain, half = (fit.predict(fit.params(gradient_checkpointing=ratio), case.AVX2, DEEP) for ratio in (0.0, 0.5))
    assert half.peak_bytes < 0.7 * plain.peak_bytes
    assert plain.seconds < half.seconds < 1.3 * plain.seconds


def test_saves_and_watches_in_several_processes_as_in_one():
    several = case.decided(TRAINED, "train.distributed.processes=2", "train.accumulate=3").settled.training
    one = case.decided(TRAINED, "train.accumulate=3").settled.training
    assert several == {**one, "processes": 2}
    assert several["accumulate"] == 3
