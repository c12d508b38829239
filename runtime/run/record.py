"""Put together what a run did and what it ran in: the record that is kept, environment.json, and the report's value."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.contract.company import PLACES
from titrant.runtime.run.gains import timed_anew
from titrant.runtime.run.outcome import Outcome, candidate_records, ladder, missed_by_original, observed
from titrant.runtime.run.walk import Walk
from titrant.runtime.store.home import Home
from titrant.runtime.store.placed import still_placed
from titrant.runtime.store.run_folder import closed_runs, released_path
from titrant.schema.gate import Judgement
from titrant.schema.min_cell import min_cell, without_small_groups
from titrant.schema.plan import Plan, Prediction, plan_digest, without_paths
from titrant.schema.planned import Planned
from titrant.schema.record import RunRecord, StepRecord, without_file_names
from titrant.schema.release import FOLDER, INDEX, evidence_of
from titrant.schema.values.canonical import plain
from titrant.schema.values.distributions import installed_version, licenses, packages
from titrant.schema.values.frozen import replace
from titrant.schema.values.units import is_small

_GIT_SECONDS = 2
# Where files lie changes nothing, and is another place on another machine.
_PLACES = ("TITRANT_HOME", "TITRANT_RECIPE_FOLDER")
# Variables that a user may have set, and that change kernels, threads, or which code is imported.
_FLAGS = (
    "ATEN_", "BLIS_", "CUBLAS_", "CUDA_", "CUDNN_", "DNNL_", "GOMP_", "HF_", "KMP_", "LD_PRELOAD", "MALLOC_", "MKL_",
    "NCCL_", "NPY_", "NUMEXPR_", "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "OPENVINO_", "ORT_", "PYTHONHASHSEED",
    "PYTHONOPTIMIZE", "PYTHONPATH", "PYTORCH_", "TOKENIZERS_", "TORCH", "TRANSFORMERS_", "XLA_",
)  # fmt: skip
_PLACE = re.compile(r".*/([^/]+:\d+:\d+)")


def describe(planned: Planned, variables: dict[str, str]) -> dict[str, Any]:
    """Return what environment.json holds: no secrets, neither by the names of variables and keys nor by their shape.

    `variables` are those that the worker is given before it starts; `flags` are the user's that can change a result.
    """
    return {
        **capture(planned),
        "recipe_file": str(Path(planned.recipe_file).absolute()),
        "recipe_folder": planned.folder,
        "recipe": written(planned),
        "machine": machine(planned.plan),
        "variables": {name: value for name, value in variables.items() if name not in _PLACES},
        "flags": flags(variables),
        "packages": packages(),
        "licenses": licenses(planned.plan.hardware.packages),
    }


def capture(planned: Planned) -> dict[str, str]:
    """Return versions, threads and flags as a flat mapping; of environment variables only what titrant itself sets."""
    plan = planned.plan
    return {
        "titrant": str(installed_version("titrant")),
        "python": platform.python_version(),
        "system": platform.platform(),
        "threads": str(plan.threads),
        "timing_threads": str(plan.timing_threads),
        "deterministic": str(plan.deterministic).lower(),
        **git_state(planned.folder),
    }


def git_state(folder: str) -> dict[str, str]:
    """Return the commit of the recipe's folder and whether it has changes; nothing outside a repository."""
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _ask_git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return {"git_commit": commit, "git_dirty": "unknown" if changes is None else str(bool(changes)).lower()}


def _ask_git(folder: str, *arguments: str) -> str | None:
    import subprocess

    try:
        command = ["git", "-C", folder, "--no-optional-locks", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def written(planned: Planned) -> dict[str, Any]:
    """Return the recipe as its author wrote it, with its base and overrides, secrets taken out."""
    from titrant.schema.config.secrets import without_secret_lines

    parts = dict(planned.written) or {"text": planned.recipe_text}
    if isinstance(parts.get("base"), Mapping):
        parts["base"] = {**parts["base"], "text": without_secret_lines(str(parts["base"]["text"]))}
    if "overrides" in parts:
        parts["overrides"] = [without_secret_lines(str(override)) for override in parts["overrides"]]
    return {**parts, "text": without_secret_lines(str(parts["text"]))}


def machine(plan: Plan) -> dict[str, Any]:
    """Return what the results hold for: the processor's instruction set, and accelerators with their drivers."""
    hardware = plan.hardware
    return {
        "machine": hardware.machine,
        "cpu": hardware.cpu,
        "cores": hardware.cores,
        "instructions": list(hardware.instructions),
        "accelerators": [
            {"name": gpu.name, "capability": gpu.capability, "driver": gpu.driver} for gpu in hardware.gpus
        ],
    }


def flags(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the interpreter's flags and the user's variables that can change a result, but for those `given` anew."""
    from titrant.schema.config.secrets import redact

    variables = {
        name: value for name, value in sorted(os.environ.items()) if name.startswith(_FLAGS) and name not in given
    }
    python: dict[str, Any] = plain({name: getattr(sys.flags, name) for name in ("optimize", "utf8_mode", "isolated")})
    return {"python": python, "variables": redact(variables)[0]}


def run_record(walk: Walk, outcome: Outcome) -> RunRecord:
    """Return the record of a run but for its id, counts, seconds and environment; it shows no small group."""
    contract, least = walk.plan.contract, min_cell(walk.plan)

    def shown(judgement: Judgement | None) -> Judgement | None:
        return None if judgement is None else without_small_groups(contract, judgement, least)

    candidates = candidate_records(walk, outcome)
    return RunRecord(
        run="",
        name=walk.plan.name,
        plan_digest=plan_digest(walk.plan),
        verdict=outcome.verdict,
        original=shown(outcome.original),
        original_misses=missed_by_original(walk.plan.contract, outcome.judged),
        look=outcome.look and replace(outcome.look, ids=(), numbers=()),  # which rows they were is the home's to know
        exit=outcome.exit,
        steps=step_records(walk),
        candidates=tuple(replace(candidate, judgement=shown(candidate.judgement)) for candidate in candidates),
        released=tuple(outcome.judged.released.values()),
        withheld=outcome.withheld if outcome.judged.released else (),
        unmade=tuple(outcome.chosen.unmade) if outcome.judged.released else (),
        judged_on=outcome.chosen.judged_on,
        ladder=ladder(walk, outcome, candidates),
        executed=0,
        reused=0,
        seconds=0.0,
    )


def same_outcome(record: RunRecord, other: RunRecord) -> bool:
    """Tell whether two runs of a plan had the same keys, outputs, judgements and releases."""
    return _outcome(record) == _outcome(other)


def _outcome(record: RunRecord) -> tuple[Any, ...]:
    steps = {
        step.step: (step.key, {port: made.digest for port, made in step.result.outputs.items()})
        for step in record.steps
        if step.result is not None
    }
    failed = {step.step: step.error for step in record.steps if step.status in ("failed", "rejected")}
    judged = plain({each.candidate: [each.status, each.judgement, each.waived] for each in record.candidates})
    return record.verdict, record.exit, tuple(record.released), plain(record.original), steps, failed, judged


def earlier_run(home: Home, walk: Walk, outcome: Outcome) -> RunRecord | None:
    """Return a run that ended before exactly as this one does, told as one that executed nothing; None without one."""
    mine = run_record(walk, outcome)
    same = (
        record
        for folder, record in closed_runs(home, walk.plan)
        if same_outcome(record, mine) and still_placed(folder, record) and _has_evidence(folder, walk.plan)
    )
    earlier = next(same, None)
    return None if earlier is None else replace(earlier, executed=0, reused=count_with_results(walk))


def _has_evidence(folder: Path, plan: Plan) -> bool:
    """Tell whether a run still has the evidence that its plan asks for."""
    return not evidence_of(plan) or (folder / FOLDER / INDEX).is_file()


def count_with_results(walk: Walk) -> int:
    """Count the steps that have their results."""
    return sum(record.status in ("finished", "reused") for record in walk.records.values())


def step_records(walk: Walk) -> tuple[StepRecord, ...]:
    """Return every step's record in the plan's order; one that nothing asked for is unused."""
    records = (walk.records.get(step.id, StepRecord(step.id, "unused")) for step in walk.plan.steps)
    return tuple(
        record if record.result is None else replace(record, result=without_file_names(record.result))
        for record in records
    )


def report_value(walk: Walk, outcome: Outcome, planned: Planned) -> dict[str, Any]:
    """Return what the report is made of: the same for every run of a plan that gave the same results.

    Whether a step was reused, how long this run took, when it was and where files lay is left out. So is what the plan
    predicts now, after steps were learned from: each result holds what was predicted before it. `look` is the run's at
    its evaluation rows.
    """
    record = run_record(walk, outcome)
    least = min_cell(walk.plan)
    steps = tuple(replace(step, status="finished") if step.status == "reused" else step for step in record.steps)
    plan = plain(walk.plan)
    run = plain(replace(record, steps=steps, judged_on=""))
    del plan["tracking"], run["tracking"]  # who follows a run changes nothing that it found
    for step in plan["steps"]:
        step["params"] = without_paths(step["params"])
        step["prediction"] = plain(Prediction())
    for candidate in plan["candidates"]:
        candidate["predicted_bytes"] = None
    for decision in plan["decisions"]:
        decision["where"] = _file_only(decision["where"])
    for gate in plan["contract"]["gates"]:
        gate["origin"] = _file_only(gate["origin"])
        if gate["available_cases"] is not None and is_small(gate["available_cases"], least):
            gate["available_cases"] = None
    return {
        "plan": plan,
        "run": run,
        "values": _values(walk, outcome),
        "hardware": plain(walk.plan.hardware),
        "recipe_text": planned.recipe_text,
        "recipe_file": Path(planned.recipe_file).name,
        "look": plain(record.look),
    }


def _file_only(place: str) -> str:
    """Leave the folder out of "folder/x.yaml:3:1": the same recipe, named from elsewhere, gives the same report."""
    match = _PLACE.fullmatch(place)
    return match[1] if match else place


def _timed_anew(plan: Plan, judgement: str) -> str:
    """Name the timings that a judgement looked at; "" where it looked at none."""
    contract = next(step for step in plan.steps if step.id == judgement.rpartition(".")[0])
    return str(contract.inputs.get("timings", ""))


def _values(walk: Walk, outcome: Outcome) -> dict[str, Any]:
    plan = walk.plan
    timings: dict[str, Any] = {}
    for search in plan.searches:
        figures = walk.value_if_there(search.timings) or {}
        timings |= {name: timing for name, timing in figures.items() if "failed" not in timing}
    judged = [candidate for candidate in plan.candidates if candidate.id in outcome.judged.judgements]
    ended = [candidate for candidate in judged if candidate.id in outcome.judged.best.values()]
    # One figure of the memory: the one that was judged.
    for candidate in judged if any(gate.metric == "peak_memory" for gate in plan.contract.gates) else ():
        figures = walk.value_if_there(_timed_anew(plan, candidate.judgement)) or {}
        for name in {candidate.id} & set(timings):
            timings[name] = timings[name] | {"peak_bytes": figures.get(name, {}).get("peak_bytes")}
    answers = {
        candidate.id: value
        for candidate in judged
        if (value := walk.value_if_there(_beside(candidate.judgement, "answers"))) is not None
    }
    metrics = {
        candidate.id: value
        for candidate in judged
        if (value := walk.value_if_there(_beside(candidate.judgement, "metrics")))
    }
    reliability = {
        candidate.id: value
        for candidate in judged
        if (value := walk.value_if_there(_beside(candidate.judgement, "reliability")))
    }
    return {
        "timings": timings,
        "judged_timings": {candidate.id: anew for candidate in ended if (anew := timed_anew(walk, candidate))},
        "quality": {
            candidate.id: walk.value(candidate.quality)
            for candidate in plan.candidates
            if candidate.quality in walk.artifacts
        },
        "point": walk.value_if_there(plan.shipped.get("operating_point", "")),
        "curves": _curves(walk),
        "answers": answers,
        "metrics": metrics,
        **({"reliability": reliability} if reliability else {}),
        "invariance": {name: seen for name, seen in _invariance(walk).items() if seen is not None},
        "files": _files(walk, outcome),
        "sensitivity": _sensitivity(walk),
        "proposals": _proposals(walk),
        **({"observed": rows} if (rows := observed(walk)) else {}),
    }


def _invariance(walk: Walk) -> dict[str, Any]:
    """Return whether each candidate's answers depend on the batch, without the places of the rows that were tried."""
    judging = {step.id: step.inputs.get("invariance", "") for step in walk.plan.steps if step.stage == "judge"}
    return {
        candidate.id: _without_places(
            walk.value_if_there(str(judging.get(candidate.judgement.rpartition(".")[0], "")))
            or walk.value_if_there(candidate.invariance)
        )
        for candidate in walk.plan.candidates
    }


def _without_places(seen: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if seen is None else {key: seen[key] for key in seen if key not in PLACES}


def _beside(reference: str, port: str) -> str:
    """Name another output of the step that a "step.port" names."""
    return f"{reference.rpartition('.')[0]}.{port}"


def _curves(walk: Walk) -> Any:
    """Return the learning curves of the step that trained, the last one if several did; epochs count from 1."""
    trained = [f"{step.id}.curves" for step in walk.plan.steps if f"{step.id}.curves" in walk.artifacts]
    if not trained:
        return None
    curves = walk.value(trained[-1])
    best = curves.get("best_epoch") if isinstance(curves, Mapping) else None
    return curves if best is None else {**curves, "best_epoch": best + 1}


def _sensitivity(walk: Walk) -> dict[str, Any]:
    """Return what each region does to the answers in lower precision, by the candidate that mixtures of it mend."""
    steps = {step.id: step for step in walk.plan.steps}
    by_mended: dict[str, Any] = {}
    for candidate in walk.plan.candidates:
        allocating = steps.get(candidate.allocation.rpartition(".")[0])
        value = walk.value_if_there(str(allocating.inputs.get("sensitivity", ""))) if allocating is not None else None
        if value is not None:
            by_mended[candidate.mends] = value
    return by_mended


def _proposals(walk: Walk) -> dict[str, Any]:
    """Return what was expected of each mixture that was proposed, by candidate; not where the search had ended."""
    of_step = {each.id: f"{each.allocation.rpartition('.')[0]}.proposal" for each in walk.plan.candidates}
    values = {name: walk.value_if_there(reference) for name, reference in of_step.items()}
    return {name: value for name, value in values.items() if value is not None and "int8" in value}


def _files(walk: Walk, outcome: Outcome) -> Mapping[str, str]:
    """Name the file, below the run folder, of every candidate that a search ended with."""
    models = {candidate.id: candidate.model for candidate in walk.plan.candidates}
    folder = "outputs" if outcome.judged.released else "quarantine"
    return {
        name: f"{folder}/{released_path(search.name, walk.manifest(models[name]))}"
        for search in walk.plan.searches
        if (name := outcome.judged.put_out.get(search.name)) is not None
    }
