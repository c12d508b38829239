"""The history of what steps cost: small, cheap to read, and never in the way."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.run.history import FILE, MOST_BYTES, HistoryFile, observed
from titrant.runtime.store.home import open_home
from titrant.schema.facts import HardwareIdentity
from titrant.schema.plan import ModelCost, Prediction
from titrant.schema.record import Artifact, Measurement, StepResult

MACHINE = HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 2, 8 << 30, (), "3.11.0", {"torch": "2"})


def result(shape="a" * 16, seconds=1.5, **given):
    told = Prediction(
        1.0, 100, 50, "modelled", shape=shape, formula_seconds=0.9, formula_peak_bytes=80,
        models={"original": ModelCost({"1": 0.002, "8": 0.01})}, formula_models={"original": 0.002},
    )  # fmt: skip
    return StepResult(
        "k" * 64, "train.fit", {"model": Artifact("torch", "d" * 64, 1234)},
        (Measurement("original.latency_p50", 0.004, "s"), Measurement("final_loss", 0.5)),
        seconds, 5 << 20, loads={"torch": 2.5}, predicted=told, **given,
    )  # fmt: skip


@pytest.fixture
def history(tmp_path):
    return HistoryFile(open_home(tmp_path / "home"), MACHINE)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "home" / "facts" / FILE


def test_gives_back_what_was_added_oldest_first(history):
    for seconds in (1.0, 2.0, 3.0):
        history.add(result(seconds=seconds))
    found = history.read()
    assert [one.seconds for one in found] == [1.0, 2.0, 3.0]
    assert found[0] == observed(result(seconds=1.0))
    assert found[0].output_bytes == 1234
    assert found[0].models == {"original": 0.004}
    assert found[0].loads == {"torch": 2.5}


def test_is_empty_where_nothing_ran(history):
    assert history.read() == ()


def test_keeps_nothing_of_a_step_that_was_not_predicted(history, file):
    history.add(replace(result(), predicted=Prediction()))
    assert not file.exists()


def test_tells_nothing_of_another_machine(history, tmp_path):
    history.add(result())
    other = HistoryFile(open_home(tmp_path / "home"), replace(MACHINE, cpu="another"))
    assert other.read() == ()
    upgraded = HistoryFile(open_home(tmp_path / "home"), replace(MACHINE, packages={"torch": "3"}))
    assert len(upgraded.read()) == 1


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text().map(str.encode), st.sampled_from(
    [b"[]", b"null", b"{}", b'{"machine": 1}', b"[" * 3000, b'{"operator":"train.fit","shape":3}', b"\xff\n\n\x00"]
)))  # fmt: skip
def test_ignores_damaged_lines(damage):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        kept = HistoryFile(open_home(Path(folder)), MACHINE)
        file = Path(folder) / "facts" / FILE
        kept.add(result(seconds=1.0))
        with file.open("ab") as out:
            out.write(damage)
        kept.add(result(seconds=2.0))
        assert [one.seconds for one in kept.read()] == [1.0, 2.0]


def test_loses_only_the_line_that_was_torn(history, file):
    history.add(result(seconds=1.0))
    history.add(result(seconds=2.0))
    file.write_bytes(file.read_bytes()[:-40])
    history.add(result(seconds=3.0))
    assert [one.seconds for one in history.read()] == [1.0, 3.0]


def test_stays_small_and_cheap_to_read_however_much_ran(history, file):
    # As many lines as the file may hold at once, many times over.
    line = json.dumps({"machine": "another", "shape": "x", "filler": "y" * 300}).encode() + b"\n"
    with file.open("wb") as out:
        out.write(line * 20_000)
    for place in range(400):
        history.add(result(f"{place:016x}"))
    assert file.stat().st_size <= MOST_BYTES
    found = history.read()
    assert found[-1].shape == f"{399:016x}"
    assert len(found) > 100


def test_keeps_the_latest_of_every_shape_when_it_is_shortened(history, file):
    history.add(result("rare" + "0" * 12, seconds=9.0))
    for place in range(1500):
        history.add(result("often" + "0" * 11, seconds=float(place)))
    assert file.stat().st_size <= MOST_BYTES
    found = history.read()
    assert 9.0 in {one.seconds for one in found}
    assert found[-1].seconds == 1499.0


def test_does_not_stop_a_step_when_it_cannot_be_written(history, file):
    file.mkdir()
    history.add(result())
    assert history.read() == ()
