"""Judge all gates of one candidate and say whether it may be released."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from titrant.runtime.catalog import Context
from titrant.runtime.contract.answers import read_answers, same_answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.gates import judge, meets
from titrant.runtime.report.answers import Answers, count_answers
from titrant.runtime.values import Outputs, Rows
from titrant.schema.gate import Gate, GateResult, Judgement, Verdict


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
    """Judge every gate, and return what they were judged on beside it; see `validate.contract`."""
    labelled = params.task != "unlabeled" and rows.labels is not None
    old = read_answers(params, rows, original, point) if labelled else None
    new = read_answers(params, rows, candidate, point) if labelled else None
    alike = old.decisions == new.decisions if old and new else same_answers(params, original, candidate)
    name, batch = params.timing or params.candidate, str(params.timing_batch)
    timing = (timings or {}).get(name)
    evidence = Evidence(
        rows=rows,
        original=old,
        candidate=new,
        alike=np.asarray(alike, bool),
        size_bytes=size_of(model),
        timing=None if timing is None else timing.get(batch),
        original_timing=(timings or {}).get("original", {}).get(batch),
        batch=params.timing_batch,
        peak_bytes=None if timing is None else timing.get("peak_bytes"),
        confidence=params.confidence,
        generator=context.generator,
    )
    gates = [entry.gate() for entry in params.gates]
    results = tuple(judge(gate, evidence) for gate in gates)
    return judgement(params.candidate, gates, results, params.require), evidence


def judgement(candidate: str, gates: list[Gate], results: tuple[GateResult, ...], require: str) -> Judgement:
    """Combine gates: the verdict is the worst; `require` says whether good evidence is enough for a release.

    Under evidence, an INCONCLUSIVE gate is let through when its estimate meets the threshold, or when the recipe
    lacks the facts to assess it at all. A contract without gates is INCONCLUSIVE: it proves nothing.
    """
    verdicts = {result.verdict for result in results}
    worst: Verdict = "FAIL" if "FAIL" in verdicts else "PASS" if verdicts == {"PASS"} else "INCONCLUSIVE"
    proven = worst == "PASS"
    let_through = require == "evidence" and all(
        result.verdict == "PASS"
        or (result.verdict == "INCONCLUSIVE" and (meets(gate, result.estimate) or gate.test == "not_assessable"))
        for gate, result in zip(gates, results, strict=True)
    )
    return Judgement(candidate, worst, proven or let_through, proven, results)


def size_of(model: Any) -> int:
    """Return the bytes of a model's file, or of a live module's tensors."""
    path: Path | None = getattr(model, "path", None)
    if path is not None:
        return path.stat().st_size
    return sum(tensor.nbytes for tensor in model.module.state_dict().values())


def changed_decisions(evidence: Evidence) -> Answers | None:
    """Count both models' decisions by class; None where there are no classes. No case can be told from it."""
    if evidence.original is None or evidence.candidate is None:
        return None
    rows = evidence.rows
    before, after = evidence.original.decisions, evidence.candidate.decisions
    return count_answers(rows.classes, rows.labels, before, after, rows.positive)
