"""How to use a released file: with titrant, and without it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.record_view import Record
from titrant.schema.plan import Search, Step

# format → what follows the stem of the released file
EXTENSIONS = {"onnx": "onnx", "torchscript": "pt", "torch": "safetensors"}

WITH_TITRANT = """\
import titrant

# RUN is this run's folder: transforms, model, operating point.
model = titrant.load("RUN")
# rows are raw, as the recipe's data source gives them.
answers = model(rows)
"""
ONNX = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file})
name = session.get_inputs()[0].name
# batch is {batch}.
outputs = session.run(None, {{name: batch}})[0]
{decide}
"""
TORCHSCRIPT = """\
import numpy as np
import torch

model = torch.jit.load({file}).eval()
# batch is {batch}.
with torch.inference_mode():
    outputs = model(batch).numpy()
{decide}
"""
LOADERS = {"onnx": ONNX, "torchscript": TORCHSCRIPT}


@dataclass(frozen=True)
class Usage:
    """One released file and the code that loads it; `without` is empty for a format that needs the factory."""

    candidate: str
    file: str
    with_titrant: str
    without: str


def usage(record: Record, search: Search, candidate: Shown) -> Usage:
    """Write the snippets for a released candidate."""
    kind = candidate.planned.format
    file = record.values.files.get(candidate.id) or f"outputs/{search.name}.{EXTENSIONS.get(kind, kind)}"
    loader = LOADERS.get(kind, "")
    without = loader.format(file=json.dumps(file), batch=_batch(record), decide=_decide(record)).rstrip("\n")
    return Usage(candidate.id, file, WITH_TITRANT.rstrip("\n"), without)


def _batch(record: Record) -> str:
    """Say what the model takes: shape, type and the transforms that come before it."""
    shapes = [_shape(spec) for step in record.plan.steps for spec in _inputs(step)][:1]
    names = [
        str(one.get("name"))
        for step in record.plan.steps
        if step.operator == "data.transform"
        for one in step.params.get("transforms", ())
    ]
    fitted = f"after {', '.join(names)} as fitted in outputs/" if names else "as the model takes it"
    return " ".join(" ".join([*shapes, fitted]).split())


def _inputs(step: Step) -> Sequence[Mapping[str, Any]]:
    return (step.params.get("inputs") or ()) if step.operator.startswith("model.load") else ()


def _shape(spec: Mapping[str, Any]) -> str:
    shape = ", ".join(str(size) for size in spec.get("shape", ()))
    return f"({shape}) {spec.get('dtype', '')}"


def _decide(record: Record) -> str:
    """Turn raw outputs into decisions as the contract read them, in NumPy."""
    point = record.values.point
    if record.plan.task == "unlabeled" or point is None:
        return "answers = outputs"
    if point.kind != "threshold" or point.threshold is None:
        return "decisions = np.asarray(outputs).argmax(axis=1)"
    answers = next(iter(record.values.answers.values()), None)
    index = 1 if answers is None or answers.positive is None else answers.positive
    logits, columns = _reading(record)
    if columns == 1:
        probability = "1 / (1 + np.exp(-outputs[:, 0]))" if logits else "outputs[:, 0]"
        return f"positive = {probability} >= {point.threshold!r}"
    lines = ["scores = np.exp(outputs - outputs.max(axis=1, keepdims=True))"] if logits else []
    probability = f"scores[:, {index}] / scores.sum(axis=1)" if logits else f"outputs[:, {index}]"
    return "\n".join([*lines, f"positive = {probability} >= {point.threshold!r}"])


def _reading(record: Record) -> tuple[bool, int]:
    """Say whether the judged output holds logits, and how many columns it has (0: unknown)."""
    kinds: dict[str, str] = {}
    columns = 0
    for step in record.plan.steps:
        kinds = kinds or dict(step.params.get("kinds") or {})
        if step.operator.startswith("model.load") and step.params.get("outputs"):
            shape = tuple(step.params["outputs"][0].get("shape") or ())
            last = shape[-1] if shape else 0
            columns = last if isinstance(last, int) else 1
    return next(iter(kinds.values()), "logits") == "logits", columns
