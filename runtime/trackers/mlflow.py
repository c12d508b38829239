"""Follow a run in MLflow: metrics, parameters and tags, in a database of this machine or on a server."""

import os
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from titrant.runtime.trackers.tracker import (
    NOT_INSTALLED,
    Ending,
    TrackedPoint,
    TrackedRun,
    TrackerError,
    refuse_unwritable,
)

# Nobody is told that MLflow is used, and a server that does not answer is soon given up; both can be set otherwise.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
}
_UNUSUAL = re.compile(r"[^\w./ :-]")
_MOST_TEXT = 500


def open_mlflow(run: TrackedRun, options: Mapping[str, Any]) -> "MlflowRun":
    """Begin a run at `options["uri"]`, or in a SQLite database of the home, in `options["experiment"]`.

    The first run of a database waits for its tables. Raises TrackerError, or what MLflow raises.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise TrackerError(NOT_INSTALLED, "mlflow is not installed", "pip install 'titrant[mlflow]'") from None
    from filelock import FileLock

    own, uri = run.home / "mlflow", options["uri"]
    if not uri:
        refuse_unwritable(own)
        uri = f"sqlite:///{own / 'mlflow.db'}"
    # Two runs that make the tables of one database at once leave one of them without.
    with nullcontext() if options["uri"] else FileLock(own / "lock"):
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, options["experiment"], own if not options["uri"] else None)
    return MlflowRun(client, experiment, uri, run)


def _experiment(client: Any, name: str, own: Path | None) -> str:
    """Return the id of an experiment, made where there is none; files of one in the home stay in the home."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(
                client.create_experiment(name, artifact_location=None if own is None else (own / "files").as_uri())
            )
        except MlflowException:  # another run made it meanwhile
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return str(experiment.experiment_id)


class MlflowRun:
    """One run of MLflow."""

    def __init__(self, client: Any, experiment: str, uri: str, run: TrackedRun) -> None:
        from mlflow.entities import Param, RunTag

        self.where = uri
        self.mode = "online" if uri.startswith(("http:", "https:")) else "local"
        self._client = client
        self._id = client.create_run(experiment, run_name=run.run).info.run_id
        settings = [Param(name, str(value)[:_MOST_TEXT]) for name, value in run.settings.items()]
        client.log_batch(self._id, params=settings, tags=[RunTag("titrant.run", run.run)])

    def log(self, point: TrackedPoint) -> None:
        """Send the figures of a point in one request."""
        self._send({f"{point.step}/{name}": value for name, value in point.figures.items()}, point.place, point.time)

    def close(self, ending: Ending) -> None:
        """Send the final figures, verdicts and digests, and end the run."""
        from mlflow.entities import RunTag

        estimates = {f"{row.candidate}/gates/{row.gate}": row.estimate for row in ending.gates}
        self._send(
            {**ending.figures, **{name: value for name, value in estimates.items() if value is not None}}, 0, 0.0
        )
        tags = {"titrant.exit": str(ending.exit), "titrant.verdict": ending.verdict}
        tags |= {f"titrant.gate.{row.candidate}.{row.gate}": row.verdict for row in ending.gates}
        tags |= {f"titrant.released.{each.file}": f"blake3:{each.digest}" for each in ending.released}
        self._client.log_batch(self._id, tags=[RunTag(_name(name), value) for name, value in tags.items()])
        self._client.set_terminated(self._id, "FINISHED" if ending.verdict else "FAILED")

    def _send(self, figures: Mapping[str, float], place: int, time: float) -> None:
        from time import time as now

        from mlflow.entities import Metric

        moment = int((time or now()) * 1000)
        metrics = [Metric(_name(name), value, moment, place) for name, value in figures.items()]
        if metrics:
            self._client.log_batch(self._id, metrics=metrics)


def _name(name: str) -> str:
    """Write a name with the characters that MLflow takes."""
    return _UNUSUAL.sub("_", name)[: _MOST_TEXT // 2]
