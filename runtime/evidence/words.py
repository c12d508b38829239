"""What every document of the pack says in the same words: gates, figures, the model, its data, what is not known."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from titrant.runtime.evidence.facts import ReleasedModel, RunFacts
from titrant.schema.contract.waivers import waiver_words
from titrant.schema.gate import LATENCIES, Gate, GateResult
from titrant.schema.record import UNKNOWN, CandidateRecord, RunRecord
from titrant.schema.values.text import inline, row
from titrant.schema.values.units import format_size, format_time

# Stands where a document of this form has a field that no run can know.
NOT_KNOWN = "Not known to titrant: to be filled in by whoever is responsible for the model."
NO_CLAIM = (
    "titrant wrote this document from the record of a run. It states what was done and measured. It is no declaration "
    "of conformity with any law, regulation or standard, and no assessment by anybody."
)
# Formats of numbers that no quantization makes.
_WIDE = {"fp64", "fp32", "tf32", "fp16", "bf16"}

_TASKS: Mapping[str, str] = {
    "binary_classification": "tells two classes apart",
    "multiclass_classification": "tells several classes apart",
    "multilabel_classification": "says of each of several labels whether it applies",
    "regression": "predicts a number",
    "segmentation": "marks regions of an image",
    "detection": "finds objects in an image",
    "language_modeling": "predicts text",
    "embedding": "turns a case into a vector",
    "unlabeled": "answers cases for which there are no labels; its answers are compared with the original's",
}


def task_words(task: str) -> str:
    """Say what a model of a task does."""
    return _TASKS.get(task, "answers cases")


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Write a Markdown table; every cell is made safe, and an empty one is a dash."""
    titles = tuple(head)
    lines = [row(titles), row("---" for _ in titles)]
    return [*lines, *(row(inline(cell) if str(cell) else "–" for cell in cells) for cells in rows)]


def bullets(items: Iterable[str]) -> list[str]:
    """Write a list of texts that are made safe."""
    return [f"- {inline(item)}" for item in items]


def text_of(lines: Iterable[str]) -> str:
    """Join the lines of a document, with one line end at its end."""
    return "\n".join(lines).rstrip() + "\n"


def gate_words(gate: Gate) -> str:
    """Name what a gate judges: its metric, and the cases where these are not all."""
    metric = gate.metric.replace("_", " ")
    return metric if gate.slice == "all" else f"{metric}, {gate.slice}"


def figure(value: float | None, unit: str = "") -> str:
    """Write a figure in its unit, a fraction with up to six digits; "" where there is none."""
    if value is None:
        return ""
    if unit == "s":
        return format_time(value)
    if unit == "B":
        return format_size(round(value))
    return f"{value:.6g} {unit}".rstrip()


def bounds_words(gate: Gate, result: GateResult) -> str:
    """Write a gate's one-sided bounds."""
    ends = [figure(value, gate.unit) or "not bounded" for value in (result.lower, result.upper)]
    return "" if result.lower is None and result.upper is None else f"{ends[0]} to {ends[1]}"


def waiver_lines(record: CandidateRecord) -> list[str]:
    """Say which gates of a candidate waivers let through, and by whom, why and until when."""
    return [f"{waived.gate} {waived.verdict}: {waiver_words(waived)}" for waived in record.waived]


def verdict_words(run: RunRecord) -> str:
    """Say how a run ended, as its record has it."""
    released = f"released: {', '.join(run.released)}" if run.released else "nothing is released"
    return f"{run.verdict}; {released}"


def all_cases(facts: RunFacts, model: ReleasedModel) -> Mapping[str, Any]:
    """Return the row of both models' metrics on all evaluation cases; {} where nothing of that is kept."""
    rows = (facts.values.get("metrics") or {}).get(model.candidate.id, ())
    return next((of_slice for of_slice in rows if not of_slice["group"] and not of_slice["value"]), {})


def slices(facts: RunFacts, model: ReleasedModel) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what the report shows of each slice, by its name; groups with too few cases have no figures there."""
    for of_slice in (facts.values.get("metrics") or {}).get(model.candidate.id, ()):
        named = f"{of_slice['group']}: {of_slice['value']}" if of_slice["group"] else str(of_slice["value"])
        yield named or "all cases", of_slice


def timings(facts: RunFacts, model: ReleasedModel) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield batch size, the original's timing and the model's, of the runs that chose."""
    every = facts.values.get("timings") or {}
    before, after = every.get("original", {}), every.get(model.candidate.id, {})
    for batch in sorted((int(name) for name in after if str(name).isdecimal()), key=int):
        yield batch, before.get(str(batch), {}), after[str(batch)]


def latency_of(model: ReleasedModel) -> list[tuple[str, float]]:
    """Return a model's latencies by name, in seconds of one batch."""
    return [(name, model.became.figures[name]) for name in LATENCIES if name in model.became.figures]


def precisions(model: ReleasedModel) -> Mapping[str, int]:
    """Count the layers by the precision in which the engine runs them."""
    counts: dict[str, int] = {}
    for layer in model.became.layers:
        counts[layer.executed] = counts.get(layer.executed, 0) + 1
    return dict(sorted(counts.items()))


def method_words(model: ReleasedModel) -> str:
    """Name what was done to the original."""
    made = "conversion without a change of precision" if model.candidate.method == "none" else model.candidate.method
    return f"{made}, as {model.candidate.format} for {model.candidate.engine}"


def is_quantized(facts: RunFacts, model: ReleasedModel) -> bool:
    """Whether the engine runs a layer in fewer than 16 bits; by what made it where the engine does not tell."""
    read_back = {layer.executed for layer in model.became.layers} - {UNKNOWN}
    if read_back:
        return bool(read_back - _WIDE)
    made = (step for step in facts.plan.steps if step.candidate == model.candidate.id)
    return any(step.operator[:9] == "quantize." for step in made)


_MODEL_FILES = ("onnx", "torchscript", "exported")


def original_name(facts: RunFacts) -> str:
    """Name the original: the class that the recipe names, or the stem of its file."""
    for step in facts.plan.steps:
        if step.operator.startswith("model.load"):
            factory = step.params.get("factory")
            if factory:
                return str(factory).rpartition(":")[2].rpartition(".")[2]
    return _file_stem(facts.recipe_text) or f"{facts.plan.name}-original"


def _file_stem(recipe: str) -> str:
    """Return the stem of the file that a recipe names as its model; "" where its own text names none."""
    import yaml

    try:
        model = (yaml.safe_load(recipe) or {}).get("model") or {}
        return next((PurePosixPath(str(model[kind])).stem for kind in _MODEL_FILES if kind in model), "")
    except (yaml.YAMLError, AttributeError, TypeError):
        return ""


def tensors(facts: RunFacts, side: str) -> list[str]:
    """Describe the original's `inputs` or `outputs`: name, type and shape."""
    loading = (step.params.get(side) for step in facts.plan.steps if step.operator.startswith("model.load"))
    specs: Sequence[Mapping[str, Any]] = next(filter(None, loading), ())
    return [f"{spec['name']}: {spec['dtype']} ({', '.join(str(size) for size in spec['shape'])})" for spec in specs]


def data_sources(facts: RunFacts) -> list[tuple[str, str]]:
    """Return each source of data: its name in the recipe, and what it is, without where it lay."""
    named = []
    for step in facts.steps_of("data.load"):
        for name, source in step.params.get("sources", {}).items():
            kinds = [f"{kind}: {_kind(value)}" for kind, value in source.items() if value and kind in _SOURCES]
            named.append((str(name), ", ".join(kinds)))
    return named


_SOURCES = ("csv", "parquet", "npz", "image_folder", "factory", "sklearn", "text", "huggingface")


def _kind(value: Any) -> str:
    """Name a source by its own name where it has one, a file by its digest: where it lay is nobody's business."""
    if isinstance(value, Mapping):
        return f"file with digest {str(value.get('digest', ''))[:16]}"
    return value if isinstance(value, str) else f"{len(value)} files"


def transform_names(facts: RunFacts) -> list[str]:
    """Return the transforms that stand before the model, in order."""
    steps = facts.steps_of("data.transform")
    return [str(item.get("name")) for step in steps for item in step.params.get("transforms", ())]


def training(facts: RunFacts) -> Mapping[str, Any]:
    """Return the parameters of the training that made the original; {} where its weights were given."""
    return next((step.params for step in facts.steps_of("train.fit") if not step.candidate), {})
