"""profile.latency: models timed side by side."""

import dataclasses
import math
from functools import partial
from types import SimpleNamespace

import pytest

from titrant.runtime.api import apply as apply_operator
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.canonical import canonical_json


@pytest.fixture(scope="module")
def models(torch_model, rows, tmp_path_factory):
    model = torch_model("TinyNet", 1, 6, 6)
    given = {"model": model, "example": rows(1, 6, 6)}
    file = apply_operator("export.onnx", given, scratch=tmp_path_factory.mktemp("plain")).outputs["model"]
    return {"models": {"original": model, "plain": file}, "rows": rows(1, 6, 6, count=5)}


@pytest.fixture
def no_memory(monkeypatch):
    """Measure no memory where only runs are looked at: it takes a process a model."""
    from titrant.runtime.operators.profile import latency

    monkeypatch.setattr(latency, "_memory", lambda *given: [])


ENGINES = {"original": "torch", "plain": "onnxruntime"}


def test_times_every_model_at_every_batch_even_beyond_the_rows(models, apply):
    params = {"engines": ENGINES, "batches": [1, 8], "iterations": 4}
    done = apply("profile.latency", models, params)
    timings = done.outputs["timings"]
    assert set(timings) == {"original", "plain"}
    for figures in timings.values():
        for batch in ("1", "8"):
            timing = figures[batch]
            assert len(timing["samples"]) == 4
            assert 0 < timing["p50"] <= timing["p95"] <= timing["p99"] <= max(timing["samples"])
            assert len(timing["cpu"]) in (0, 4)  # none where the clock of the machine is too coarse
            assert bool(timing["cpu"]) == (timing["waiting"] is not None)
            assert timing["throughput"] == pytest.approx(int(batch) / timing["p50"])
        assert figures["peak_bytes"] is None or figures["peak_bytes"] >= 0
    assert done.measurements["plain.latency_p50"] == timings["plain"]["1"]["p50"]
    canonical_json(timings)


@pytest.mark.usefixtures("no_memory")
def test_runs_often_enough_to_bound_the_95th_percentile_where_models_are_compared(models, apply):
    params = {"engines": ENGINES, "batches": [1, 2, 4], "compared": 2, "seconds": 1e-6}
    timings = apply("profile.latency", models, params).outputs["timings"]
    runs = [{size: len(figures[size]["samples"]) for size in ("1", "2", "4")} for figures in timings.values()]
    assert runs == [{"1": 8, "2": 59, "4": 8}] * 2


@pytest.mark.usefixtures("no_memory")
def test_runs_no_more_than_bound_the_95th_percentile_where_a_batch_size_is_shown_only(monkeypatch, models, apply):
    from titrant.runtime.operators.profile import latency

    ticks = iter(range(1_000_000))  # a busy machine would run them less often
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) / 10_000, process_time=lambda: 0)
    monkeypatch.setattr(latency, "time", clock)
    params = {"engines": ENGINES, "batches": [1, 2], "compared": 2, "seconds": 0.2, "warmup": 0}
    timings = apply("profile.latency", models, params).outputs["timings"]
    assert [len(figures["1"]["samples"]) for figures in timings.values()] == [59] * 2
    assert all(len(figures["2"]["samples"]) > 59 for figures in timings.values())


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize(
    ("params", "shown"),
    [({"iterations": 60}, 60), ({"iterations": 60, "blocks": 7}, 63), ({"seconds": 1e-6}, 8)],
    ids=["asked", "blocks", "least"],
)
def test_runs_what_is_only_beside_a_few_times_where_a_batch_size_is_shown_only(models, apply, params, shown):
    given = {"engines": ENGINES, "batches": [1, 2], "compared": 2, "beside": ["plain"], **params}
    timings = apply("profile.latency", models, given).outputs["timings"]
    runs = {size: {name: len(timings[name][size]["samples"]) for name in timings} for size in ("1", "2")}
    assert runs["1"] == {"original": shown, "plain": 8}
    assert runs["2"]["plain"] == runs["2"]["original"] >= 59
    assert sum(timings["plain"]["1"]["blocks"]) == (8 if "blocks" in params else 0)


@pytest.mark.usefixtures("no_memory")
def test_times_the_batch_size_at_which_models_are_compared_for_longest(monkeypatch, models, apply):
    from titrant.runtime.machine import schedule
    from titrant.runtime.operators.profile import latency

    monkeypatch.setattr(schedule, "LEAST_RUNS", 1)
    monkeypatch.setattr(schedule, "SHOWN_RUNS", 1)
    monkeypatch.setattr(schedule, "MOST_SHOWN_RUNS", 500)
    params = {"engines": ENGINES, "batches": [1, 2], "compared": 2, "seconds": 4.0}
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: next(ticks) / 50, process_time=lambda: 0))
    plain = apply("profile.latency", models, params).outputs["timings"]["plain"]
    assert len(plain["2"]["samples"]) == pytest.approx(4 * len(plain["1"]["samples"]), abs=3)


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("case", [(True, 3, 20), (True, 2, 1), (False, 3, 1)], ids=["many", "few", "judge"])
def test_runs_long_off_the_clock_only_where_runs_choose_among_many(monkeypatch, models, apply, case):
    from titrant.runtime.machine import race

    chooses, files, most = case
    seen = []

    def turn(work, runs, most_off):
        seen.append(most_off)
        race_turn(work, runs)

    race_turn = race.time_turn
    monkeypatch.setattr(race, "time_turn", turn)
    given = {"original": models["models"]["original"]}
    given |= {f"file{number}": models["models"]["plain"] for number in range(files)}
    # A plan names the engine of a file that is made only where another one loses too much.
    engines = {"original": "torch", **{f"file{number}": "onnxruntime" for number in range(5)}}
    params = {"engines": engines, "batches": [1, 2], "iterations": 2, "warmup": 0, "chooses": chooses}
    apply("profile.latency", {**models, "models": given}, params)
    assert seen == [most] * 2 * len(given) + [1] * 2 * len(given)


class Clock:
    """A clock that a slow spell of every third round moves on by ten times as much, for both models alike."""

    def __init__(self, session_seconds):
        self.seconds, self.now, self.spent, self.calls = session_seconds, 0.0, 0.0, 0

    def run(self, name):
        self.calls += 1
        took = self.seconds[name] * (10 if (self.calls - 1) // (2 * len(self.seconds)) % 3 == 2 else 1)
        self.now, self.spent = self.now + took, self.spent + self.seconds[name]


@pytest.mark.usefixtures("no_memory")
def test_keeps_the_runs_in_the_order_of_the_rounds_and_their_cpu_time(monkeypatch, models, apply):
    from titrant.runtime.backends import session
    from titrant.runtime.contract.statistics.paired_runs import compare_runs, timed_runs
    from titrant.runtime.operators.profile import latency

    clock = Clock({"original": 12e-3, "plain": 3e-3})

    class Session:
        input_names = ()

        def __init__(self, name):
            self.name = name

        def run(self, batch):
            clock.run(self.name)

        def close(self):
            pass

    names = {"torch": "original", "onnxruntime": "plain"}
    monkeypatch.setattr(session, "open_session", lambda engine, model, **options: Session(names[engine]))
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(latency.time, "process_time", lambda: clock.spent)
    params = {"engines": ENGINES, "batches": [1], "iterations": 60, "warmup": 0}
    timings = apply("profile.latency", models, params).outputs["timings"]
    assert timings["plain"]["1"]["samples"] == pytest.approx([3e-3, 3e-3, 30e-3] * 20)
    assert timings["original"]["1"]["samples"] == pytest.approx([12e-3, 12e-3, 120e-3] * 20)
    assert timings["original"]["1"]["cpu"] == pytest.approx([12e-3] * 60)
    assert timings["original"]["1"]["waiting"] == pytest.approx(10.0)
    compared = compare_runs(timed_runs(timings["plain"]["1"]), timed_runs(timings["original"]["1"]))
    assert [compared.ratio.lower, compared.ratio.upper] == pytest.approx([4.0, 4.0])


def test_lets_those_run_on_that_may_be_the_fastest_until_one_is_left():
    import numpy as np

    from titrant.runtime.machine.race import Race
    from titrant.runtime.machine.turns import Runs
    from titrant.runtime.operators.profile import latency

    class Session:
        def close(self):
            pass

    def fail():
        raise StepError(Diagnostic("X430", "it cannot"))

    seconds = {"original": 0.0, "slow": 9.0, "near": 1.4, "fast": 1.0}
    context = SimpleNamespace(generator=np.random.default_rng(0), attend=lambda name: None)
    params, long = SimpleNamespace(threads=1, device="cpu"), SimpleNamespace(seconds=math.inf, open_seconds=math.inf)
    race = Race(context, {name: Session() for name in seconds}, dict.fromkeys(seconds, lambda: None))
    race.sessions.pop("original")
    runs = {name: Runs(wall=[took] * 59, cpu=[took] * 59) for name, took in seconds.items()}
    latency._run_on(race, runs, params, long)
    assert {name: len(each.wall) for name, each in runs.items()} == {
        "original": 59,
        "slow": 59,
        "near": 500,
        "fast": 500,
    }
    runs["near"], runs["fast"] = (Runs(wall=[took] * 59, cpu=[took] * 59) for took in (1.4, 1.0))
    race.calls["near"] = fail
    latency._run_on(race, runs, params, long)
    assert len(runs["fast"].wall) <= 60
    assert list(race.failed) == ["near"]
    latency._run_on(Race(context), {}, params, long)  # all of them fell out


def test_lets_those_run_longer_that_are_not_told_apart_from_the_fastest(monkeypatch):
    import numpy as np

    from titrant.runtime.machine.race import Race
    from titrant.runtime.machine.schedule import TimingSchedule
    from titrant.runtime.machine.turns import Runs
    from titrant.runtime.operators.profile import latency

    clock = Clock({"told": 1.2e-3, "alike": 1e-3, "open": 1e-3, "fast": 1e-3})
    context = SimpleNamespace(generator=np.random.default_rng(0), attend=lambda name: None)
    race = Race(context, dict.fromkeys(clock.seconds), {name: partial(clock.run, name) for name in clock.seconds})
    varied = np.random.default_rng(1).lognormal(0, 0.3, 59)
    wall = {"told": [1.2] * 59, "alike": [1.0] * 59, "open": list(varied), "fast": [0.99] * 59}
    runs = {name: Runs(wall=times, cpu=times.copy()) for name, times in wall.items()}
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(latency.time, "process_time", lambda: clock.spent)
    settled = TimingSchedule(True, True, None, 1, 0.02, frozenset())
    latency._run_on(race, runs, SimpleNamespace(threads=1, device="cpu"), settled)
    more = {name: len(each.wall) - 59 for name, each in runs.items()}
    assert more["told"] == more["alike"] > 0
    assert more["open"] == more["fast"] > 3 * more["told"]


@pytest.mark.usefixtures("no_memory")
def test_times_the_engines_own_call_and_leaves_out_a_model_that_fails_in_it(monkeypatch, models, apply):
    from titrant.runtime.backends.onnxruntime.session import OnnxSession

    calls = []

    class Failing:
        def __init__(self, session):
            self.run_whole = session.run

        def run(self, *given):
            calls.append(given)
            if len(calls) == 9:
                raise RuntimeError("0x7f")
            return self.run_whole(*given)

    prepare = OnnxSession.prepared

    def prepared(self, inputs):
        self._session, self._failures = Failing(self._session), (RuntimeError,)
        return prepare(self, inputs)

    monkeypatch.setattr(OnnxSession, "prepared", prepared)
    timings = apply("profile.latency", models, {"engines": ENGINES, "batches": [1], "iterations": 5}).outputs["timings"]
    assert list(timings["plain"]) == ["failed"]
    assert timings["plain"]["failed"].startswith("onnxruntime failed on a batch of")
    assert len(timings["original"]["1"]["samples"]) == 5


@pytest.mark.usefixtures("no_memory")
def test_times_in_blocks_with_a_pause_between_them(models, apply, monkeypatch):
    from titrant.runtime.operators.profile import latency

    pauses = []
    monkeypatch.setattr(latency.time, "sleep", pauses.append)
    params = {"engines": ENGINES, "batches": [1], "iterations": 25, "blocks": 10}
    timings = apply("profile.latency", models, params).outputs["timings"]
    assert pauses == [latency.PAUSE_SECONDS] * 9
    for timing in (timings["plain"]["1"], timings["original"]["1"]):
        assert timing["blocks"] == [3] * 10
        assert len(timing["samples"]) == 30
    alone = apply("profile.latency", models, params | {"blocks": 1}).outputs["timings"]
    assert alone["plain"]["1"]["blocks"] == []


def test_measures_memory_in_as_many_processes_as_are_asked_for(models, apply):
    params = {"engines": ENGINES, "batches": [1], "iterations": 1, "memory_runs": 3}
    figures = apply("profile.latency", models, params).outputs["timings"]["plain"]
    if figures["peak_bytes"] is not None:
        assert len(figures["peak_samples"]) == 3
        assert figures["peak_bytes"] == max(figures["peak_samples"])


@pytest.mark.usefixtures("no_memory")
def test_keeps_no_cpu_time_of_several_threads_but_whether_they_waited(models, apply):
    params = {"engines": ENGINES, "batches": [1], "iterations": 6, "threads": 2}
    timing = apply("profile.latency", models, params).outputs["timings"]["plain"]["1"]
    assert timing["cpu"] == []
    assert timing["waiting"] is None or timing["waiting"] >= 1


@pytest.mark.usefixtures("no_memory")
def test_takes_as_many_bytes_as_predicted(models, apply):
    from titrant.runtime.operators.profile.latency import LatencyParams, predict
    from titrant.schema.facts import Hardware, HardwareIdentity, ModelFacts

    params = {"engines": ENGINES, "batches": [1, 8], "iterations": 100}
    timings = apply("profile.latency", models, params).outputs["timings"]
    facts = ModelFacts("factory", "11" * 32, 100, 100, 400, (), (), (), flops=1000, activation_bytes=64)
    machine = HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 2, None, (), "3.11", {})
    asked = LatencyParams(**params | {"batches": (1, 8)})
    predicted = predict(asked, Hardware(machine), facts).output_bytes
    assert len(canonical_json(timings)) == pytest.approx(predicted, rel=0.2)


def test_says_which_models_a_busy_machine_leaves_untold():
    """Timings that tell nothing must not decide for ever: the next run times anew."""
    from titrant.runtime.contract.statistics.paired_runs import too_busy_to_tell

    quiet = {"samples": [1.0] * 60, "cpu": [], "waiting": 1.0}
    waited = {"samples": [0.7, 9.0, 0.8, 11.0] * 15, "cpu": [], "waiting": 5.0}
    timings = {"original": {"1": quiet}, "a": {"1": waited}, "b": {"failed": "no memory"}}
    assert list(too_busy_to_tell(timings, 1)) == ["the machine was too busy to tell which is faster, original or a"]
    assert list(too_busy_to_tell(timings | {"a": {"1": waited | {"waiting": 1.0}}}, 1)) == []
    assert list(too_busy_to_tell({name: {"1": quiet} for name in timings}, 1)) == []
    few = {"samples": [0.1, 9.0], "cpu": [], "waiting": 5.0}
    assert list(too_busy_to_tell({"original": {"1": quiet | {"samples": [1.0, 1.0]}}, "a": {"1": few}}, 1)) == []


def test_names_a_model_without_an_engine(models, apply):
    with pytest.raises(StepError, match="no engine is named for plain"):
        apply("profile.latency", models, {"engines": {"original": "torch"}})


class UpTo:
    """Make a copy of a model whose module refuses batches beyond a size."""

    def __init__(self, size):
        self.size = size

    def __call__(self, model):
        from torch import nn

        inner, size = model.module, self.size

        class Bounded(nn.Module):
            def forward(self, x):
                return inner(x) if len(x) <= size else inner(x[:, :0])

        return dataclasses.replace(model, module=Bounded().eval())


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("size", [0, 1])
def test_leaves_out_a_candidate_that_fails_and_times_the_others(models, apply, size):
    given = models["models"] | {"broken": UpTo(size)(models["models"]["original"])}
    params = {"engines": ENGINES | {"broken": "torch"}, "batches": [1, 8], "iterations": 2}
    done = apply("profile.latency", models | {"models": given}, params)
    timings = done.outputs["timings"]
    assert list(timings["broken"]) == ["failed"]
    assert timings["broken"]["failed"]
    assert len(timings["original"]["8"]["samples"]) == len(timings["plain"]["8"]["samples"]) == 2
    assert "broken.latency_p50" not in done.measurements


@pytest.mark.usefixtures("no_memory")
def test_leaves_out_a_candidate_that_does_not_load(models, apply, tmp_path):
    from titrant.runtime.values import OnnxModel

    (tmp_path / "no.onnx").write_bytes(b"no model")
    given = models["models"] | {"broken": OnnxModel(tmp_path / "no.onnx")}
    params = {"engines": ENGINES | {"broken": "onnxruntime"}, "batches": [1], "iterations": 2}
    timings = apply("profile.latency", models | {"models": given}, params).outputs["timings"]
    assert "cannot load no.onnx" in timings["broken"]["failed"]
    assert "1" in timings["plain"]


@pytest.mark.parametrize(
    ("said", "lasting"),
    [
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", False),
        ("std::bad_alloc", False),
        ("mat1 and mat2 shapes cannot be multiplied (1x36 and 8x2)", True),
    ],
)
def test_says_what_another_run_may_not_reuse(models, tmp_path, said, lasting):
    """A model that fails would fail again; a machine that was short of memory may have it the next time."""
    from torch import nn

    from titrant.runtime import catalog
    from titrant.runtime.api import PlainContext

    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError(said)

    broken = dataclasses.replace(models["models"]["original"], module=Failing().eval())
    found, context = catalog.get("profile.latency"), PlainContext(1, 1, tmp_path)
    params = found.params(engines=ENGINES | {"broken": "torch"}, batches=(1,), iterations=1, threads=1)
    made = found.run(params, context, models=models["models"] | {"broken": broken}, rows=models["rows"])
    failed = made["timings"]["broken"]["failed"]
    assert "RuntimeError (test_latency.py:" in failed
    assert said not in failed  # what a model's own code says may hold rows
    assert [reason.startswith("broken failed") for reason in context.not_reused] == [True] * (not lasting)


def test_fails_with_the_original(models, apply):
    given = models["models"] | {"original": UpTo(0)(models["models"]["original"])}
    with pytest.raises(StepError):
        apply("profile.latency", models | {"models": given}, {"engines": ENGINES, "batches": [1], "iterations": 2})


def test_does_not_know_the_memory_of_more_threads(models, apply):
    params = {"engines": ENGINES, "batches": [1], "iterations": 2, "threads": 2}
    timings = apply("profile.latency", models, params).outputs["timings"]
    assert {figures["peak_bytes"] for figures in timings.values()} == {None}


def test_measures_memory_after_work_on_more_threads(models, apply):
    import torch

    torch.set_num_threads(2)
    try:
        torch.ones(600, 600) @ torch.ones(600, 600)  # the pool is there now, and a forked child has lost it
        given = {"models": {"original": models["models"]["original"]}, "rows": models["rows"]}
        timings = apply("profile.latency", given, {"engines": ENGINES, "batches": [8], "iterations": 2})
    finally:
        torch.set_num_threads(1)
    assert timings.outputs["timings"]["original"]["peak_bytes"] is not None


@pytest.mark.usefixtures("no_memory")
def test_lets_garbage_be_collected_again_afterwards(models, apply):
    import gc

    apply("profile.latency", models, {"engines": ENGINES, "batches": [1], "iterations": 1})
    assert gc.isenabled()
