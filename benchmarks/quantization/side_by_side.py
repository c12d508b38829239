"""Time released files in turns, in one process with one thread: python side_by_side.py REQUEST ANSWER (JSON files).

The request is {"files": {name: outputs folder}, "batches": [1, 32], "rows": factory's `module:function`, "args",
"rounds"}; the answer {name: {batch: [process CPU seconds of one run, a round each]}}, in the order of the rounds, which
all files share. A round lets every file run for some 2 ms off the clock and as long on it, in an order drawn anew: what
is shipped runs alone, and finds in the caches what it left there.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_SECONDS = 2e-3


def inputs_of(request: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return real rows by column, of the source that judges where there are several."""
    module, _, function = request["rows"].partition(":")
    given = getattr(importlib.import_module(module), function)(**request["args"])
    rows = given.get("test", given)
    return {name: array[:64] for name, array in rows.items()}


def prepared(folder: str, rows: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray]]:
    """Load a release as users do, and return its session with transformed rows: only the file's run is timed."""
    from titrant.runtime.serve.released import load

    model = load(folder, threads=1)
    session = model._session
    return session, model._inputs(rows)


def batch_of(inputs: Mapping[str, np.ndarray], session: Any, size: int) -> dict[str, np.ndarray]:
    """Take so many rows of what a session asks for, repeated where there are fewer."""
    places = np.arange(size) % len(next(iter(inputs.values())))
    return {name: np.ascontiguousarray(inputs[name][places]) for name in session.input_names}


def call_of(session: Any, batch: Mapping[str, np.ndarray]) -> Callable[[], object]:
    """Return what whoever serves the file calls: the engine's run, without looking at the batch each time."""
    prepared = getattr(session, "prepared", None)
    return partial(session.run, batch) if prepared is None else prepared(batch)


def timed(request: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Let the files take turns."""
    rows, generator = inputs_of(request), np.random.default_rng(0)
    loaded = {name: prepared(folder, rows) for name, folder in request["files"].items()}
    answer: dict[str, dict[str, list[float]]] = {name: {} for name in loaded}
    for size in request["batches"]:
        calls = {name: call_of(session, batch_of(inputs, session, size)) for name, (session, inputs) in loaded.items()}
        repeats = {}
        for name, call in calls.items():
            for _ in range(3):
                call()
            begun = time.process_time()
            call()
            repeats[name] = max(1, round(BLOCK_SECONDS / max(time.process_time() - begun, 1e-6)))
            answer[name][str(size)] = []
        names = list(loaded)
        for _ in range(request["rounds"]):
            for place in generator.permutation(len(names)):
                name = names[place]
                for _ in range(repeats[name]):
                    calls[name]()
                begun = time.process_time()
                for _ in range(repeats[name]):
                    calls[name]()
                answer[name][str(size)].append((time.process_time() - begun) / repeats[name])
    return answer


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(timed(json.loads(Path(sys.argv[1]).read_text("utf-8")))), "utf-8")
