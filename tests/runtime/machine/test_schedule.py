"""runtime.machine.schedule: how often the models of a timing run."""

from types import SimpleNamespace

import pytest

from titrant.runtime.machine.schedule import TimingSchedule

TURNS = {"original": 0.002, "plain": 0.003, "ort": 0.0005}


def schedule(size, models=3, **params):
    given = {"batches": (1, 8), "compared": None, "chooses": True, "iterations": None, "blocks": 1, "seconds": 1.0}
    return TimingSchedule.of(SimpleNamespace(**given | {"beside": ()} | params), size, models)


@pytest.mark.parametrize(
    ("params", "predicted"),
    [
        ({}, {1: (182, 182), 8: (46, 46)}),
        ({"beside": ("plain",)}, {1: (182, 182), 8: (59, 8)}),
        ({"beside": ("plain",), "seconds": 0.01}, {1: (59, 59), 8: (8, 8)}),
        ({"beside": ("plain",), "iterations": 100}, {1: (100, 100), 8: (100, 8)}),
        ({"beside": ("plain",), "iterations": 5}, {1: (5, 5), 8: (5, 5)}),
        ({"beside": ("plain",), "compared": 8}, {1: (59, 8), 8: (182, 182)}),
        ({"beside": tuple(TURNS)}, {1: (182, 182), 8: (8, 8)}),
    ],
    ids=["rivals", "beside", "brief", "asked", "few", "compared", "all beside"],
)
def test_predicts_fewer_runs_of_what_is_only_beside_where_a_size_is_shown_only(params, predicted):
    runs = {size: schedule(size, **params).predicted_runs(TURNS) for size in predicted}
    assert {size: (each["ort"], each["plain"]) for size, each in runs.items()} == predicted
    assert all(each["original"] == each["ort"] for each in runs.values())


def test_predicts_that_the_fastest_of_many_run_on_and_nobody_else():
    few, many, asked = schedule(1), schedule(1, models=4), schedule(1, models=4, iterations=100)
    assert (few.runs_on, many.runs_on, asked.runs_on, schedule(8, models=4).runs_on) == (False, True, False, False)
    assert many.predicted_seconds(TURNS) - few.predicted_seconds(TURNS) == pytest.approx(2.0)
    assert asked.predicted_seconds(TURNS) == pytest.approx(100 * sum(TURNS.values()))
