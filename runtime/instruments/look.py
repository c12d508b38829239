"""Answer, in a child process, what is asked of the inside of models: health, attention, or two side by side.

The request: {"look": "health", "attention" or "comparison", "seed": int, "subjects": [subject, …], "rows": rows or
null}. A subject is {"name", "file"}, {"name", "artifact"}, or {"name", "operator", "params", "data"} of an operator
that loads a model, with what its recipe's data are.
Rows are {"drawn": count, "specs": [[name, shape, dtype], …]}, {"file": path} or {"artifact", "most": count}; "tokens"
lets the first row's whole numbers be named.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from titrant.runtime import catalog
from titrant.runtime.api import apply
from titrant.runtime.instruments.attention.capture import attention_of
from titrant.runtime.instruments.attention.seen import seen, token_names
from titrant.runtime.instruments.comparison.compare import compare
from titrant.runtime.instruments.health.look import health_of
from titrant.runtime.instruments.subject.inputs import read_inputs, seeded_inputs
from titrant.runtime.instruments.subject.subject import InspectedModel, subject_of
from titrant.schema.facts import DataFacts
from titrant.schema.record import Artifact
from titrant.schema.values.canonical import plain, read_back

LoadArtifact = Callable[[Artifact], Any]


def answer(
    request: Mapping[str, Any], load: LoadArtifact, watching: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> dict[str, Any]:
    """Open the subjects and return {"seen": what was seen}; `load` reads artifacts of the store.

    `watching` notes meanwhile which of the user's files are read. Raises what opening, and `health_of`, `attention_of`
    and `compare` do.
    """
    with watching():
        return {"seen": plain(_seen(request, load))}


def _seen(request: Mapping[str, Any], load: LoadArtifact) -> Any:
    subjects = [_opened(each, int(request["seed"]), load) for each in request["subjects"]]
    inputs = None if request["rows"] is None else _inputs(request["rows"], subjects, int(request["seed"]), load)
    work: Mapping[str, Callable[[], Any]] = {
        "health": lambda: health_of(subjects[0], inputs),
        "attention": lambda: seen(
            attention_of(subjects[0], inputs), token_names(inputs or {}) if request.get("tokens") else ()
        ),
        "comparison": lambda: compare(subjects[0], subjects[1], inputs),
    }
    return work[request["look"]]()


def _opened(subject: Mapping[str, Any], seed: int, load: LoadArtifact) -> InspectedModel:
    if "file" in subject:
        return subject_of(Path(subject["file"]), subject["name"])
    if "artifact" in subject:
        return subject_of(load(Artifact(**subject["artifact"])), subject["name"])
    given, data = dict(subject["params"]), subject.get("data")
    facts = None if data is None else read_back(DataFacts, data)
    if facts is not None and "args" in given:
        from titrant.runtime.inspect.torch import resolve_args

        given["args"] = resolve_args(given["args"], facts)
    params = catalog.get(subject["operator"]).params.model_validate_json(json.dumps(given))
    opened = subject_of(apply(subject["operator"], {}, params, seed=seed).outputs["model"], subject["name"])
    if facts is None or opened.specs:
        return opened
    return replace(opened, specs=tuple((spec.name, spec.shape, spec.dtype) for spec in facts.inputs))


def _inputs(
    rows: Mapping[str, Any], subjects: Sequence[InspectedModel], seed: int, load: LoadArtifact
) -> Mapping[str, np.ndarray]:
    if "file" in rows:
        return read_inputs(Path(rows["file"]))
    if "artifact" in rows:
        return {name: array[: rows["most"]] for name, array in load(Artifact(**rows["artifact"])).inputs.items()}
    specs = tuple((name, tuple(shape), dtype) for name, shape, dtype in rows["specs"])
    speaking = next((subject for subject in subjects if subject.specs), subjects[0])
    return seeded_inputs(speaking, rows["drawn"], seed, specs)
