"""Measuring an accelerator: tried on the CPU, which answers the same questions."""

from titrant.runtime.machine.bench import device_speed, device_speeds, devices
from titrant.schema.facts import GpuSpeed


def test_measures_every_figure_and_nothing_else():
    found = device_speed("cpu", size=32, copied=1 << 16)
    assert set(found) == set(GpuSpeed.__dataclass_fields__) - {"measured"}
    assert all(figure > 0 for figure in found.values())


def test_measures_each_accelerator_that_torch_can_use_and_no_other():
    import torch

    assert list(device_speeds()) == devices()
    assert len(devices()) == max(torch.cuda.device_count(), int(torch.backends.mps.is_available()))
