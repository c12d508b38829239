"""Where a report's figures come from and where they hold, and the code that loads a released file.

The figures come with digests, machine, instruction set and libraries; a file is loaded with titrant or without it.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from titrant.runtime.backends import backend
from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.record_view import Record
from titrant.schema.plan import GIVEN, CandidateSearch, Step, judged_batch, plan_digest, takes_columns
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.release import DOCUMENTS, FOLDER, evidence_of
from titrant.schema.values.units import format_size


@dataclass(frozen=True)
class Fact:
    """One line of evidence; `code` says that the value is a digest or a name to be compared letter by letter."""

    name: str
    value: str
    code: bool = False


def environment(record: Record) -> tuple[Fact, ...]:
    """List the machine and what ran on it."""
    machine = record.hardware
    memory = "unknown" if machine.memory_bytes is None else format_size(machine.memory_bytes)
    gpus = tuple(Fact("accelerator", f"{gpu.name} ({gpu.kind})") for gpu in machine.gpus)
    threads = f"{record.plan.timing_threads} for timing, {record.plan.threads} for work that makes bytes"
    facts = (
        Fact("processor", f"{machine.cpu or machine.machine}, {machine.cores} cores"),
        Fact("instruction set", ", ".join(machine.instructions) or "unknown"),
        *gpus,
        Fact("memory", memory),
        Fact("system", f"{machine.system} on {machine.machine}, Python {machine.python}"),
        Fact("threads", threads),
        Fact("deterministic", "yes" if record.plan.deterministic else "not asked for"),
        Fact("libraries", ", ".join(f"{name} {version}" for name, version in sorted(machine.packages.items()))),
    )
    extra = tuple(Fact(name, value) for name, value in sorted(record.run.environment.items()))
    documents = [DOCUMENTS[name].title for name in evidence_of(record.plan)]
    extra += (Fact("evidence", f"in the folder {FOLDER} beside this report: {', '.join(documents)}"),) * bool(documents)
    return tuple(fact for fact in facts + extra if fact.value)


def rerun_lines(record: Record) -> str:
    """Write the commands that do this run again: from its record, and from the recipe by the decisions of its lock.

    No lock is beside a recipe that is no file, nor of a judgement of a file from elsewhere, which `run` would not do.
    """
    digest = record.run.plan_digest or plan_digest(record.plan)
    # A run's folder ends in the first digits of its plan.
    lines = [f"titrant rerun {digest[:8]}  # or the folder of this page"]
    given = any(candidate.method == GIVEN for candidate in record.plan.candidates)
    if Path(record.recipe_file).suffix in (".yaml", ".yml") and not given:
        lines.append(f"titrant run {shlex.quote(record.recipe_file)} --locked  # as its lock decided")
    return "\n".join(lines)


def digests(record: Record, leads: tuple[Shown, ...]) -> tuple[Fact, ...]:
    """List what identifies the recipe, the plan, the inputs and the files, so that anybody can compare."""
    files = tuple(
        Fact(f"{'released' if lead.released else 'not released'}: {lead.id}", digest, code=True)
        for lead in leads
        if (digest := _artifact(record, lead.planned.model))
    )
    return (
        Fact("plan", record.run.plan_digest or plan_digest(record.plan), code=True),
        Fact("recipe", record.plan.recipe_digest, code=True),
        Fact("model as given", record.plan.model_digest, code=True),
        Fact("data", record.plan.data_digest, code=True),
        *files,
    )


def _artifact(record: Record, reference: str) -> str:
    step, _, port = reference.rpartition(".")
    for done in record.run.steps:
        if done.step == step and done.result and port in done.result.outputs:
            return done.result.outputs[port].digest
    return ""


def validity(record: Record) -> str:
    """Say for which machines the figures hold."""
    machine = record.hardware
    names = ", ".join(machine.instructions) or "unknown"
    text = (
        f"These numbers hold only for this instruction set ({machine.machine}: {names}). Integer arithmetic differs "
        "between processors, in speed and in its answers; run the recipe again on the machine that is to serve it."
    )
    if record.hardware.instructions != record.plan.hardware.instructions:
        return text + " The plan was made for another one."
    return text


WITH_TITRANT = """\
import titrant

# RUN is this run's folder: transforms, model, operating point.
model = titrant.load("RUN")
# rows are raw, as the recipe's data source gives them.
answers = model(rows)
"""


@dataclass(frozen=True)
class Usage:
    """One released file and the code that loads it; `without` is empty where that takes titrant, or is not known."""

    candidate: str
    file: str
    with_titrant: str
    without: str


def usage(record: Record, search: CandidateSearch, candidate: Shown) -> Usage:
    """Write the snippets for a released candidate."""
    form = candidate.planned.format
    # Of a record from elsewhere nobody here may know the format.
    kind = backend.kind_of_format(form) if form in backend.formats() else None
    file = record.values.files.get(candidate.id) or f"outputs/{search.name}{kind.suffix if kind else ''}"
    if kind is not None and not PurePosixPath(file).suffix:  # a folder, of which one file names the others
        file = f"{file}/{kind.file}"
    # A model with recurrent state is run over the steps of a case, which a snippet of one call is not.
    recurrent = any(step.params.get("state") for step in record.plan.steps if step.operator.startswith("model.load"))
    inside = takes_columns(record.plan, candidate.planned)
    loader = "" if kind is None or recurrent else kind.columns_snippet if inside else kind.snippet
    batch = f"{'raw columns by name' if inside else _batch(record)}{_judged_in(record, candidate)}"
    if not inside and "{output}" not in loader and _has_several(record):
        loader = ""  # such a snippet calls a model with one array, which gives one
    places = {"file": json.dumps(file), "batch": batch, "output": _judged_place(record), "decide": _decide(record)}
    without = loader.format(**places).rstrip("\n")
    return Usage(candidate.id, file, WITH_TITRANT.rstrip("\n"), without)


def _has_several(record: Record) -> bool:
    """Whether the model takes several arrays or gives several, as far as the plan says."""
    given = [step.params.get("outputs") or () for step in record.plan.steps if step.operator.startswith("model.load")]
    return len(_model_inputs(record)) > 1 or any(len(outputs) > 1 for outputs in given)


def _judged_place(record: Record) -> str:
    """Write where the judged output stands among those of the file, whose `names` the snippet has."""
    stated = [step.params["output"] for step in record.plan.steps if step.params.get("output")]
    return f"names.index({json.dumps(stated[0])})" if stated else "0"


def _model_inputs(record: Record) -> Sequence[Mapping[str, Any]]:
    """Return the inputs of the model that rows are made for."""
    made = [step.params.get("model_inputs") or () for step in record.plan.steps if step.operator == "data.transform"]
    return made[0] if made else ()


def _judged_in(record: Record, candidate: Shown) -> str:
    """Say how many rows at once were judged, and whether it matters."""
    size = judged_batch(record.plan, candidate.planned)
    if size is None:
        return ""
    seen = record.values.invariance.get(candidate.id)
    if seen is not None and seen.depends:
        return f"; answers depend on the batch, so give it {size} rows at once, as were judged"
    return f"; {size} rows at once were judged"


def _batch(record: Record) -> str:
    """Say what the model takes: shape, type and the transforms that come before it."""
    specs = _model_inputs(record) or [spec for step in record.plan.steps for spec in _inputs(step)][:1]
    shapes = [_shape(spec) if len(specs) == 1 else f"{spec.get('name')} {_shape(spec)}" for spec in specs]
    names = [
        str(transform.get("name"))
        for step in record.plan.steps
        if step.operator == "data.transform"
        for transform in step.params.get("transforms", ())
    ]
    fitted = f"after {', '.join(names)} as fitted in outputs/" if names else "as the model takes it"
    named = "a dict of each input's array: " if len(specs) > 1 else ""
    return " ".join(f"{named}{', '.join(shapes)} {fitted}".split())


def _inputs(step: Step) -> Sequence[Mapping[str, Any]]:
    return (step.params.get("inputs") or ()) if step.operator.startswith("model.load") else ()


def _shape(spec: Mapping[str, Any]) -> str:
    shape = ", ".join(str(size) for size in spec.get("shape", ()))
    return f"({shape}) {spec.get('dtype', '')}"


def _decide(record: Record) -> str:
    """Turn raw outputs into decisions as the contract read them, in NumPy."""
    point = record.values.point
    if TASKS[record.plan.task].label != "class" or point is None:
        return "answers = outputs"
    answers = next(iter(record.values.answers.values()), None)
    positive = 1 if answers is None or answers.positive is None else answers.positive
    threshold = point.threshold if point.kind == "threshold" else None
    if point.scored is not None:
        return _by_one_number(_kind(record), point.scored, positive, threshold)
    if threshold is None:
        return "decisions = np.asarray(outputs).argmax(axis=1)"
    if _kind(record) == "logits":
        scores = "scores = np.exp(outputs - outputs.max(axis=1, keepdims=True))"
        return f"{scores}\npositive = scores[:, {positive}] / scores.sum(axis=1) >= {threshold!r}"
    column = f"outputs[:, {positive}]"
    return f"positive = {f'np.exp({column})' if _kind(record) == 'log_probabilities' else column} >= {threshold!r}"


def _by_one_number(kind: str, scored: int, positive: int, threshold: float | None) -> str:
    """Decide by one number a case, (rows,) or (rows, 1), which is about the class `scored` of two."""
    numbers = "np.asarray(outputs).reshape(-1)"
    share = {"logits": f"1 / (1 + np.exp(-{numbers}))", "log_probabilities": f"np.exp({numbers})"}.get(kind, numbers)
    if threshold is None:
        return f"share = {share}\ndecisions = (share {'>' if scored else '<'} 0.5).astype(int)"
    return f"share = {share}\npositive = {'share' if scored == positive else '1 - share'} >= {threshold!r}"


def _kind(record: Record) -> str:
    """Say what the judged output holds: logits, probabilities …"""
    kind = "logits"
    for step in record.plan.steps:
        kinds = step.params.get("kinds") or {}
        kind = kinds.get(step.params.get("output") or next(iter(kinds), ""), kind)
    return kind
