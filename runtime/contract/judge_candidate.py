"""Gather the evidence on one candidate and judge it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.catalog import Context
from titrant.runtime.contract.answers import read_answers, same_answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judgement
from titrant.runtime.contract.reading import Reading
from titrant.runtime.report.answers import Answers, count_answers
from titrant.runtime.values import OnnxModel, Outputs, Rows, TorchScriptModel
from titrant.schema.gate import Contract, Judgement


def judge_candidate(
    params: Any,
    context: Context,
    *,
    rows: Rows,
    original: Outputs,
    candidate: Outputs,
    point: Mapping[str, Any],
    model: Any,
    timings: Mapping[str, Any] | None,
) -> tuple[Judgement, Evidence]:
    """Judge every gate, and return what they were judged on beside it; see `validate.contract` for the arguments."""
    contract = Contract(tuple(gate.gate() for gate in params.gates), params.confidence, params.require)
    timed = timings or {}
    evidence = replace(
        gather(params, rows, original, candidate, point),
        confidence=params.confidence,
        figures=timed.get(params.timing or params.candidate),
        original_figures=timed.get("original"),
        timing_batch=params.timing_batch,
        size=file_bytes(model, context.scratch) if any(gate.metric == "size" for gate in contract.gates) else None,
        seed=context.seed,
    )
    return judgement(contract, params.candidate, evidence), evidence


def gather(reading: Reading, rows: Rows, original: Outputs, candidate: Outputs, point: Mapping[str, Any]) -> Evidence:
    """Read both models' outputs; StepError X420 when they do not fit each other, the rows or the classes."""
    if reading.task == "unlabeled" or rows.labels is None:
        return Evidence(rows, None, None, same_answers(reading, rows, original, candidate))
    old, new = (read_answers(reading, rows, outputs, point) for outputs in (original, candidate))
    return Evidence(rows, old, new, old.decisions == new.decisions)


def changed_decisions(evidence: Evidence) -> Answers | None:
    """Count both models' decisions by class; None where there are no classes. No case can be told from it."""
    if evidence.original is None or evidence.candidate is None:
        return None
    rows, before, after = evidence.rows, evidence.original.decisions, evidence.candidate.decisions
    return count_answers(rows.classes, rows.labels, before, after, rows.positive)


def file_bytes(model: Any, scratch: Path) -> int:
    """Return the bytes that a released model takes on disk: the file, or all files of a torch model as it is saved."""
    if isinstance(model, (OnnxModel, TorchScriptModel)):
        return model.path.stat().st_size
    from titrant.runtime import kinds

    folder = scratch / "size"
    folder.mkdir(parents=True, exist_ok=True)
    kinds.save("torch", model, folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
