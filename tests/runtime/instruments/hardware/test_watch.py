"""Watching hardware while a callable runs: what is seen, kept, passed through, and refused."""

import asyncio
import csv
import json
import os
import re
import threading
import time

import pytest

import titrant
from titrant.runtime.instruments.hardware import sampler
from titrant.runtime.instruments.hardware.accelerators import Accelerator, AcceleratorGoneError, AcceleratorUse
from titrant.runtime.instruments.hardware.sampler import UseSample
from titrant.runtime.instruments.hardware.utilization import Utilization
from titrant.schema.diagnostics.diagnostics import RecipeError


def work(seconds):
    """Keep this process busy for some seconds of its CPU time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return "done"


def code_of(refused):
    return refused.value.diagnostics[0].code


def test_samples_what_a_callable_uses_and_returns_what_it_returned():
    seen = titrant.watch(lambda: work(0.15), interval=0.05, cores=True)
    assert seen.result == "done"
    assert len(seen.samples) >= 2
    assert 0.01 < seen.mean.process_cores <= seen.peak.process_cores < 3
    # All of the CPU time is in the samples, however few they are.
    assert 0.1 < seen.mean.process_cores * seen.mean.seconds < 1
    assert seen.peak.process_bytes >= seen.mean.process_bytes > 1 << 20
    assert seen.peak.machine_bytes <= seen.machine_total_bytes
    assert len(seen.mean.cores) == seen.logical_cores
    assert seen.seconds > 0.1


def test_has_no_peak_below_the_mean_where_only_the_last_sample_saw_the_work():
    first = UseSample(0.1, 0.1, 0.2, 0.1, 1, 1, (), ())
    last = UseSample(0.104, 0.004, 9.0, 1.0, 1, 1, (), ())
    seen = Utilization(seconds=0.104, interval=0.1, samples=(first, last))
    assert seen.mean.process_cores == pytest.approx((0.2 * 0.1 + 9.0 * 0.004) / 0.104)
    assert seen.peak.process_cores == seen.mean.process_cores
    assert seen.peak.machine_cpu == seen.mean.machine_cpu


def test_takes_one_sample_of_what_ends_at_once():
    seen = titrant.watch(lambda: None)
    assert len(seen.samples) == 1
    assert seen.samples[0].process_bytes > 0
    assert str(seen).splitlines()[0].endswith(": 1 sample")


def test_stops_sampling_and_lets_the_callable_go_on():
    def go_on_after_the_last_sample():
        while any(thread.name == "titrant-watch" for thread in threading.enumerate()):
            time.sleep(0.005)
        time.sleep(0.3)

    seen = titrant.watch(go_on_after_the_last_sample, seconds=0.1, interval=0.03)
    assert 0.1 <= seen.samples[-1].seconds < seen.seconds
    assert "the first" in str(seen).splitlines()[0]


def test_samples_ever_more_rarely_where_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(sampler, "_LONG", 2)
    monkeypatch.setattr(sampler, "_SHARE", 1.0)
    taken = sampler.Sampler(interval=0.01, limit_seconds=9, ever_rarer=True)
    taken.start()
    time.sleep(0.5)
    taken.stop()
    assert len(taken.samples) < 15


def test_takes_a_sample_where_the_interval_is_longer_than_the_watch():
    assert len(titrant.watch(lambda: time.sleep(0.1), seconds=0.02, interval=10).samples) == 1


def test_counts_what_children_use():
    def fork():
        child = os.fork()
        if child == 0:
            work(0.2)
            os._exit(0)
        os.waitpid(child, 0)

    seen = titrant.watch(fork, interval=0.05)
    assert seen.mean.process_cores * seen.mean.seconds >= 0.15


def test_survives_a_callable_whose_fork_returns():
    reader, writer = os.pipe()
    owner = os.getpid()
    seen = titrant.watch(os.fork, interval=0.01)
    if os.getpid() != owner:
        os.write(writer, str(seen.result).encode())
        os._exit(0)
    os.waitpid(seen.result, 0)
    assert os.read(reader, 10) == b"0"
    assert seen.samples


def test_passes_the_callables_own_error_through_with_what_was_seen():
    def fail():
        work(0.05)
        raise KeyError("mine")

    with pytest.raises(KeyError) as raised:
        titrant.watch(fail)
    assert raised.value.args == ("mine",)
    assert not getattr(raised.value, "__notes__", [])
    assert raised.value.utilization.samples


def test_lets_an_error_that_takes_no_attribute_pass():
    class Bare(Exception):
        __slots__ = ()

        def __setattr__(self, name, value):
            raise AttributeError(name)

    def fail():
        raise Bare

    with pytest.raises(Bare):
        titrant.watch(fail)


async def wait():
    return 1


@pytest.mark.parametrize(("given", "advice"), [(lambda: (n for n in "ab"), "list(work())"), (wait, "asyncio.run")])
def test_refuses_what_has_not_worked_yet(given, advice):
    with pytest.raises(RecipeError, match="has not worked yet") as refused:
        titrant.watch(given)
    assert code_of(refused) == "X701"
    assert advice in refused.value.diagnostics[0].help


def test_watches_a_coroutine_that_is_run():
    assert titrant.watch(lambda: asyncio.run(wait())).result == 1


def test_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="watch takes what can be called, not NoneType"):
        titrant.watch(None)


@pytest.mark.parametrize("times", [{"interval": -1}, {"interval": float("nan")}, {"seconds": "5"}])
def test_refuses_times_that_are_none(times):
    with pytest.raises(titrant.TitrantError, match=r"X671: .*a number of seconds above 0"):
        titrant.watch(lambda: None, **times)


def two_gpus(monkeypatch, *, dies_after):
    reads = []

    def read():
        reads.append(1)
        if len(reads) > dies_after:
            raise AcceleratorGoneError("GPU is lost")
        return AcceleratorUse(0.5, 1 << 30)

    devices = (
        Accelerator("GPU 0 (toy)", 2 << 30, read),
        Accelerator("GPU 1 (toy)", None, lambda: samples.append(1) or AcceleratorUse(None, 5)),
    )
    samples = []
    monkeypatch.setattr(sampler, "accelerators", lambda: devices)
    return samples


def test_says_once_that_an_accelerator_died_and_goes_on(monkeypatch):
    taken = two_gpus(monkeypatch, dies_after=2)

    def until_it_died():
        while len(taken) < 6:
            time.sleep(0.005)

    seen = titrant.watch(until_it_died, interval=0.02)
    assert len(seen.samples) >= 4
    assert [use.utilization for use in (sample.devices[0] for sample in seen.samples)][:3] == [0.5, 0.5, None]
    (note,) = [note for note in seen.notes if "GPU" in note]
    assert re.fullmatch(r"GPU 0 \(toy\) no longer answers, from \d+(\.\d+)? m?s on: GPU is lost", note)
    assert seen.peak.devices == (AcceleratorUse(0.5, 1 << 30), AcceleratorUse(None, 5))
    assert "GPU 1 (toy)" in str(seen)


def test_samples_more_rarely_where_a_sample_costs_much(monkeypatch):
    def slow():
        work(0.01)
        return AcceleratorUse(1.0, None)

    monkeypatch.setattr(sampler, "accelerators", lambda: (Accelerator("slow", None, slow),))
    seen = titrant.watch(lambda: time.sleep(0.5), interval=0.01)
    assert len(seen.samples) <= 3
    (note,) = seen.notes
    assert "of CPU time here: taken about every" in note


def test_saves_the_samples_as_csv_and_json_without_the_result(tmp_path, monkeypatch):
    two_gpus(monkeypatch, dies_after=99)
    seen = titrant.watch(lambda: time.sleep(0.1), cores=True)
    rows = list(csv.DictReader(seen.save(tmp_path / "use.csv").open(encoding="utf-8")))
    assert len(rows) == len(seen.samples)
    assert rows[0]["device_0_utilization"] == "0.5"
    assert rows[0]["device_1_utilization"] == ""
    assert "core_0" in rows[0]
    saved = json.loads(seen.save(str(tmp_path / "use.json")).read_text("utf-8"))
    assert saved["peak"]["devices"][0] == {"utilization": 0.5, "memory_bytes": 1 << 30}
    assert "result" not in saved


@pytest.mark.parametrize("name", ["use.xlsx", "use", "gone/use.csv"])
def test_refuses_a_file_that_it_cannot_write(tmp_path, name):
    with pytest.raises(RecipeError, match="samples cannot be saved as") as refused:
        titrant.watch(lambda: None).save(tmp_path / name)
    assert code_of(refused) == "X700"


def test_draws_every_unit_in_a_panel_of_its_own(monkeypatch):
    two_gpus(monkeypatch, dies_after=2)
    drawn = titrant.watch(lambda: time.sleep(0.2), interval=0.05).plot().svg
    for title in ("Cores busy", "GPU 0 (toy): share of the time busy", "GPU 1 (toy): memory"):
        assert title in drawn
    assert re.search(r"Memory, process \([MG]iB\)", drawn)  # by how much the tests before this one left
    assert "GPU 1 (toy): share" not in drawn  # nobody can say
