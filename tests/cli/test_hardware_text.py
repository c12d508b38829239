"""A machine as text: what is said of its accelerators and their speed, measured, published or not known."""

from dataclasses import replace

import pytest

from titrant.api.hardware import AcceleratorSample, Sample
from titrant.cli.console import WIDTH
from titrant.cli.hardware import DETECTED, bars, bench_text, hardware_text, sample_text
from titrant.compiler.machine.profile import shipped_profile
from titrant.schema.facts import Bench, Gpu, GpuSpeed, HardwareVolatile

H200 = shipped_profile("nvidia-h200").hardware
MEASURED = GpuSpeed(51.2e12, 640e12, 4.1e12, 21e9, 4.2e-6, 38e-6, measured=True)


def text(gpus, bench, source=DETECTED):
    identity = replace(H200.identity, gpus=gpus)
    written = hardware_text(replace(H200, identity=identity, bench=bench, source=source))
    assert max(map(len, written.splitlines())) <= WIDTH
    return " ".join(written.split())


def test_says_which_figures_are_published():
    written = text(H200.identity.gpus, H200.bench, "nvidia-h200")
    assert "gpu 0-7 8 × NVIDIA H200" in written
    assert "published: fp32 67 TFLOP/s, 16 bits 989 TFLOP/s, its memory 4.8 TB/s" in written
    assert "measured not known of this machine" in written


def test_says_what_was_measured_and_tells_gpus_apart_that_are_not_equally_fast():
    gpus = H200.identity.gpus[:2]
    bench = Bench(50e9, gpus={"cuda:0": MEASURED, "cuda:1": replace(MEASURED, fp32_flops_per_second=5e11)})
    written = text(gpus, bench)
    assert "gpu 0 NVIDIA H200" in written
    assert (
        "measured: fp32 51.2 TFLOP/s, 16 bits 640 TFLOP/s, its memory 4.1 TB/s, to it 21 GB/s, an operation 4.2 µs, "
        "there and back 38 µs" in written
    )
    assert "measured: fp32 500 GFLOP/s" in written


@pytest.mark.parametrize("bench", [None, Bench(), Bench(gpus={"cuda:7": MEASURED})])
@pytest.mark.parametrize(
    ("gpu", "says"),
    [
        (Gpu(0, "odd", "cuda"), "odd, unknown, compute capability unknown; speed unknown"),
        (Gpu(0, "A100 MIG 1g.10gb", "cuda", 10 << 30, "8.0", "550", mig=True), "(MIG); speed unknown"),
        (Gpu(0, "Apple M9", "mps"), "Apple M9 through Metal (mps), shares the machine's memory; speed unknown"),
    ],
)
def test_says_that_nothing_is_known_and_how_to_measure_it_where_one_can(gpu, says, bench):
    here, elsewhere = text((gpu,), bench), text((gpu,), bench, "mine.json")
    assert f"{says}; measure with: titrant hardware --bench" in here
    assert f"{says} packages" in elsewhere
    assert "measured not yet; measure with: titrant hardware --bench" in here


def test_takes_published_figures_of_a_gpu_for_no_measurement_of_the_machine():
    assert bench_text(Bench(gpus=H200.bench.gpus)) == bench_text(None)
    assert bench_text(Bench(50e9)).startswith("fp32 50 GFLOP/s, int8 unknown")


def test_shows_a_bar_for_each_core_and_each_accelerator():
    gone = AcceleratorSample("GPU 1 (toy)", None, None, None)
    busy = AcceleratorSample("GPU 0 (toy)", 0.5, 1 << 30, 2 << 30)
    sample = Sample(1.0, (0.25,), HardwareVolatile(1 << 30, 1 << 30), (busy, gone))
    assert sample_text(sample, 2 << 30).endswith("GPU 0 (toy) 50%, 1.0 GiB used  GPU 1 (toy) does not answer")
    assert bars(sample).splitlines() == [
        f"  core 0   {'█' * 10:<40}  25%",
        "  GPU 0 (toy): 1.0 GiB of 2.0 GiB",
        f"           {'█' * 20:<40}  50%",
        "  GPU 1 (toy): unknown",
        "           unknown",
    ]
