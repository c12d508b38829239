"""Read a plan as tables by name, without what is only said about it, so that two plans can be compared."""

from typing import Any

from titrant.schema.canonical import plain
from titrant.schema.plan import Decision, Plan, without_paths

Table = dict[str, Any]


def decisions(plan: Plan) -> dict[str, Decision]:
    """Return the decisions by subject; a second one of the same subject carries its number ("model 2")."""
    found: dict[str, Decision] = {}
    for decision in plan.decisions:
        name, count = decision.subject, 1
        while name in found:
            count += 1
            name = f"{decision.subject} {count}"
        found[name] = decision
    return found


def settled(decision: Decision) -> Table:
    """Return what a decision settles: asked, chosen, and what was rejected; the text itself of one that only notes."""
    value = {"asked": decision.asked, "chosen": decision.chosen, "rejected": [one.value for one in decision.rejected]}
    return value | {"noted": decision.because} if decision.rule.endswith(".noted") else value


def gates(plan: Plan) -> Table:
    """Return the contract's rows by id, with how strictly they are read; places and planning are left out."""
    rows: Table = {gate.id: plain(gate) for gate in plan.contract.gates}
    for row in rows.values():
        for words in ("id", "origin", "assumption", "needed_cases", "available_cases"):
            del row[words]
    return {"confidence": plan.contract.confidence, "require": plan.contract.require, **rows}


def steps(plan: Plan) -> Table:
    """Return the steps by id: what each does, to what. The gates that a step judges are told by `gates`."""
    rows: Table = {step.id: plain(step) for step in plan.steps}
    for row in rows.values():
        del row["id"], row["because"], row["prediction"], row["frees"]
        row["params"] = {name: value for name, value in without_paths(row["params"]).items() if name != "gates"}
    return rows


def candidates(plan: Plan) -> Table:
    """Return the candidates by id."""
    rows: Table = {candidate.id: plain(candidate) for candidate in plan.candidates}
    for row in rows.values():
        del row["id"], row["predicted_bytes"]
    return rows


def predictions(plan: Plan) -> Table:
    """Return what each step, and each candidate's file, is expected to cost."""
    figures = ("seconds", "peak_bytes", "output_bytes")
    rows: Table = {step.id: {name: getattr(step.prediction, name) for name in figures} for step in plan.steps}
    return rows | {f"file of {one.id}": {"output_bytes": one.predicted_bytes} for one in plan.candidates}


def settings(plan: Plan) -> Table:
    """Return what holds for the whole plan."""
    names = ("name", "task", "language", "threads", "timing_threads", "deterministic", "original", "original_engine")
    return {name: getattr(plan, name) for name in names} | {
        "searches": plain(plan.searches),
        "shipped": plain(plan.shipped),
    }
