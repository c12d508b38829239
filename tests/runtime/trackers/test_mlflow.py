"""MLflow: a database in the home where nothing else is said, and a server that is given up soon."""

import os

import pytest

from titrant.runtime.trackers.feed import feed
from titrant.runtime.trackers.mlflow import open_mlflow
from titrant.runtime.trackers.tracker import Ending, GateFigures, ReleasedFile, RunFacts, TrackedPoint
from titrant.schema.record import TrackerRecord

ENDING = Ending(
    0, "NOT PROVEN", {"onnx-int8/latency_p50": 0.002},
    (GateFigures("onnx-int8", "subgroup sex.x ≥ 0.9", "PASS", 0.97, 0.95, None),
     GateFigures("onnx-int8", "rare", "INCONCLUSIVE", None, None, None)),
    (ReleasedFile("model.onnx", "ab" * 32, 1234, "onnx-int8"),),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Take back with the test what is set in the environment beside a run."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)


def track(run, uri="", *items):
    given = run, {"uri": uri, "experiment": "heart"}
    return feed(TrackerRecord("mlflow"), open_mlflow, given, items or (ENDING,), lambda record: None)


def run_in(home, name):
    return RunFacts(name, "x", home / "runs" / name, home, {"task": "binary_classification", "threads": 1})


def test_keeps_runs_in_a_database_of_the_home_and_nothing_where_one_stands(tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    points = [TrackedPoint("fit", place, {"loss": 1 / place}, 1e9 + place) for place in (1, 2)]
    first = track(run_in(home, "one"), "", *points, ENDING)
    assert (first.code, first.sent, first.points, first.mode) == ("", 3, 3, "local")
    assert first.where == f"sqlite:///{home}/mlflow/mlflow.db"
    assert track(run_in(home, "two"), "", Ending(4, "")).code == ""
    assert list(here.iterdir()) == []

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=first.where)
    (experiment,) = [each for each in client.search_experiments() if each.name == "heart"]
    assert experiment.artifact_location.startswith(home.as_uri())
    two, one = client.search_runs([experiment.experiment_id])
    assert (one.info.run_name, one.info.status, two.info.run_name, two.info.status) == (
        "one", "FINISHED", "two", "FAILED"
    )  # fmt: skip
    assert [(point.step, point.value) for point in client.get_metric_history(one.info.run_id, "fit/loss")] == [
        (1, 1.0), (2, 0.5)
    ]  # fmt: skip
    assert one.data.metrics["onnx-int8/latency_p50"] == 0.002
    assert one.data.metrics["onnx-int8/gates/subgroup sex.x _ 0.9"] == 0.97
    assert "onnx-int8/gates/rare" not in one.data.metrics
    assert one.data.params == {"task": "binary_classification", "threads": "1"}
    assert one.data.tags["titrant.verdict"] == "NOT PROVEN"
    assert one.data.tags["titrant.released.model.onnx"] == f"blake3:{'ab' * 32}"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:1", "MlflowException: API request to http://127.0.0.1:1"),
        ("nonsense://x", "UnsupportedModelRegistryStoreURIException"),
        ("sqlite:///FOLDER/file/below/mlflow.db", "NotADirectoryError"),
    ],
)
def test_says_what_kept_it_from_an_address(tmp_path, uri, said):
    (tmp_path / "file").write_text("in the way")
    record = track(run_in(tmp_path, "one"), uri.replace("FOLDER", str(tmp_path)))
    assert (record.code, record.sent) == ("X602", 0)
    assert said in record.because
