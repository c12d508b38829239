"""report.json is what its published schema says, whatever a run ended with."""

import copy
import json
from pathlib import Path

import pytest

from titrant.runtime.report.page import write_report
from titrant.runtime.report.page.summary import report_schema

PUBLISHED = Path(__file__).parents[3] / "docs" / "reference" / "report.schema.json"


@pytest.fixture(scope="module")
def schema():
    from jsonschema import Draft202012Validator  # two seconds to load, in those workers alone that need it

    validator = Draft202012Validator(report_schema())
    validator.check_schema(validator.schema)
    return validator


def written(record, folder):
    write_report(record, folder, formats=("json",))
    return json.loads((folder / "report.json").read_text("utf-8"))


def test_fits_every_way_that_a_run_can_end(any_record, schema, tmp_path):
    schema.validate(written(any_record, tmp_path))


def test_fits_a_record_with_everything_in_it(records, schema, tmp_path):
    made = copy.deepcopy(records.released())
    bins = [{"cases": 60, "predicted": 0.2, "events": 10}, {"cases": 40, "predicted": 0.8, "events": 30}]
    made["values"] |= {
        "reliability": {"ort-static": {"event": "malignant", "original": bins, "candidate": bins}},
        "metrics": {"ort-static": []},
        "invariance": {"ort-static": {"rows": 9, "batch": 64, "scales": True, "identical": False,
                                      "company": {"differ": 1, "apart": 0.1}}},
    }  # fmt: skip
    made["values"]["curves"] |= {
        "sweep": {"rates": [1e-3], "loss": [0.5], "chosen": 1e-3},
        "gradients": {"global_norm": [3.0], "above": 1, "layers": {"net.0": {"vanishing": 1, "least": 1e-9}}},
    }
    made["values"]["timings"]["original"]["1"]["blocks"] = [8]
    made["values"]["quality"]["onnx"] |= {"pairs": {"both": 57}, "metric": "accuracy", "kept_at_least": None}
    own = {"better": "lower", "low": 0, "high": 5, "original": 0.2, "candidate": 0.25, "error": None}
    made["values"]["quality"]["onnx"]["own"] = {"scores:harm": own}
    made["values"]["quality"]["onnx"]["groups"] = {"bias.site.b": {"estimate": 0.9, "spent": 0.7, "verdict": "PASS"}}
    made["run"]["ladder"] = [{"rung": "none", "candidate": "onnx"}]
    made["look"] = {"number": 1, "spent": 0.05, "judged": {"recipe": "a", "files": "b"}, "rows": 3, "ids": ["x"]}
    schema.validate(written(made, tmp_path))


@pytest.mark.parametrize("place", [("summary",), ("summary", "headline"), ("record", "run"), ("record", "plan")])
def test_refuses_what_is_not_described_and_what_is_missing(records, schema, tmp_path, place):
    value = written(records.released(), tmp_path)
    part = value
    for name in place:
        part = part[name]
    assert schema.is_valid(value)
    part["surprise"] = 1
    assert not schema.is_valid(value)
    del part["surprise"]
    assert schema.is_valid(value)
    del part[{"headline": "sentence", "plan": "task"}.get(place[-1], "verdict")]
    assert not schema.is_valid(value)


def test_is_published_beside_the_docs():
    assert json.loads(PUBLISHED.read_text("utf-8")) == report_schema()
