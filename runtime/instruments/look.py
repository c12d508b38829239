"""Answer, in a child process, what is asked of models: health, attention, two side by side, or what advice rests on.

The request: {"look": "health", "attention", "comparison" or "advice", "seed": int, "subjects": [subject, …], "rows":
rows or null}. A subject is {"name", "file"}, {"name", "artifact"}, or {"name", "operator", "params", "data"} of an
operator that loads a model, with what its recipe's data are.
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
from titrant.runtime.backends import backend
from titrant.runtime.instruments.advice import measured
from titrant.runtime.instruments.attention.capture import attention_of
from titrant.runtime.instruments.attention.seen import seen, token_names
from titrant.runtime.instruments.comparison.compare import compare
from titrant.runtime.instruments.health.look import health_of
from titrant.runtime.instruments.subject.inputs import read_inputs, seeded_inputs
from titrant.runtime.instruments.subject.subject import InspectedModel, subject_of
from titrant.runtime.values import TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
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
    values = [_value(each, int(request["seed"]), load) for each in request["subjects"]]
    subjects = [_opened(each, value) for each, value in zip(request["subjects"], values, strict=True)]
    inputs: Mapping[str, np.ndarray] | None = None
    if request["rows"] is not None:  # of a file without a model there are none to draw, and it is refused by name
        runs = subjects[0].runs
        inputs = _inputs(request["rows"], subjects, int(request["seed"]), load) if runs else {}
    work: Mapping[str, Callable[[], Any]] = {
        "health": lambda: health_of(subjects[0], inputs),
        "attention": lambda: seen(
            attention_of(subjects[0], inputs),
            token_names(inputs or {}) if request.get("tokens") else (),
            subjects[0].notes,
        ),
        "comparison": lambda: compare(subjects[0], subjects[1], inputs),
        "advice": lambda: measured(_of_kind(values[0], subjects[0]), inputs or {}),
    }
    return work[request["look"]]()


def _value(subject: Mapping[str, Any], seed: int, load: LoadArtifact) -> Any:
    """Return a model as operators hand it on, or the path of a file."""
    if "file" in subject:
        return Path(subject["file"])
    if "artifact" in subject:
        return load(Artifact(**subject["artifact"]))
    given, facts = dict(subject["params"]), _data(subject)
    if facts is not None and "args" in given:
        from titrant.runtime.inspect.torch import resolve_args

        given["args"] = resolve_args(given["args"], facts)
    params = catalog.get(subject["operator"]).params.model_validate_json(json.dumps(given))
    return apply(subject["operator"], {}, params, seed=seed).outputs["model"]


def _of_kind(value: Any, opened: InspectedModel) -> Any:
    """Return a model that engines run, of a file too; RecipeError P080 for a file that none runs."""
    if not isinstance(value, Path):
        unnamed = isinstance(value, TorchModel) and not value.inputs
        return replace(value, inputs=opened.specs) if unnamed else value
    kinds = [kind for kind in backend.kinds().values() if kind.file and kind.suffix == value.suffix.lower()]
    if not kinds:
        message = f"{value.name} is of no kind that is timed"
        raise RecipeError(Diagnostic("P080", message, help="give an .onnx, .pt2 or TorchScript file, or a factory"))
    return kinds[0].load(value)


def _data(subject: Mapping[str, Any]) -> DataFacts | None:
    return None if subject.get("data") is None else read_back(DataFacts, subject["data"])


def _opened(subject: Mapping[str, Any], value: Any) -> InspectedModel:
    opened, facts = subject_of(value, subject["name"]), _data(subject)
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
