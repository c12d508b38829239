"""Put together what a run did: the record that is kept, and the part of it that the report is made of."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.execution.environment import Recipe
from titrant.runtime.execution.folder import closed_run
from titrant.runtime.execution.home import Home
from titrant.runtime.execution.looks import evaluation_digest, looked
from titrant.runtime.execution.release import released_path
from titrant.runtime.execution.store import Store
from titrant.runtime.execution.titrate import Titration, candidate_records
from titrant.runtime.execution.walk import Walk
from titrant.schema.canonical import plain
from titrant.schema.plan import Plan, Prediction, plan_digest, without_paths
from titrant.schema.record import RunRecord, StepRecord

_PLACE = re.compile(r".*/([^/]+:\d+:\d+)")


def run_record(walk: Walk, titration: Titration) -> RunRecord:
    """Return the record of a run but for its id, counts, seconds and environment."""
    return RunRecord(
        run="",
        name=walk.plan.name,
        plan_digest=plan_digest(walk.plan),
        verdict=titration.verdict,
        baseline=titration.baseline,
        exit=titration.exit,
        steps=step_records(walk),
        candidates=candidate_records(walk, titration),
        released=tuple(titration.released.values()),
        executed=0,
        reused=0,
        seconds=0.0,
    )


def same_outcome(one: RunRecord, other: RunRecord) -> bool:
    """Tell whether two runs of a plan had the same keys, outputs, judgements and releases."""
    return _outcome(one) == _outcome(other)


def _outcome(record: RunRecord) -> tuple[Any, ...]:
    steps = {
        step.step: (step.key, {port: made.digest for port, made in step.result.outputs.items()})
        for step in record.steps
        if step.result is not None
    }
    failed = {step.step: step.error for step in record.steps if step.status in ("failed", "rejected")}
    judged = plain({one.candidate: [one.status, one.judgement] for one in record.candidates})
    return record.verdict, record.exit, tuple(record.released), plain(record.baseline), steps, failed, judged


def earlier_run(home: Home, walk: Walk, titration: Titration) -> RunRecord | None:
    """Return a run that ended before exactly as this one does, told as one that executed nothing; None without one."""
    mine = run_record(walk, titration)
    found = closed_run(home, walk.plan, lambda record: same_outcome(record, mine))
    return None if found is None else replace(found, executed=0, reused=known(walk))


def known(walk: Walk) -> int:
    """Count the steps that have their results."""
    return sum(record.status in ("finished", "reused") for record in walk.records.values())


def step_records(walk: Walk) -> tuple[StepRecord, ...]:
    """Return every step's record in the plan's order; one that nothing asked for is unused."""
    return tuple(walk.records.get(step.id, StepRecord(step.id, "unused")) for step in walk.plan.steps)


def report_value(walk: Walk, titration: Titration, store: Store, recipe: Recipe, looks: int = 0) -> dict[str, Any]:
    """Return what the report is made of: the same for every run of a plan that gave the same results.

    Whether a step was reused, how long this run took, when it was and where files lay is left out. So is what the plan
    predicts now, after steps were learned from: each result holds what was predicted before it. `looks` says which look
    at its evaluation rows this run was, the first being 1, and 0 where nothing was judged.
    """
    record = run_record(walk, titration)
    steps = tuple(replace(step, status="finished") if step.status == "reused" else step for step in record.steps)
    plan = plain(walk.plan)
    for step in plan["steps"]:
        step["params"] = without_paths(step["params"])
        step["prediction"] = plain(Prediction())
    for candidate in plan["candidates"]:
        candidate["predicted_bytes"] = None
    for decision in plan["decisions"]:
        decision["where"] = _file_only(decision["where"])
    for gate in plan["contract"]["gates"]:
        gate["origin"] = _file_only(gate["origin"])
    return {
        "plan": plan,
        "run": plain(replace(record, steps=steps)),
        "values": _values(walk, titration, store),
        "hardware": plain(walk.plan.hardware),
        "recipe_text": recipe.text,
        "recipe_file": Path(recipe.file).name,
        "looks": looks,
    }


def _file_only(place: str) -> str:
    """Leave the folder out of "folder/x.yaml:3:1": the same recipe, named from elsewhere, gives the same report."""
    found = _PLACE.fullmatch(place)
    return found[1] if found else place


def look_of(walk: Walk) -> tuple[str, str]:
    """Return the digests of a run's evaluation rows and of what was judged on them, the latter "" for nothing."""
    results = (record.result for record in walk.records.values() if record.result is not None)
    return evaluation_digest(results), looked(walk.plan, walk.records.values())


def _values(walk: Walk, titration: Titration, store: Store) -> dict[str, Any]:
    plan = walk.plan
    timings: dict[str, Any] = {}
    for search in plan.searches:
        figures = store.value(walk.artifacts[search.timings]) if search.timings in walk.artifacts else {}
        timings |= {name: timing for name, timing in figures.items() if "failed" not in timing}
    judged = [candidate for candidate in plan.candidates if candidate.id in titration.judgements]
    answers = {
        candidate.id: value
        for candidate in judged
        if (value := _beside(walk, store, candidate.judgement, "answers")) is not None
    }
    return {
        "timings": timings,
        "quality": {
            candidate.id: store.value(walk.artifacts[candidate.quality])
            for candidate in plan.candidates
            if candidate.quality in walk.artifacts
        },
        "point": _shipped_value(walk, store, "operating_point"),
        "curves": _curves(walk, store),
        "answers": answers,
        "files": _files(plan, walk, titration, store),
    }


def _beside(walk: Walk, store: Store, reference: str, port: str) -> Any:
    """Return another output of the step that a "step.port" names, if it has one."""
    artifact = walk.artifacts.get(f"{reference.rpartition('.')[0]}.{port}")
    return None if artifact is None else store.value(artifact)


def _shipped_value(walk: Walk, store: Store, name: str) -> Any:
    artifact = walk.artifacts.get(walk.plan.shipped.get(name, ""))
    return None if artifact is None else store.value(artifact)


def _curves(walk: Walk, store: Store) -> Any:
    """Return the learning curves of the step that trained, the last one if several did; epochs count from 1."""
    found = [walk.artifacts[f"{step.id}.curves"] for step in walk.plan.steps if f"{step.id}.curves" in walk.artifacts]
    if not found:
        return None
    curves = store.value(found[-1])
    best = curves.get("best_epoch") if isinstance(curves, Mapping) else None
    return curves if best is None else {**curves, "best_epoch": best + 1}


def _files(plan: Plan, walk: Walk, titration: Titration, store: Store) -> Mapping[str, str]:
    """Name the file, below the run folder, of every candidate that a search ended with."""
    candidates = {candidate.id: candidate for candidate in plan.candidates}
    folder = "outputs" if titration.released else "quarantine"
    return {
        name: f"{folder}/{released_path(search.name, store.manifest(walk.artifacts[candidates[name].model]))}"
        for search in plan.searches
        if (name := titration.best.get(search.name)) is not None
    }
