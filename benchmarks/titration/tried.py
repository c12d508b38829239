"""Read from a home what a search tried, what it predicted of its mixtures, and what judging found."""

import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from measure import Ran
from titration_cases import TitrationCase

from titrant.schema.values.frozen import dataclass

# The operator that answers all rows of a role with a file.
EVALUATES, ALLOCATES = "validate.predict", "quantize.allocate"


@dataclass(frozen=True)
class Titrated:
    """Everything of one case: the runs (titrant's first), what its search tried, and what rivals.py answered.

    `predictions` are (mixture, predicted, measured) speeds over fp32 in onnxruntime; `seeds` what came of other ways to
    part the rows.
    """

    case: TitrationCase
    runs: tuple[Ran, ...]
    evaluations: int
    predictions: tuple[tuple[str, float, float], ...]
    answer: Mapping[str, Any]
    seeds: tuple[Mapping[str, Any], ...] = field(default=())


def latest(home: Path) -> Path | None:
    """Return the newest closed run of a home."""
    records = sorted(home.glob("runs/*/record.json"), key=lambda path: path.stat().st_mtime_ns)
    return records[-1].parent if records else None


def _read(home: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    folder = latest(home)
    if folder is None:
        return None
    return json.loads((folder / "record.json").read_bytes()), json.loads((folder / "plan.json").read_bytes())


def evaluated(home: Path) -> int:
    """Count how often a search had all tuning rows answered by a file that a method made; fp32 does not count."""
    read = _read(home)
    if read is None:
        return 0
    record, plan = read
    made = {item["id"] for item in plan["candidates"] if item["method"] != "none"}
    answering = {
        step["id"]
        for step in plan["steps"]
        if step["operator"] == EVALUATES and step["candidate"] in made and step["stage"] != "judge"
    }
    return sum(step["step"] in answering and step["status"] in ("finished", "reused") for step in record["steps"])


def predicted_and_measured(home: Path) -> tuple[tuple[str, float, float], ...]:
    """Return the speed of each mixture that was made over fp32 in onnxruntime, as predicted and as timed in turns."""
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.home import open_home
    from titrant.schema.record import Artifact

    read = _read(home)
    if read is None:
        return ()
    record, _ = read
    store = Store(open_home(home))
    timings = _timings(record, store)
    found = []
    for step in record["steps"]:
        result = step["result"]
        if result is None or result["operator"] != ALLOCATES or "proposal" not in result["outputs"]:
            continue
        name = step["step"].rpartition(".")[0]
        proposal = store.value(Artifact(**result["outputs"]["proposal"]))
        if name in timings and "onnx-fp32" in timings:
            speed = timings["onnx-fp32"] / timings[name]
            found.append((name, float(proposal["predicted"]["speedup_over_fp32"]), speed))
    return tuple(found)


def _timings(record: Mapping[str, Any], store: Any) -> dict[str, float]:
    """Return the median CPU seconds of one row by model, from the joint timing."""
    from statistics import median

    from titrant.schema.record import Artifact

    step = next((step for step in record["steps"] if step["step"] == "latency" and step["result"]), None)
    if step is None:
        return {}
    timed = store.value(Artifact(**step["result"]["outputs"]["timings"]))
    return {name: median(each["1"]["cpu"]) for name, each in timed.items() if each.get("1", {}).get("cpu")}


def lost_on_judge_rows(home: Path) -> list[dict[str, Any]]:
    """Return the points of accuracy that each judged candidate of a method lost on judge rows, and its verdict."""
    read = _read(home)
    if read is None:
        return []
    record, plan = read
    made = {item["id"] for item in plan["candidates"] if item["method"] != "none"}
    found = []
    for candidate in record["candidates"]:
        if candidate["candidate"] not in made or not candidate["judgement"]:
            continue
        results = {result["gate"]: result for result in candidate["judgement"]["results"]}
        retention = results["retention"]
        if retention["estimate"] is not None:
            lost = 100 * (retention["original"] - retention["candidate"])
            found.append({"candidate": candidate["candidate"], "lost": lost, "verdict": retention["verdict"]})
    return found
