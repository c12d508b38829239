"""Whom a candidate harms: the classes and subgroups whose gates it does not keep and whose metric became worse."""

from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.main_metric import main_gate, worsening
from titrant.runtime.report.record_view import Record, cases, quantity
from titrant.schema.gate import Gate, GateResult, slice_of


@dataclass(frozen=True)
class Harm:
    """One class or subgroup that became worse; `shown`: by a FAIL, else nothing rules it out.

    `before` and `after` are its metric on the same evaluation rows, `cases` how many there are ("" where that is not
    told).
    """

    candidate: str
    group: str
    metric: str
    before: str
    after: str
    cases: str
    shown: bool
    loss: float

    @property
    def sentence(self) -> str:
        """Say it in a line: "site B: sensitivity 0.9500 → 0.6000 (60 cases)"."""
        counted = f" ({self.cases})" if self.cases else ""
        return f"{self.group}: {self.metric} {self.before} → {self.after}{counted}"


@dataclass(frozen=True)
class Harmed:
    """What one candidate does to groups, the worst first, beside what it does to all cases together."""

    candidate: str
    released: bool
    groups: tuple[Harm, ...]
    all: str

    @property
    def lead(self) -> str:
        """Begin the sentence about them."""
        if self.released:
            return "Became worse, and not shown to be harmless"
        word = "harms" if self.groups[0].shown else "may harm"
        return f"“{self.candidate}” {word}"


def harmed(record: Record, candidates: tuple[Shown, ...]) -> tuple[Harmed, ...]:
    """Return each judged candidate that makes a class or a subgroup worse by a gate that it does not keep."""
    harming = []
    for candidate in candidates:
        groups = _groups(record, candidate)
        if groups:
            harming.append(Harmed(candidate.id, candidate.released, groups, _all(record, candidate)))
    return tuple(harming)


def _groups(record: Record, candidate: Shown) -> tuple[Harm, ...]:
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    results = candidate.judgement.results if candidate.judgement else ()
    worst: dict[tuple[str, str], Harm] = {}
    for result in results:
        gate = gates.get(result.gate)
        harm = None if gate is None or result.verdict == "PASS" else _harm(candidate, gate, result)
        if harm is not None:
            former = worst.get((harm.group, harm.metric))
            if former is None or (harm.shown, harm.loss) > (former.shown, former.loss):
                worst[harm.group, harm.metric] = harm
    return tuple(sorted(worst.values(), key=lambda harm: (not harm.shown, -harm.loss)))


def _harm(candidate: Shown, gate: Gate, result: GateResult) -> Harm | None:
    cases_of = slice_of(gate)
    before, after = result.original, result.candidate
    if cases_of.kind == "all" or cases_of.other is not None or before is None or after is None:
        return None
    loss = worsening(gate, before, after)
    if loss <= 0:
        return None
    group = f"class {cases_of.class_name}" if cases_of.kind == "class" else f"{cases_of.group} {cases_of.value}"
    first, second = (quantity(value, gate.unit) for value in (before, after))
    counted = "" if result.cases is None else cases(result.cases)
    shown = result.verdict == "FAIL"
    return Harm(candidate.id, group, gate.metric.replace("_", " "), first, second, counted, shown, loss)


def _all(record: Record, candidate: Shown) -> str:
    """Say what became of all cases together: "accuracy 0.9300 → 0.9250"; "" where no gate says."""
    gate = main_gate(record.plan.contract)
    results = candidate.judgement.results if candidate.judgement else ()
    result = next((each for each in results if gate is not None and each.gate == gate.id), None)
    if gate is None or result is None or result.original is None or result.candidate is None:
        return ""
    before, after = (quantity(value, gate.unit) for value in (result.original, result.candidate))
    return f"{gate.metric.replace('_', ' ')} {before} → {after}"
