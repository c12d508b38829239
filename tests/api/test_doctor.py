"""What doctor says of machines with accelerators, from their facts alone."""

from dataclasses import replace

import pytest

from titrant.api.doctor import capabilities, levels, methods
from titrant.api.doctor_machine import examine_machine
from titrant.compiler.machine.profile import profiles, shipped_profile
from titrant.schema.facts import Bench, Gpu


def found(hardware):
    return {one.subject: one for one in capabilities(hardware)}


def test_tells_which_16_bit_formats_the_gpu_computes_in():
    t4 = found(shipped_profile("nvidia-t4").hardware)
    assert t4["bf16"].found == "emulated and slower than fp32"
    assert t4["fp16"].found == "emulated on the processor, native on Tesla T4"
    assert found(shipped_profile("jetson-orin").hardware)["bf16"].found == "emulated on the processor, native on Orin"
    assert found(shipped_profile("nvidia-h100").hardware)["bf16"].found.startswith("native on the processor (amx_bf16")


@pytest.mark.parametrize(
    ("written", "read", "words"),
    [
        (None, None, []),
        (200e6, 900e6, []),
        (12e6, 900e6, ["11.4 MiB written in a second: runs wait for the disk where the store lives"]),
        (
            12e6,
            24e6,
            ["11.4 MiB written in a second, 22.9 MiB read in a second: runs wait for the disk where the store lives"],
        ),
    ],
)
def test_notes_a_disk_that_was_measured_as_slow(written, read, words, tmp_path):
    bench = Bench(fp32_flops_per_second=1e9, disk_write_bytes_per_second=written, disk_read_bytes_per_second=read)
    machine = replace(shipped_profile("nvidia-t4").hardware, bench=bench)
    rows = [row for row in examine_machine(machine, (), tmp_path) if row.subject == "disk speed"]
    assert [row.found for row in rows] == words
    assert all(row.state == "note" and "TITRANT_HOME" in row.remedy for row in rows)


@pytest.mark.parametrize(
    "gpus", [(), (Gpu(0, "odd", "cuda"),), (Gpu(0, "slice", "cuda", mig=True),), (Gpu(0, "M9", "mps"),)]
)
@pytest.mark.parametrize("name", profiles())
def test_answers_for_every_machine_whatever_is_known_of_its_accelerators(name, gpus):
    hardware = shipped_profile(name).hardware
    changed = replace(hardware, identity=replace(hardware.identity, gpus=gpus), bench=None)
    for machine in (hardware, changed):
        assert {"int8", "bf16", "fp16"} <= set(found(machine))
        assert {one.name for one in methods(machine)} >= {"cast", "ort.static"}
        assert len(list(levels(machine))) == 4
