"""Read a run as its journal grows: points as they come, and how it ended; the same for every tracker.

What is passed is what the report tells: figures, names of steps, candidates and gates. Texts of the journal, paths and
the recipe are not, and figures of small groups are not in the record.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import Home
from titrant.runtime.store.run_folder import MANIFEST, RECORD, read_record
from titrant.runtime.trackers.tracker import Ending, GateFigures, ReleasedFile, TrackedPoint, TrackedRun
from titrant.schema.plan import Plan, plan_digest
from titrant.schema.record import RunRecord
from titrant.schema.values.canonical import read_back
from titrant.schema.values.files import json_object

_POLL_SECONDS = 0.25
# Steps whose measurements are about rows that judge: what is shown of them is in the record.
_JUDGING = ("judge", "report")


def facts_of(folder: Path, home: Path) -> TrackedRun:
    """Return what a run is, from its folder: its plan and what it ran in.

    Raises OSError or ValueError where the folder has none.
    """
    plan = read_back(Plan, json.loads((folder / "plan.json").read_bytes()))
    ran_in = json_object(folder / "environment.json") or {}
    settings: dict[str, str | int | float | bool] = {
        "task": plan.task,
        "plan": plan_digest(plan),
        "recipe": plan.recipe_digest,
        "model": plan.model_digest,
        "data": plan.data_digest,
        "threads": plan.threads,
        "timing_threads": plan.timing_threads,
        "deterministic": plan.deterministic,
        "candidates": len(plan.candidates),
        "gates": len(plan.contract.gates),
        "confidence": plan.contract.confidence,
        "cpu": plan.hardware.cpu,
    }
    settings |= {name: str(ran_in[name]) for name in ("titrant", "python", "git_commit", "git_dirty") if name in ran_in}
    return TrackedRun(folder.name, plan.name, folder, home, settings)


def follow(run: TrackedRun, is_over: Callable[[], bool]) -> Iterator[TrackedPoint | Ending]:
    """Yield a run's points as its journal grows, the curves of steps that were reused, and last how it ended.

    `is_over` says that nobody writes the journal any more: a run that was killed ends without a verdict.
    """
    stages = _stages(run.folder)
    passed: set[tuple[str, int]] = set()
    for event in _events(run.folder / "journal.jsonl", is_over):
        if event["event"] == "closed":
            yield from (point for point in _curves(run) if (point.step, point.place) not in passed)
            yield ending(run.folder, event)
            return
        point = _point(event, stages)
        if point is not None:
            passed.add((point.step, point.place))
            yield point
    yield Ending(exit=1, verdict="")


def _events(journal: Path, is_over: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
    """Yield events as they are appended, each once its line is whole."""
    rest = b""
    with journal.open("rb") as lines:
        while True:
            over = is_over()  # asked first: what was written before the end is read
            rest += lines.read()
            *whole, rest = rest.split(b"\n")
            for line in whole:
                event = _event(line)
                if event is not None:
                    yield event
            if over:
                return
            time.sleep(_POLL_SECONDS)


def _event(line: bytes) -> Mapping[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None  # cut short by a crash
    return event if isinstance(event, dict) and "event" in event else None


def _stages(folder: Path) -> Mapping[str, str]:
    plan = json_object(folder / "plan.json") or {}
    return {step["id"]: step["stage"] for step in plan.get("steps", ())}


def _point(event: Mapping[str, Any], stages: Mapping[str, str]) -> TrackedPoint | None:
    """Return what an event has for trackers; None where it has nothing."""
    step = str(event.get("step", ""))
    if not step or stages.get(step, "report") in _JUDGING:
        return None
    seconds = datetime.fromisoformat(event["time"]).timestamp()
    if event["event"] == "curve":
        return TrackedPoint(step, int(event["place"]), dict(event["figures"]), seconds)
    if event["event"] == "measured":
        return TrackedPoint(step, 0, {str(event["name"]): float(event["value"])}, seconds)
    if event["event"] == "finished":
        cost = {"seconds": float(event["seconds"]), "peak_bytes": float(event["peak_bytes"])}
        return TrackedPoint(step, 0, cost, seconds)
    return None


def ending(folder: Path, closed: Mapping[str, Any]) -> Ending:
    """Return how a run ended, from the event that closes its journal and from its record."""
    record = read_record(folder) if (folder / RECORD).is_file() else None
    if record is None or "verdict" not in closed:
        return Ending(exit=int(closed["exit"]), verdict="")
    return Ending(
        exit=record.exit,
        verdict=record.verdict,
        figures=_figures(record),
        gates=tuple(
            GateFigures(judged.candidate, result.gate, result.verdict, result.estimate, result.lower, result.upper)
            for judged in (candidate.judgement for candidate in record.candidates)
            if judged is not None
            for result in judged.results
        ),
        released=tuple(_released(folder)),
    )


def _figures(record: RunRecord) -> dict[str, float]:
    """Return what is known of every candidate, and of the run, by `candidate/figure`."""
    figures = {"run/seconds": record.seconds, "run/steps_executed": float(record.executed)}
    for candidate in record.candidates:
        size = {} if candidate.size is None else {"size_bytes": float(candidate.size)}
        for name, value in {**candidate.figures, **size}.items():
            figures[f"{candidate.candidate}/{name}"] = float(value)
    return figures


def _released(folder: Path) -> Iterator[ReleasedFile]:
    """Yield the released models by their digests."""
    outputs = folder / "outputs"
    manifest = json_object(outputs / MANIFEST) or {}
    for model in manifest.get("models", ()):
        name = model["file"]
        files = [path for path in manifest["files"] if path == name or path.startswith(f"{name}/")]
        for path in files:
            yield ReleasedFile(path, manifest["files"][path], (outputs / path).stat().st_size, model["candidate"])


def _curves(run: TrackedRun) -> Iterator[TrackedPoint]:
    """Yield the learning curves that the steps of a finished run gave, also those that were reused."""
    record, store = read_record(run.folder), Store(Home(run.home))
    for step in () if record is None else record.steps:
        made = None if step.result is None else step.result.outputs.get("curves")
        if made is None or not store.has(made):
            continue
        curves = store.value(made)
        series = {name: values for name, values in curves.items() if isinstance(values, list)}
        ended = (
            datetime.fromisoformat(step.result.finished).timestamp() if step.result and step.result.finished else 0.0
        )
        for place in range(max(map(len, series.values()), default=0)):
            figures = {name: float(values[place]) for name, values in series.items() if place < len(values)}
            yield TrackedPoint(step.step, place + 1, figures, ended)
