"""The timer: what it measures, prints, waits for, and lets pass."""

import re
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

import titrant
from titrant.runtime.instruments.clock import timer as module


@dataclass
class Answer:
    logits: object
    name: str = "answer"


def test_measures_a_block_and_tells_its_time_while_it_runs(capsys):
    with titrant.Timer("load") as timer:
        time.sleep(0.01)
        first = timer.elapsed
        assert first >= 0.01
        assert timer.elapsed > first
    assert timer.elapsed == timer.elapsed >= first
    assert capsys.readouterr() == ("", "")


def test_has_measured_nothing_before_its_first_block():
    assert titrant.Timer().elapsed == 0.0


def test_shows_its_name_and_time():
    timer = titrant.Timer("load")
    assert repr(timer) == "Timer('load', not started)"
    with timer:
        assert re.fullmatch(r"Timer\('load', running for [\d.]+ \S+\)", repr(timer))
    assert re.fullmatch(r"Timer\('load', [\d.]+ \S+\)", repr(timer))
    assert repr(titrant.Timer()) == "Timer(not started)"


def test_prints_on_stderr_with_inner_timers_indented(capsys):
    with titrant.Timer("step", silent=False), titrant.Timer("forward", silent=False):
        pass
    with titrant.Timer("next", silent=False):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(":")[0] for line in err.splitlines()] == ["  forward", "step", "next"]


def test_lets_an_error_pass_and_keeps_the_time(capsys):
    timer = titrant.Timer("load", silent=False)
    with pytest.raises(ZeroDivisionError), timer:  # noqa: PT012 - the block is what is timed
        time.sleep(0.01)
        1 / 0  # noqa: B018
    assert timer.elapsed >= 0.01
    assert capsys.readouterr().err.endswith("(ended by ZeroDivisionError)\n")


def test_counts_the_outermost_block_of_one_timer():
    timer = titrant.Timer()
    with timer:
        with timer:
            pass
        time.sleep(0.01)
    assert timer.elapsed >= 0.01


def test_indents_each_thread_by_itself(capsys):
    def other():
        with titrant.Timer("other", silent=False):
            pass

    with titrant.Timer("outer", silent=False):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert capsys.readouterr().err.startswith("other:")


def test_waits_for_devices_before_and_after(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "wait_for_used", lambda: calls.append("all"))
    monkeypatch.setattr(module, "synchronize", calls.append)
    with titrant.Timer():
        calls.append("work")
    with titrant.Timer(device="cpu"):
        calls.append("work")
    assert calls == ["all", "work", "all", "cpu", "work", "cpu"]


def test_lets_the_blocks_error_pass_where_the_device_fails_too(monkeypatch):
    def fail():
        raise RuntimeError("device-side assert")

    timer = titrant.Timer()
    with pytest.raises(KeyError), timer:  # noqa: PT012
        monkeypatch.setattr(module, "wait_for_used", fail)
        raise KeyError
    monkeypatch.setattr(module, "wait_for_used", lambda: None)
    with pytest.raises(RuntimeError, match="device-side"), timer:
        monkeypatch.setattr(module, "wait_for_used", fail)
    assert timer.elapsed > 0


@pytest.mark.skipif(find_spec("mlx") is None, reason="needs MLX")
def test_computes_mlx_arrays_before_the_clock_stops():
    import mlx.core as mlx

    mlx.eval(mlx.zeros(1))
    mlx.reset_peak_memory()
    with titrant.Timer() as timer:
        made = timer.force({"answers": [Answer(mlx.ones((700, 700)) * 2)]})
        assert mlx.get_peak_memory() < 700 * 700 * 4  # only asked for so far
    assert mlx.get_peak_memory() >= 700 * 700 * 4
    assert made["answers"][0].name == "answer"


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="needs a name"):
        titrant.Timer(silent=False)
    with pytest.raises(ValueError, match="no device is called 'gpu'"):
        titrant.Timer(device="gpu")


def test_refuses_a_device_that_does_not_work_here():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(RuntimeError, match="cannot time cuda"):
        titrant.Timer(device="cuda")
