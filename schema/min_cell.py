"""What a record, a lock and a report may show of small groups: a figure about very few cases tells of persons."""

from collections.abc import Iterable
from dataclasses import replace

from titrant.schema.gate import AS_PLANNED, LATENCIES, NOT_SHOWN, Contract, Gate, GateResult, Judgement, slice_of
from titrant.schema.plan import Plan
from titrant.schema.values.units import MIN_CELL, is_small

REPORT = "report.render"
# They count the cases that a model decided in some way: a share over a large group tells as much, and is shown.
_BY_ANSWERS = ("kept", "precision")
# They count bytes and runs of a clock, not cases.
_OF_NO_CASES = (*LATENCIES, "throughput", "size", "peak_memory", AS_PLANNED)


def min_cell(plan: Plan) -> int:
    """Return from how many cases on a plan's report shows a group; plans of older versions do not say."""
    return next(
        (int(step.params.get("min_cell", MIN_CELL)) for step in plan.steps if step.operator == REPORT), MIN_CELL
    )


def without_small_groups(contract: Contract, judgement: Judgement, least: int) -> Judgement:
    """Return a judgement as it may leave the home: verdicts stay, figures on fewer than `least` cases go.

    Nothing of a small group is shown but its verdict. Counts that would give its size away go too: those of the other
    values of its subgroup, of the other classes, and of what differs from another count by fewer than `least` cases.
    How many cases of a large group a model decided in some way stays: it is what is proven.
    """
    gates = {gate.id: gate for gate in contract.gates}
    about = [(result, gates.get(result.gate)) for result in judgement.results]
    small = {result.gate for result, gate in about if gate is not None and _is_small(gate, result, least)}
    parted = {part for result, gate in about if gate is not None and result.gate in small for part in [_parts(gate)]}
    counted = [
        result.cases
        for result, gate in about
        if gate is not None
        and _counts_cases(gate, result)
        and gate.metric not in _BY_ANSWERS
        and result.gate not in small
        and result.cases is not None
    ]
    results = []
    for result, gate in about:
        if result.gate in small or (gate is not None and _tells_why(gate, result, parted)):
            results.append(_hidden(result, least))
        elif gate is not None and _counts_cases(gate, result) and _gives_away(gate, result, parted, counted, least):
            results.append(_without_counts(result, least))
        else:
            results.append(result)
    return replace(judgement, results=tuple(results))


def _counts_cases(gate: Gate, result: GateResult) -> bool:
    return gate.metric not in _OF_NO_CASES and result.assessable


def _is_small(gate: Gate, result: GateResult, least: int) -> bool:
    if not _counts_cases(gate, result):
        return False
    counts = [count for count in (result.cases, result.units) if count is not None]
    return any(is_small(count, least) for count in counts)


def _parts(gate: Gate) -> str:
    """Name what a gate's slice is one part of: the classes, or the values of a subgroup; "" for every case."""
    cases = slice_of(gate)
    return cases.group if cases.kind == "subgroup" else "class" if cases.kind == "class" else ""


def _gives_away(gate: Gate, result: GateResult, parted: set[str], counted: Iterable[int], least: int) -> bool:
    """Tell whether a count and another that is shown differ by a small group, or add up with one to a whole."""
    if gate.metric in _BY_ANSWERS and not _of_subgroup(gate):
        return False
    if _parts(gate) and _parts(gate) in parted:
        return True
    cases = result.cases or 0
    return any(is_small(other - cases, least) for other in counted)


def _tells_why(gate: Gate, result: GateResult, parted: set[str]) -> bool:
    """Tell whether what kept a gate from being assessed may be about a small group of the subgroup that it compares."""
    return not result.assessable and _of_subgroup(gate) and _parts(gate) in parted


def _of_subgroup(gate: Gate) -> bool:
    return slice_of(gate).kind == "subgroup"


def _hidden(result: GateResult, least: int) -> GateResult:
    return replace(
        result, estimate=None, lower=None, upper=None, original=None, candidate=None, cases=None, units=None,
        changed=None, needed_cases=None, p_value=None, method=NOT_SHOWN,
        reason=f"it is about fewer than {least} cases, whose figures are not shown (report.min_cell)",
    )  # fmt: skip


def _without_counts(result: GateResult, least: int) -> GateResult:
    return replace(
        result, cases=None, units=None, changed=None, needed_cases=None, p_value=None,
        reason=f"its counts are not shown: they would give away a group of fewer than {least} cases (report.min_cell)",
    )  # fmt: skip
