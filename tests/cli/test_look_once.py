"""A command looks a plan through once, however short memory is, and hands on what it saw."""

import itertools

import pytest

from titrant.cli.main import main
from titrant.runtime.run import preview as previews


@pytest.fixture
def looks(finished, monkeypatch):
    """Gather what looking through plans gave, in a place where the recipe ran and that looks too small at first."""
    place, _ = finished
    monkeypatch.setenv("TITRANT_HOME", str(place.home))
    monkeypatch.setenv("CI", "true")
    monkeypatch.chdir(place.folder)
    seen, look = [], previews.preview
    monkeypatch.setattr(previews, "preview", lambda *given: seen.append(look(*given)) or seen[-1])
    # What everything would need does not fit, what really has to run does.
    answers = itertools.cycle([("too little",), ()])
    monkeypatch.setattr("titrant.api.plan.short_of", lambda *_: next(answers))
    return seen


@pytest.mark.parametrize(
    "command", [["plan", "recipe.yaml"], ["run", "recipe.yaml"], ["run", "--dry-run", "recipe.yaml"], ["status"]]
)
def test_looks_through_a_plan_of_which_nothing_has_to_run_once(looks, command):
    assert main(command) == 0
    assert len(looks) == 1


def test_looks_through_a_plan_that_has_to_run_once_before_it_runs(looks):
    assert main(["run", "--set", "validation.retention=0.91", "recipe.yaml"]) == 0
    assert len(looks) == 1
    assert looks[0].answer is None


def test_looks_through_a_saved_plan_once(looks):
    assert main(["plan", "recipe.yaml", "--out", "saved.json"]) == 0
    assert main(["run", "saved.json"]) == 0
    assert len(looks) == 2
