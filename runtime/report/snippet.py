"""How to use a released file: with titrant, and without it."""

from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.record_view import Record
from titrant.schema.plan import Search

# format → what follows the stem of the released file
EXTENSIONS = {"onnx": "onnx", "torchscript": "pt", "torch": "safetensors"}

WITH_TITRANT = """\
import titrant

model = titrant.load("RUN")  # this run's folder; transforms, model and operating point together
answers = model(rows)  # raw columns, as the recipe's data source gives them
"""
ONNX = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file!r})
names = [given.name for given in session.get_inputs()]{names}
outputs = session.run(None, {{names[0]: batch}})[0]  # batch: {transforms}
{decide}
"""
TORCHSCRIPT = """\
import numpy as np
import torch

model = torch.jit.load({file!r}).eval()
with torch.inference_mode():
    outputs = model(batch).numpy()  # batch: {transforms}
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
    without = loader.format(
        file=file, names=_names(record), transforms=_transforms(record), decide=_decide(record)
    ).rstrip("\n")
    return Usage(candidate.id, file, WITH_TITRANT.rstrip("\n"), without)


def _names(record: Record) -> str:
    for step in record.plan.steps:
        if step.operator.startswith("model.load") and step.params.get("inputs"):
            return "  # " + ", ".join(_shape(spec) for spec in step.params["inputs"]).replace("\n", " ")
    return ""


def _shape(spec: dict) -> str:
    shape = " × ".join(str(size) for size in spec.get("shape", ())) or "?"
    return f"{spec.get('name', '?')}: {shape} {spec.get('dtype', '')}".rstrip()


def _transforms(record: Record) -> str:
    for step in record.plan.steps:
        if step.operator == "data.transform":
            names = [str(one.get("name", one)) for one in step.params.get("transforms", ())]
            if names:
                return f"after {', '.join(names)}, as fitted in outputs/".replace("\n", " ")
    return "the model's inputs as they are"


def _decide(record: Record) -> str:
    """Turn raw outputs into decisions as the contract read them, in NumPy."""
    point = record.values.point
    if record.plan.task == "unlabeled" or point is None:
        return "answers = outputs"
    if point.kind != "threshold" or point.threshold is None:
        return "decisions = np.asarray(outputs).argmax(axis=1)  # index of the class"
    answers = next(iter(record.values.answers.values()), None)
    index = 1 if answers is None or answers.positive is None else answers.positive
    logits, columns = _reading(record)
    if columns == 1:
        probability = "1 / (1 + np.exp(-outputs[:, 0]))" if logits else "outputs[:, 0]"
        return f"positive = {probability} >= {point.threshold!r}  # the operating point"
    lines = ["scores = np.exp(outputs - outputs.max(axis=1, keepdims=True))"] if logits else []
    probability = f"scores[:, {index}] / scores.sum(axis=1)" if logits else f"outputs[:, {index}]"
    return "\n".join([*lines, f"positive = {probability} >= {point.threshold!r}  # the operating point"])


def _reading(record: Record) -> tuple[bool, int]:
    """Say whether the judged output holds logits, and how many columns it has (0: unknown)."""
    kinds: dict[str, str] = {}
    columns = 0
    for step in record.plan.steps:
        kinds = kinds or dict(step.params.get("kinds") or {})
        if step.operator.startswith("model.load") and step.params.get("outputs"):
            shape = step.params["outputs"][0].get("shape") or ()
            columns = shape[-1] if len(shape) > 1 and isinstance(shape[-1], int) else 1
    return next(iter(kinds.values()), "logits") == "logits", columns
