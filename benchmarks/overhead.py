"""Measure what the executor costs over the same work in one script.

    python benchmarks/overhead.py [--runs 3] [--only cheap|digits]

The script calls the operators of a finished run one after the other, in one process, on the values as they come: no
store, no keys, no journal, no second process. Both are whole processes that are given a plan, and take turns. Prints
where the executor's time goes, from its journal, and exits 1 when the budget (0.6 s + 15 ms a step + 3 % of the work,
50 MiB) is missed.
"""

import argparse
import copy
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# What a worker is given before it starts, so that the script does the same work.
SETTINGS = {"PYTHONHASHSEED": "42", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
RECIPES = {
    "cheap": ("breast_cancer", ["--set", "train.epochs=1", "--set", "profile.iterations=60"]),
    "digits": ("digits_cnn", []),
}


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, **SETTINGS, "TITRANT_HOME": str(home), "CI": "true"}


def timed(arguments: list[str], home: Path) -> tuple[float, dict[str, float]]:
    """Run this file in a process of its own; return its wall seconds, and what it prints of itself."""
    begun = time.perf_counter()
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment(home), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, json.loads(done.stdout.splitlines()[-1])


def peak_mib(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def execute(plan: Path) -> None:
    """Be the executor's process."""
    import titrant
    from titrant.api.planned import load

    record = titrant.run(load(plan))
    own, worker = peak_mib(resource.RUSAGE_SELF), peak_mib(resource.RUSAGE_CHILDREN)
    print(json.dumps({"steps": record.executed, "own": own, "worker": worker}))


def script(run: Path) -> None:
    """Be the script: the steps that ran, in the plan's order."""
    import numpy as np
    import torch

    from titrant.runtime import catalog
    from titrant.runtime.api import PlainContext

    np.random.seed(0)
    torch.set_num_threads(1)
    plan = json.loads((run / "plan.json").read_text("utf-8"))
    record = json.loads((run / "record.json").read_text("utf-8"))
    ran = {step["step"] for step in record["steps"] if step["status"] == "finished"}
    values: dict[str, Any] = {"run.record": _record(run, record)}
    steps = sorted((s for s in plan["steps"] if s["id"] in ran), key=lambda s: s["stage"] == "report")
    with tempfile.TemporaryDirectory() as folder:
        for step in steps:
            found = catalog.get(step["operator"])
            exact = plan["deterministic"] and found.determinism != "measured"
            torch.manual_seed(step["seed"])
            torch.set_deterministic_debug_mode("error" if exact else "default")
            scratch = Path(folder) / step["id"]
            scratch.mkdir()
            inputs = {port: _given(values, source) for port, source in step["inputs"].items()}
            inputs |= {port: copy.deepcopy(inputs[port]) for port in found.consumes}
            params = found.params.model_validate_json(json.dumps(step["params"]))
            made = found.run(params, PlainContext(step["seed"], plan["threads"], scratch), **inputs)
            values |= {f"{step['id']}.{port}": value for port, value in made.items()}
    print(json.dumps({"steps": len(steps), "own": peak_mib(resource.RUSAGE_SELF)}))


def _given(values: Mapping[str, Any], source: str | Mapping[str, str]) -> Any:
    if isinstance(source, str):
        return values[source]
    return {name: values[reference] for name, reference in source.items() if reference in values}


def _record(run: Path, record: Mapping[str, Any]) -> Any:
    """Take what the report was made of out of the store."""
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.home import Home
    from titrant.schema.record import Artifact

    home = Home(run.parents[1])
    key = next(step["key"] for step in record["steps"] if step["step"] == "report")
    digest = json.loads((home.results / key / "key.json").read_text("utf-8"))["inputs"]["record"]
    return Store(home).value(Artifact("value", digest, 0))


def stages(run: Path) -> dict[str, float]:
    """Say from a journal where the time outside of steps went, in seconds."""
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text("utf-8").splitlines()]
    at = [(event["event"], datetime.fromisoformat(event["time"]).timestamp(), event) for event in events]
    found = {
        "to the first step": 0.0,
        "in steps beside their own work": 0.0,
        "between steps": 0.0,
        "after the last": 0.0,
    }
    begun, end, started = at[0][1], None, 0.0
    for event, when, entry in at:
        if event == "started":
            found["to the first step" if end is None else "between steps"] += when - (begun if end is None else end)
            started = when
        elif event == "finished":
            found["in steps beside their own work"] += when - started - entry["seconds"]
            end = when
        elif event == "closed" and end is not None:
            found["after the last"] = when - end
    return found


def measure(name: str, runs: int) -> bool:
    """Compare executor and script; return whether the budget is kept."""
    recipe, more = RECIPES[name]
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first"
        plan = Path(folder) / "plan.json"
        titrant = [sys.executable, "-m", "titrant"]
        file = str(ROOT / "recipes" / f"{recipe}.yaml")
        subprocess.run([*titrant, "plan", "-q", file, *more, "--out", plan], env=environment(first), check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        timed(["--execute", str(plan)], first)
        (run,) = (first / "runs").iterdir()
        ours, theirs, told = [], [], []
        for turn in range(runs):
            home = Path(folder) / f"home{turn}"
            ours.append(timed(["--execute", str(plan)], home))
            theirs.append(timed(["--script", str(run)], first))
            (mine,) = (home / "runs").iterdir()
            told.append(stages(mine))
        return _say(name, ours, theirs, told)


def _say(
    name: str,
    ours: list[tuple[float, dict[str, float]]],
    theirs: list[tuple[float, dict[str, float]]],
    told: list[dict[str, float]],
) -> bool:
    steps = int(ours[0][1]["steps"])
    work = statistics.median(seconds for seconds, _ in theirs)
    over = statistics.median(a - b for (a, _), (b, _) in zip(ours, theirs, strict=True))
    budget = 0.6 + 0.015 * steps + 0.03 * work
    memory = statistics.median(a["own"] + a["worker"] - b["own"] for (_, a), (_, b) in zip(ours, theirs, strict=True))
    own = statistics.median(a["own"] for _, a in ours)
    for stage in told[0]:
        print(f"        {stage:<34} {statistics.median(one[stage] for one in told):7.3f} s")
    print(f"        the script {work:.2f} s; the executor's own process {own:.0f} MiB at its peak")
    kept = over <= budget
    word = "kept  " if kept else "MISSED"
    print(f"{word}  {name}: {over:.2f} s over the script, {steps} steps; budget ≤ {budget:.2f} s")
    print(
        f"{'kept  ' if memory <= 50 else 'MISSED'}  {name}: {memory:.0f} MiB over the script; budget ≤ 50 MiB",
        flush=True,
    )
    return kept and memory <= 50


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=tuple(RECIPES))
    parser.add_argument("--execute", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--script", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.execute:
        execute(options.execute)
    elif options.script:
        script(options.script)
    else:
        kept = [measure(name, options.runs) for name in RECIPES if options.only in (None, name)]
        sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
