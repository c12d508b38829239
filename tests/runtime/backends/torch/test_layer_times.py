"""A module is timed layer by layer; an Apple GPU is captured where the process may, for which a stand-in answers."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def captures(monkeypatch):
    """Stand in for Metal, which is not here: what happened, in order."""
    events = []

    @contextmanager
    def metal_capture(name):
        events.append(name)
        yield
        events.append("end")

    monkeypatch.setattr(torch.mps.profiler, "is_metal_capture_enabled", lambda: True)
    monkeypatch.setattr(torch.mps.profiler, "metal_capture", metal_capture)
    return events


def notes(device, run=lambda: None):
    from titrant.runtime.backends.torch.layer_times import metal_capture

    return list(metal_capture(device, run))


def test_captures_one_run_on_an_apple_gpu_and_says_where_it_lies(captures):
    name = f"titrant-layers-{os.getpid()}"
    (note,) = notes("mps", lambda: captures.append("run"))
    assert captures == [name, "run", "end"]
    assert note == f"the Metal capture of one batch, for Xcode, is {Path.cwd()}/*-{name}.gputrace"


def test_says_why_there_is_no_capture(captures, monkeypatch):
    def refuses(name):
        raise RuntimeError(f"Failed to capture {name}\nin more lines")

    monkeypatch.setattr(torch.mps.profiler, "metal_capture", refuses)
    (note,) = notes("mps:0")
    assert note == f"no Metal capture was made: Failed to capture titrant-layers-{os.getpid()}"
    monkeypatch.setattr(torch.mps.profiler, "is_metal_capture_enabled", lambda: False)
    assert notes("mps") == ["no Metal capture was made: start the process with MTL_CAPTURE_ENABLED=1 for one"]


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_captures_nothing_on_another_device(captures, device):
    assert notes(device) == captures == []
