"""`report.formats` writes what is asked for and no more, and several runs are compared from their reports."""

import json
from pathlib import Path

import pytest


@pytest.mark.slow
def test_writes_the_formats_that_are_asked_for_and_compares_the_runs(finished):
    place, _ = finished
    (first,) = (path.name for path in (place.home / "runs").iterdir())
    changes = ("validation:", "report: {formats: [json, md]}\nvalidation:"), ("{retention: 0.9}", "{retention: 0.8}")
    recipe = place.recipe(*changes)
    answer = place.titrant("run", recipe)
    assert answer.code == 0, answer.all
    (second,) = (path.name for path in (place.home / "runs").iterdir() if path.name != first)
    folder = place.home / "runs" / second
    assert sorted(file.name for file in folder.glob("report.*")) == ["report.json", "report.md"]
    assert "report.md" in answer.out
    missing = place.here("report", "latest", "--format", "html")
    assert missing.code == 2
    assert "has no report.html" in missing.err
    assert place.here("status", recipe).code == 0

    answer = place.here("report", first, second)
    assert answer.code == 0, answer.all
    assert answer.out.startswith("# 2 runs compared")
    page = place.here("report", first, second, "--format", "html").out.strip()
    assert "2 runs compared" in Path(page).read_text("utf-8")
    value = json.loads(place.here("report", first, second, "--format", "json").out)
    assert [run["run"] for run in value["runs"]] == [first, second]
    same = place.here("report", first, first)
    assert same.code == 2
    assert "are the same run" in same.err
    (folder / "report.json").write_text("[]")
    damaged = place.here("report", first, second)
    assert damaged.code == 2
    assert "damaged" in damaged.err


def test_plans_the_same_whatever_the_order_of_all_formats(place):
    plans = []
    for formats in ("[html, md, json]", "[json, html, md]"):
        recipe = place.recipe(("validation:", f"report: {{formats: {formats}}}\nvalidation:"))
        answer = place.here("plan", recipe, "--json")
        assert answer.code == 0, answer.all
        steps = json.loads(answer.out)["plan"]["steps"]
        plans.append(next(step["params"] for step in steps if step["operator"] == "report.render"))
    assert plans[0] == plans[1] == {"min_cell": 5}
