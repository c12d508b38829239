"""Memory that is held: now, step by step, and for ever."""

import gc
import itertools
import mmap
import sys
from importlib.util import find_spec

import pytest

import titrant
from titrant.runtime.instruments.memory import leak
from titrant.runtime.instruments.memory.usage import not_below

LARGE = 30 << 20


def taken():
    """Take pieces from the system and write to each page: what a long process has freed may serve an object as well."""
    held = mmap.mmap(-1, LARGE)
    held[:: mmap.PAGESIZE] = b"\1" * len(range(0, LARGE, mmap.PAGESIZE))
    return held


def test_tells_what_the_process_holds():
    before = titrant.memory_usage()
    with taken() as held:
        now = titrant.memory_usage()
        assert len(held) == LARGE
    assert now.process.in_use_bytes - before.process.in_use_bytes > LARGE * 0.9
    assert now.process.in_use_bytes <= now.process.peak_bytes
    assert now.process.in_use_bytes < now.process.total_bytes
    assert str(now).splitlines()[1].split()[0] == "process"


def test_has_no_peak_below_what_is_held():
    assert not_below(3, 5) == 5
    assert not_below(None, 5) is None


@pytest.mark.skipif(find_spec("mlx") is None, reason="needs MLX")
def test_tells_what_mlx_holds_also_after_its_peak_was_reset():
    import mlx.core as mlx

    held = mlx.ones((1000, 1000))
    mlx.eval(held)
    mlx.reset_peak_memory()
    (place,) = [place for place in titrant.memory_usage().devices if place.name == "mlx"]
    assert held.nbytes <= place.in_use_bytes <= place.peak_bytes
    info = titrant.get_device_info("mlx")
    assert info.active_bytes <= info.peak_bytes


def test_has_no_cpu_whose_peak_is_below_what_is_active(monkeypatch):
    monkeypatch.setattr("titrant.api.devices.peak_resident_bytes", lambda: 1)
    info = titrant.get_device_info("cpu")
    assert info.peak_bytes == info.active_bytes > 1


def test_notes_what_each_step_left_behind():
    log = titrant.MemoryLog()
    assert str(log) == "no step was noted: log.add('load')"
    with taken():
        log.add("load")
    log.add("free")
    load, free = log.steps
    assert load.grown_bytes[0] > LARGE * 0.9
    assert free.grown_bytes[0] < -LARGE * 0.9
    head, first, _ = str(log).splitlines()
    assert head.split()[:3] == ["step", "process", "grown"]
    assert first.split()[0] == "load"
    assert "+" in first


def test_finds_what_is_kept_and_where():
    kept = []

    def step():
        kept.append(bytearray(8 << 10))  # here

    seen = titrant.find_leak(step)
    assert seen.leaks
    python = seen.growths[0]
    assert (python.kind, python.leaks) == (leak.PYTHON, True)
    assert python.bytes_per_step == pytest.approx(8 << 10, rel=0.1)
    assert seen.sites[0].where.startswith(__file__)
    assert str(seen).startswith("leak: Python objects grew by 8.")


def test_finds_no_leak_in_what_is_given_back():
    seen = titrant.find_leak(lambda: [bytearray(1 << 20)])
    assert not seen.leaks
    assert str(seen).startswith("no leak: nothing kept growing over 100 steps after 10 warm-up steps")


def test_takes_a_cache_that_fills_and_stops_for_no_leak():
    cache, count = {}, itertools.count()

    def step():
        cache.setdefault(next(count) % 40, bytearray(50_000))

    seen = titrant.find_leak(step)
    assert seen.growths[0].grown_bytes > 1_000_000
    assert not seen.leaks


def test_takes_what_only_points_at_itself_for_no_leak():
    def step():
        circle = [bytearray(100_000)]
        circle.append(circle)

    assert not titrant.find_leak(step, steps=40).leaks


def test_finds_tensors_that_are_kept():
    import torch

    losses, weight = [], torch.ones(64, 64, requires_grad=True)

    def step():
        losses.append((torch.ones(64, 64) @ weight).relu())

    seen = titrant.find_leak(step)
    tensors = next(growth for growth in seen.growths if growth.kind == leak.TENSORS)
    assert tensors.leaks
    assert tensors.bytes_per_step == 2 * 64 * 64 * 4  # autograd keeps the input too
    assert seen.sites[0].where == "torch tensors 64×64 torch.float32"


def test_lets_the_callables_own_error_pass():
    import tracemalloc

    frozen = gc.get_freeze_count()
    with pytest.raises(ZeroDivisionError):
        titrant.find_leak(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()
    assert gc.get_freeze_count() == frozen


@pytest.mark.parametrize("wrong", [{"warmup": 0}, {"steps": 3}, {"factor": 1.0}, {"factor": float("nan")}])
def test_refuses_numbers_that_find_nothing(wrong):
    with pytest.raises(titrant.TitrantError, match="X671: "):
        titrant.find_leak(lambda: None, **wrong)


def test_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="find_leak takes what can be called, not int"):
        titrant.find_leak(3)


def test_loads_no_library_to_find_out(monkeypatch):
    for name in ("torch", "mlx.core"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert titrant.memory_usage().devices == ()
    assert not {"torch", "mlx.core"} & set(sys.modules)
