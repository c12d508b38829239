"""What would help, from what was measured: small rules over the record, each saying one thing or nothing."""

from collections.abc import Callable, Iterator

from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.contract_rows import open_gates
from titrant.runtime.report.record_view import ModelTimings, Record
from titrant.runtime.report.savings import faster
from titrant.runtime.report.words import cases, gate_slice, gate_title
from titrant.schema.gate import Gate, GateResult

SLOW = 1.1  # a candidate counts as slower than the original from here


def advice(record: Record, leads: tuple[Shown, ...]) -> tuple[str, ...]:
    """Gather what the rules have to say, each sentence once."""
    found = (sentence for rule in RULES for sentence in rule(record, leads))
    return tuple(dict.fromkeys(found))


def _unproven(record: Record, leads: tuple[Shown, ...]) -> Iterator[tuple[Gate, GateResult]]:
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    for lead in leads:
        for result in open_gates(lead.judgement) if lead.judgement else ():
            if result.gate in gates:
                yield gates[result.gate], result


def _more_cases(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    for gate, result in _unproven(record, leads):
        needed = result.needed_cases if result.needed_cases is not None else gate.needed_cases
        if result.verdict == "INCONCLUSIVE" and needed is not None and needed > result.cases:
            about = f"{gate_title(gate)} on {gate_slice(gate)}" if gate.slice != "all" else gate_title(gate)
            assumed = f" (assuming: {gate.assumption})" if gate.assumption else ""
            yield (
                f"{about}: proving it takes {cases(needed)} in the evaluation rows that count for this gate, for a "
                f"power of 0.8{assumed}; there are {result.cases:,}. "
                f"Add {needed - result.cases:,}, or give the evaluation role a larger share of the data."
            )


def _not_assessable(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    for gate, result in _unproven(record, leads):
        if result.estimate is None:
            why = (result.reason or gate.assumption).removeprefix("not assessable").lstrip(": ")
            yield f"{gate_title(gate)} could not be assessed: {why or 'no reason was given'}."


def _broken(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    for lead in leads:
        failed = [gate for gate, result in _unproven(record, (lead,)) if result.verdict == "FAIL"]
        quality = [gate for gate in failed if gate.preset != "target"]
        if quality and lead.planned.method != "none":
            yield (
                f"“{lead.id}” loses more than {gate_title(quality[0])} allows: a gentler level or method, or more "
                "calibration rows, may keep it."
            )
        if len(quality) < len(failed):
            yield f"“{lead.id}” misses a limit of `target`: try a more aggressive level, or a limit that it can reach."


def _slower(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    original = record.values.timings.get("original", ModelTimings({}))
    for lead in leads:
        pairs = {
            batch: (original.batches[batch].p50, timing.p50)
            for batch, timing in lead.timings.batches.items()
            if batch in original.batches
        }
        slow = [batch for batch, (before, after) in pairs.items() if after > SLOW * before]
        fast = [batch for batch in pairs if batch not in slow]
        if slow:
            words = faster(*pairs[slow[-1]])
            instead = f": serve it in batches of {fast[0]}" if fast else ""
            yield f"“{lead.id}” is {words} than the original in batches of {slow[-1]}{instead}."


def _keep_the_original(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    if not record.run.released:
        aside = "; the candidate in quarantine/ is there to be looked at, not to be shipped" if leads else ""
        yield f"Go on serving the original model{aside}."


Rule = Callable[[Record, tuple[Shown, ...]], Iterator[str]]
RULES: tuple[Rule, ...] = (_keep_the_original, _broken, _more_cases, _not_assessable, _slower)
