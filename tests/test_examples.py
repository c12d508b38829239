"""The examples of the docs, made and run as their page says."""

import html
import json
import re
import shutil
from pathlib import Path

import pytest

from .conftest import called_here

pytestmark = pytest.mark.usefixtures("warm_workers")

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.parent for path in (ROOT / "docs" / "examples").glob("*/make.py"))
# It shows what is not released.
HARMED = ROOT / "docs" / "examples" / "harmed_subgroup"


def made_and_run(example, warm, folder, *changed):
    """Return the exit code of an example's run, what it printed, and the folder of the run."""
    import jsonschema

    copied = shutil.copytree(example, folder / example.name)
    made = warm("make.py", cwd=copied, env={}, starts=0)
    assert made.returncode == 0, made.stdout + made.stderr
    changes = [part for change in ("profile.batches=[1]", *changed) for part in ("--set", change)]
    code, out, err = called_here(copied, folder / "home", "run", "-q", "recipe.yaml", *changes)
    (record,) = (folder / "home" / "runs").glob("*/record.json")
    schema = json.loads((ROOT / "docs" / "reference" / "report.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads((record.parent / "report.json").read_text("utf-8")))
    return code, out + err, record.parent


@pytest.mark.slow
@pytest.mark.parametrize("example", [each for each in EXAMPLES if each != HARMED], ids=lambda example: example.name)
def test_releases_an_example_with_every_gate_proven(example, warm, tmp_path):
    code, printed, run = made_and_run(example, warm, tmp_path)
    assert code == 0, printed
    assert json.loads((run / "record.json").read_text("utf-8"))["verdict"] == "PASS"


@pytest.mark.slow
def test_catches_a_harmed_subgroup_and_says_on_the_first_screen_whom(warm, tmp_path):
    code, printed, run = made_and_run(HARMED, warm, tmp_path)
    assert code == 5, printed
    assert not list((run / "outputs").glob("*"))
    value = json.loads((run / "report.json").read_text("utf-8"))
    (harm,) = value["summary"]["harmed"]
    assert (harm["candidate"], harm["group"], harm["shown"]) == ("ort.nbits", "site B", True)
    assert float(harm["before"]) > 0.8
    assert float(harm["after"]) < 0.1
    gates = {gate["gate"]: gate["verdict"] for gate in value["summary"]["searches"][0]["gates"]}
    assert (gates["retention"], gates["bias.site.A"], gates["bias.site.B"]) == ("PASS", "PASS", "FAIL")
    page = (run / "report.html").read_text("utf-8")
    first = page.partition('<section id="verdict"')[2].partition("</section>")[0]
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", first)).split())
    assert f"“ort.nbits” harms site B: sensitivity {harm['before']} → {harm['after']}" in words
    assert "All cases together: accuracy 0.9" in words


@pytest.mark.slow
def test_sees_on_tuning_rows_whom_a_method_harms_and_judges_another(warm, tmp_path):
    """By size alone four bits are the best; as long as no subgroup was asked of on tuning rows they were judged."""
    asked = ("level=aggressive", "quantization={method: auto}", "search={objective: [size], mix_layers: false}")
    bias = "validation.bias={at_least: 0.85, min_cases: 20}"
    code, printed, run = made_and_run(HARMED, warm, tmp_path, *asked, bias)
    assert code == 0, printed
    record = json.loads((run / "record.json").read_text("utf-8"))
    became = {candidate["candidate"]: candidate for candidate in record["candidates"]}
    assert record["released"] == ["ort.nbits-8bit"]
    for name in ("ort.nbits-4bit", "ort.nbits-4bit.rounded"):
        assert became[name]["status"] == "measured"
        assert "sensitivity on subgroup site.B" in became[name]["because"]
        assert "on tuning rows, beyond chance" in became[name]["because"]


def test_lists_every_example():
    page = (ROOT / "docs" / "how-to" / "examples.md").read_text("utf-8")
    assert EXAMPLES
    assert [example.name for example in EXAMPLES if f"../examples/{example.name}/recipe.yaml" not in page] == []
