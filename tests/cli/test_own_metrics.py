"""A metric of the user's own, strata and a decision curve through a whole run; live modules judged as files are."""

import os
import re
from unittest import mock

import pytest

import titrant
from titrant.schema.diagnostics.diagnostics import RecipeError

from .conftest import RECIPE, place_in

SCORES = """\
import numpy as np

import titrant


@titrant.metric(better="lower", range=(0, 5), unit="case")
def harm(cases):
    missed = (cases.labels == cases.positive) & (cases.decisions != cases.positive)
    return np.where(missed, 5.0, cases.labels != cases.decisions)


@titrant.metric(better="higher", range=(0, 1), unit="case")
def raising(cases):
    return np.array([1.0])[cases.labels]
"""
VALIDATION = """\
search: {objective: ["scores:harm", latency]}
validation:
  retention: 0.8
  require: evidence
  calibration: none
  baseline: {metric: "scores:right", at_least: 0.6}
  gates:
    - {metric: "scores:harm", comparison: rise_at_most, threshold: 0.5, name: harm}
    - {metric: "scores:harm", slice: subgroup strata.A, comparison: rise_at_most, threshold: 0.5, name: harm in A}
    - {metric: net_benefit, comparison: drop_at_most, threshold: 0.1, name: benefit}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, warm):
    place = place_in(tmp_path_factory.mktemp("own"), warm)
    lines = (place.folder / "rows.csv").read_text().splitlines()
    sited = [f"{lines[0]},site", *(f"{line},{'AAAAABBC'[number % 8]}" for number, line in enumerate(lines[1:]))]
    place.write("rows.csv", "\n".join(sited) + "\n")
    place.write("scores.py", SCORES + right())
    text = RECIPE.replace("validation: {retention: 0.9}\n", VALIDATION)
    inputs = "  inputs: [one, two, three, four]\n  strata: site\n  positive: 1\n"
    place.write("recipe.yaml", text.replace("  positive: 1\n", inputs))
    with mock.patch.dict(os.environ, {"TITRANT_HOME": str(place.home)}):
        yield place


def right():
    return """

@titrant.metric(better="higher", range=(0, 1), unit="case")
def right(cases):
    return cases.labels == cases.decisions
"""


def test_judges_by_it_in_gates_and_as_baseline_and_again_when_its_module_changes(place):
    first = place.here("run", "recipe.yaml")
    assert first.code == 0, first.all
    (report,) = (place.home / "runs").glob("*/report.html")
    assert "less of scores:harm is better; tuning rows choose" in report.read_text()
    assert re.search(r"<small>scores:harm \d\.\d{4}</small>", report.read_text())
    assert "data.strata: site → tests stratified by A" in first.all
    assert "C together, under 30 cases each" in first.all
    assert "harm: scores:harm ≤ 0.5 higher than the original’s" in first.all
    assert "nothing executed" in place.here("run", "recipe.yaml").all
    place.write("scores.py", SCORES.replace("5.0, cases", "4.0, cases") + right())
    again = place.here("run", "recipe.yaml")
    assert again.code == 0, again.all
    assert "onnx-fp32.contract" in again.all
    assert "+ fit" not in again.all


def test_an_exception_in_it_is_said_with_its_line_and_never_passed(place):
    text = (place.folder / "recipe.yaml").read_text()
    place.write(
        "raising.yaml",
        text.replace('"scores:harm", comparison: rise_at_most', '"scores:raising", comparison: drop_at_most'),
    )
    answer = place.here("run", "raising.yaml")
    assert answer.code == 5, answer.all
    assert "raised IndexError (scores.py:14)" in " ".join(answer.all.split())


def test_a_search_after_it_ends_at_an_original_of_which_it_has_no_number(place):
    text = (place.folder / "recipe.yaml").read_text()
    place.write("after.yaml", text.replace('["scores:harm", latency]', '["scores:raising", latency]'))
    answer = place.here("run", "after.yaml")
    assert answer.code == 4, answer.all
    assert "X605" in answer.all
    assert "raised IndexError (scores.py:14)" in " ".join(answer.all.split())


@pytest.fixture(scope="module")
def module():
    import torch

    class Linear(torch.nn.Module):
        def __init__(self, sign, inputs=1):
            super().__init__()
            self.layer = torch.nn.Linear(4, 2, bias=False)
            weights = torch.tensor([2.0, -1.5, 1.0, 0.5]) * sign
            self.layer.weight.data = torch.stack([-weights, weights])

        def forward(self, x):
            return self.layer(x)

    return Linear


@pytest.fixture
def live(place):
    """A recipe for live modules."""
    changes = (
        ("validation: {retention: 0.9}", "validation: {retention: 0.9, require: evidence}"),
        ("data:\n", "data:\n  inputs: [one, two, three, four]\n"),
    )
    text = RECIPE
    for old, new in changes:
        text = text.replace(old, new)
    return place.write("live.yaml", text)


def test_live_modules_are_judged_as_files_are(place, module, live):
    """The same module again is the same file, and nothing is executed."""
    recipe, model = live, module(1.0)
    record = titrant.validate(model, module(1.001), recipe)
    assert (record.exit, record.released) == (0, ("given",))
    assert model.layer.weight.requires_grad
    again = titrant.validate(module(1.0), module(1.001), recipe)
    assert again.run == record.run
    assert titrant.validate(model, module(-1.0), recipe).exit == 5
    assert len(list((place.home / "given").iterdir())) == 3


def test_what_is_no_module_or_takes_other_inputs_is_refused(module, live):
    class Two(module):
        def forward(self, x, y):
            return self.layer(x + y)

    for model, code in ((len, "X621"), (Two(1.0), "X622")):
        with pytest.raises(RecipeError) as caught:
            titrant.validate("recipe", model, live)
        assert caught.value.diagnostics[0].code == code
