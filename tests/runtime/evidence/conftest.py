"""Facts of hand-made runs, from the records that the report's tests build."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from titrant.runtime.evidence.facts import RECORDS, FileDigest, RunFacts
from titrant.runtime.evidence.pack import documents_of
from titrant.schema.plan import Plan
from titrant.schema.record import RunRecord
from titrant.schema.release import DOCUMENTS
from titrant.schema.values.canonical import read_back

BESIDE = Path(__file__).parents[1] / "report"
for name in ("report_plans", "report_values", "report_records"):
    if name not in sys.modules:
        specification = importlib.util.spec_from_file_location(name, BESIDE / f"{name}.py")
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        specification.loader.exec_module(module)


def facts_of(record):
    """Put a record that was made by hand into the form that documents are written from."""
    own = {"run": "20260102T030405Z-hand-01234567", "executed": 1, "reused": 0, "seconds": 1.0}
    run = read_back(RunRecord, {**record["run"], **own, "environment": {"titrant": "0.1.0", "git_commit": "c" * 40}})
    models = [{"candidate": name, "kind": "onnx", "file": f"{name}.onnx"} for name in run.released]
    return RunFacts(
        plan=read_back(Plan, record["plan"]),
        run=run,
        values=record["values"],
        recipe_text=record["recipe_text"],
        manifest={"models": models, "batch": 64} if models else {},
        placed=tuple(FileDigest(f"outputs/{model['file']}", "a" * 64, 1234) for model in models),
        records=tuple(FileDigest(name, "b" * 64, 99) for name in RECORDS),
        environment={"packages": {"numpy": "2.4"}, "licenses": {"numpy": "BSD-3-Clause"}},
    )


def folder_of(record, place):
    """Write the folder of a finished run: what a pack is made from, and small files in the place of models."""
    run = place / "20260102T030405Z-hand-01234567"
    own = {"run": run.name, "executed": 1, "reused": 0, "seconds": 1.0, "environment": {"titrant": "0.1.0"}}
    outputs = run / ("outputs" if record["run"]["released"] else "quarantine")
    outputs.mkdir(parents=True)
    models = [{"candidate": name, "kind": "onnx", "file": f"{name}.onnx"} for name in record["run"]["released"]]
    for model in models:
        (outputs / model["file"]).write_bytes(model["file"].encode())
    texts = {
        run / "report.json": {"format": 1, "record": record},
        run / "record.json": {**record["run"], **own},
        run / "plan.json": record["plan"],
        run / "hardware.json": record["hardware"],
        run / "environment.json": {"packages": {"numpy": "2.4"}, "licenses": {}},
        outputs / "titrant.json": {"models": models, "batch": 64},
    }
    for path, value in texts.items():
        path.write_text(json.dumps(value), "utf-8")
    (run / "recipe.yaml").write_text(record["recipe_text"], "utf-8")
    return run


def texts_of(facts, documents=tuple(DOCUMENTS)):
    return documents_of(facts, documents, None)[0]


@pytest.fixture(scope="session")
def records():
    """The module with one function a way that a run can end."""
    return sys.modules["report_records"]


@pytest.fixture(scope="session")
def facts():
    return facts_of


@pytest.fixture(scope="session")
def texts():
    return texts_of


@pytest.fixture(scope="session")
def run_folder():
    return folder_of
