"""Measuring an accelerator: tried on the CPU, which answers the same questions."""

import pytest

from titrant.runtime.instruments.device_speed import device_speed, device_speeds, devices
from titrant.schema.facts import GpuSpeed

NONE = not devices()


def test_measures_every_figure_and_nothing_else():
    found = device_speed("cpu", size=32, copied=1 << 16)
    assert set(found) == set(GpuSpeed.__dataclass_fields__) - {"measured"}
    assert all(figure > 0 for figure in found.values())


@pytest.mark.skipif(not NONE, reason="there is an accelerator here")
def test_finds_nothing_to_measure_without_an_accelerator():
    assert device_speeds() == {}


@pytest.mark.skipif(NONE, reason="needs an accelerator")
def test_measures_each_accelerator():
    import torch

    assert list(device_speeds()) == devices()
    assert len(devices()) == max(1, torch.cuda.device_count())
