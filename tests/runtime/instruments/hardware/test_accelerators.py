"""Accelerators of three vendors, by what their drivers answer."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from titrant.runtime.instruments.hardware import accelerators as module
from titrant.runtime.instruments.hardware.accelerators import (
    AcceleratorGoneError,
    AcceleratorUse,
    accelerators,
    apple_use,
)

IOREG = """+-o AGXAcceleratorG13X  <class AGXAcceleratorG13X, id 0x1000003c5, registered, matched, active>
    {
      "model" = "Apple M1 Pro"
      "PerformanceStatistics" = {"In use system memory (driver)"=0,"Alloc system memory"=1834106880,\
"Tiler Utilization %"=12,"Device Utilization %"=13,"In use system memory"=523960320}
    }
"""


class Driver(ModuleType):
    """pynvml as it answers for two GPUs, of which the second is divided and does not tell its utilization."""

    class NVMLError(Exception):
        pass

    class NVMLError_NotSupported(NVMLError):
        pass

    def __init__(self):
        super().__init__("pynvml")
        self.lost = set()

    def nvmlInit(self):
        pass

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetName(self, handle):
        return b"NVIDIA Toy"

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=8 << 30, used=3 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle):
        if handle in self.lost:
            raise self.NVMLError("GPU is lost")
        if handle == 1:
            raise self.NVMLError_NotSupported("not supported")
        return SimpleNamespace(gpu=42)


@pytest.fixture
def driver(monkeypatch, tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    monkeypatch.setattr(sys, "platform", "linux")
    made = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return made


def test_reads_what_each_gpu_of_nvidia_offers(driver, tmp_path):
    whole, divided = accelerators(tmp_path)
    assert (whole.name, whole.total_bytes) == ("GPU 0 (NVIDIA Toy)", 8 << 30)
    assert whole.read() == AcceleratorUse(0.42, 3 << 30)
    assert divided.read() == AcceleratorUse(None, 3 << 30)


def test_says_that_a_gpu_is_gone_in_the_drivers_words(driver, tmp_path):
    whole, divided = accelerators(tmp_path)
    driver.lost.add(0)
    with pytest.raises(AcceleratorGoneError, match="GPU is lost"):
        whole.read()
    assert divided.read().memory_bytes == 3 << 30
    assert [device.name for device in accelerators(tmp_path)] == ["GPU 1 (NVIDIA Toy)"]


def test_has_no_gpu_where_the_driver_does_not_start(driver, tmp_path, monkeypatch):
    def fail():
        raise driver.NVMLError("driver not loaded")

    monkeypatch.setattr(driver, "nvmlInit", fail)
    assert accelerators(tmp_path) == ()


def test_reads_the_files_of_amd(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    folder = tmp_path / "sys/class/drm/card1/device"
    folder.mkdir(parents=True)
    (tmp_path / "sys/class/drm/card0/device").mkdir(parents=True)  # of another vendor
    for name, text in (("gpu_busy_percent", "73\n"), ("mem_info_vram_used", "1024"), ("mem_info_vram_total", "4096")):
        (folder / name).write_text(text)
    (card,) = accelerators(tmp_path)
    assert (card.name, card.total_bytes) == ("card1 (AMD)", 4096)
    assert card.read() == AcceleratorUse(0.73, 1024)
    (folder / "mem_info_vram_used").write_text("garbage")
    assert card.read() == AcceleratorUse(0.73, None)
    (folder / "gpu_busy_percent").unlink()
    with pytest.raises(AcceleratorGoneError):
        card.read()


def test_reads_what_apples_registry_says():
    assert apple_use(IOREG) == AcceleratorUse(0.13, 523960320)
    assert apple_use("") == AcceleratorUse(None, None)


def test_asks_apples_registry_on_a_mac(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(module, "_APPLE", (sys.executable, "-c", f"print({IOREG!r})"))
    (gpu,) = accelerators()
    assert (gpu.name, gpu.total_bytes, gpu.asks_programs) == ("GPU (Apple M1 Pro)", None, True)
    assert gpu.read().utilization == 0.13
    monkeypatch.setattr(module, "_APPLE", ("ioreg-that-is-not-there",))
    assert accelerators() == ()
    with pytest.raises(AcceleratorGoneError):
        gpu.read()
