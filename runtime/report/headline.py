"""The report's first sentences: the verdict, its ground, and earlier looks at the rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from titrant.runtime.contract.verdict import beyond, beyond_words, original_misses
from titrant.runtime.report.candidates import Shown, original_bytes
from titrant.runtime.report.contract import open_gates
from titrant.runtime.report.record_view import Record, gate_slice, gate_title, listed, quantity
from titrant.schema.contract.waivers import WAIVED, waiver_words
from titrant.schema.gain import gains_words, speed_words
from titrant.schema.gain_parts import ORIGINAL, fastest, fp32_files
from titrant.schema.gate import NOT_SHOWN, Contract, GateResult, Judgement, asked_of_original
from titrant.schema.open_looks import OPEN
from titrant.schema.plan import CandidateSearch
from titrant.schema.record import Look


@dataclass(frozen=True)
class Headline:
    """The verdict's word, its symbol and tone (pass, warn, fail), one sentence, and the ground for it."""

    word: str
    symbol: str
    tone: str
    sentence: str
    ground: str


def headline(record: Record, leads: tuple[Shown, ...]) -> Headline:
    """Say what became of a run; `leads` are the candidates that its searches ended with."""
    released = [lead for lead in leads if lead.released]
    if len(released) == len(record.plan.searches):
        return _released(record, released)
    verdict = record.run.verdict
    if released:
        names = listed([f"“{lead.id}”" for lead in released])
        ids = {lead.id for lead in released}
        missing = [search for search in record.plan.searches if not ids & set(search.candidates)]
        unmade = [search.rung or search.format for search in missing if search.name in record.run.unmade]
        missed = [search.rung or search.format for search in missing if search.name not in record.run.unmade]
        parts = [f"nothing kept the contract for {listed(missed)}"] * bool(missed)
        parts += [f"nothing could be made for {listed(unmade)}"] * bool(unmade)
        sentence = f"Released {names}; {' and '.join(parts)}."
        grounds = [_ground(record, leads)] * bool(missed) + list(_unmade(record, missing))
        return Headline(verdict, "✕", "fail", sentence, " ".join(grounds))
    tone, symbol = ("warn", "?") if verdict == "INCONCLUSIVE" else ("fail", "✕")
    original = record.run.original
    if original is not None and not original.released:
        asked = asked_of_original(record.plan.contract)
        sentence = f"Not released: the original model itself misses the contract's {asked}."
        return Headline(verdict, symbol, tone, sentence, _missed(record, original))
    if record.run.original_misses:
        sentence = "Not released: the original model itself misses the contract, and no candidate is to blame."
        return Headline(verdict, symbol, tone, sentence, _ground(record, leads))
    return Headline(verdict, symbol, tone, "Not released: keep the original model.", _ground(record, leads))


def _released(record: Record, released: list[Shown]) -> Headline:
    names = listed([f"“{lead.id}”{_file_words(record, lead)}" for lead in released])
    gained = _gained(record, released)
    judgements = [lead.judgement for lead in released if lead.judgement]
    gates = sum(len(judgement.results) for judgement in judgements)
    look = record.run.look
    confidence = f"{1 - look.share if look is not None and look.share else record.plan.contract.confidence:g}"
    if all(judgement.proven for judgement in judgements):
        ground = f"Every gate is proven on evaluation rows: {_gates(gates)}, one-sided at confidence {confidence}."
        return Headline("PASS", "✓", "pass", f"Released {names}: the contract is kept{gained}.", ground)
    if any(lead.record.waived for lead in released):
        return _waived(released, f"{names}{gained}", gates)
    unproven = [result for judgement in judgements for result in open_gates(judgement)]
    likely = [result for result in unproven if result.estimate is not None or result.method == NOT_SHOWN]
    unknown = [result for result in unproven if result not in likely]
    parts = [f"{len(unproven)} of {_gates(gates)} could not be proven at confidence {confidence}."]
    if likely:
        parts.append(f"A point estimate that meets the threshold, and no proof: {_named(record, likely)}.")
    if unknown:
        parts.append(f"Not assessable, and asked for by the level only: {_named(record, unknown)}.")
    ground = " ".join([*parts, "This contract asks for evidence, not for proof."])
    return Headline("NOT PROVEN", "≈", "warn", f"Released {names}, not proven{gained}.", ground)


def _waived(released: list[Shown], what: str, gates: int) -> Headline:
    """Say what waivers let through; what is released besides is not called proven here."""
    waived = [gate for lead in released for gate in lead.record.waived]
    answers = [f"{gate.gate} answers {gate.verdict}, {waiver_words(gate)}" for gate in waived]
    ground = f"{len(waived)} of {_gates(gates)} did not pass and are let through: {'; '.join(answers)}."
    return Headline(WAIVED, "!", "warn", f"Released with waivers: {what}.", ground)


def _gained(record: Record, released: list[Shown]) -> str:
    """Say of each released candidate its size and its speed against the unoptimized files, also where that is nothing.

    Against the plain conversion and the original first, then which unoptimized file is the fastest of all.
    """
    said = [(lead.id, _about(record, lead)) for lead in released]
    if len(released) == 1:
        return "".join(f"; {words}" for _, words in said if words)
    return "".join(f"; “{name}”: {words}" for name, words in said if words)


def _about(record: Record, lead: Shown) -> str:
    gained = gains_words(lead.record.gains)
    processor = record.hardware.cpu or record.hardware.machine
    parts = [f"{gained}, on {processor}" if gained else "", _best_words(record, lead)]
    return "; ".join(part for part in parts if part)


def _best_words(record: Record, lead: Shown) -> str:
    """Compare with the fastest unoptimized file of any engine, in which nothing but the file and the engine changed."""
    search = next((search for search in record.plan.searches if lead.id in search.candidates), None)
    if search is None or not lead.record.gains:
        return ""

    def seconds(name: str) -> float | None:
        timings = record.values.timings.get(name)
        timing = None if timings is None else timings.batches.get(search.timing_batch)
        return None if timing is None else timing.p50

    best = fastest(fp32_files(record.plan, search), seconds)
    over = lead.record.parts.over_fastest if lead.record.parts else None
    if best is None:
        return ""
    if best == lead.id:
        return "no other unoptimized file is faster"
    if over is not None and over.speed is not None:
        return f"against {over.before}, the fastest unoptimized file, {speed_words(over.speed)}"
    if best == ORIGINAL:
        return "the original is the fastest unoptimized file"
    return f"{best} is the fastest unoptimized file"


def _file_words(record: Record, lead: Shown) -> str:
    """Say which file a released candidate is and what it takes: " (x.onnx, 13.1 KiB, 0.31 of the original)"."""
    file = record.values.files.get(lead.id, "").rpartition("/")[2]
    before, size = original_bytes(record), lead.record.size
    share = f", {size / before:.2f} of the original" if before and size is not None else ""
    parts = [part for part in (file, "" if size is None else f"{quantity(size, 'B')}{share}") if part]
    return f" ({', '.join(parts)})" if parts else ""


def _ground(record: Record, leads: tuple[Shown, ...]) -> str:
    kept_out = [lead for lead in leads if lead.judgement and not lead.released]
    if not kept_out:
        return "No candidate reached the evaluation rows; the candidates table says why."
    return " ".join(_why(record, lead.id, lead.judgement) for lead in kept_out if lead.judgement)


def _unmade(record: Record, searches: Sequence[CandidateSearch]) -> Iterator[str]:
    """Say why the candidates of searches that have none left were rejected, in the words of the candidates table."""
    names = {name for search in searches if search.name in record.run.unmade for name in search.candidates}
    for candidate in record.run.candidates:
        if candidate.candidate in names:
            yield f"“{candidate.candidate}” was not made: {candidate.because}."


def _missed(record: Record, original: Judgement) -> str:
    """Say what the original was asked and what it reached; no candidate was judged, and none is to blame."""
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    missed = [
        f"{gate_title(gates[result.gate])}: {_reached(result)}, {gates[result.gate].threshold:g} asked"
        for result in open_gates(original)
        if result.gate in gates
    ]
    return f"On evaluation rows, {'; '.join(missed)}. No candidate was made: train or choose a better model first."


def _reached(result: GateResult) -> str:
    if result.estimate is None:
        return NOT_SHOWN if result.method == NOT_SHOWN else f"not assessable ({result.reason})"
    bound = "" if result.lower is None else f" (lower bound {result.lower:.4f})"
    return f"{result.estimate:.4f} reached{bound}"


def _why(record: Record, candidate: str, judgement: Judgement) -> str:
    gates = _gates(len(judgement.results))
    inherited = [result for result in open_gates(judgement) if _inherited(record, result)]
    before = ""
    if inherited:
        before = f"The original itself misses {len(inherited)} of {gates}: {_named(record, inherited)}. "
    if record.run.original_misses:
        return before.rstrip()
    failed = [result for result in judgement.results if result.verdict == "FAIL" and result not in inherited]
    if failed:
        return f"{before}“{candidate}” breaks {len(failed)} of {gates}: {_named(record, failed)}."
    unproven = [result for result in open_gates(judgement) if result not in inherited]
    if not unproven:
        return f"“{candidate}” keeps {gates} and was still not released; its row in the candidates table says why."
    why = "with an estimate that misses its threshold, or none at all"
    if record.plan.contract.require == "proof":
        why = "and this contract requires proof"
    return f"{before}“{candidate}” leaves {len(unproven)} of {gates} unproven, {why}: {_named(record, unproven)}."


def _inherited(record: Record, result: GateResult) -> bool:
    """Whether the original itself misses what a candidate was found to miss."""
    return any(gate.id == result.gate and original_misses(gate, result) for gate in record.plan.contract.gates)


def _gates(count: int) -> str:
    return f"{count} gate" + ("" if count == 1 else "s")


def _named(record: Record, results: Sequence[GateResult]) -> str:
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    names = []
    for result in results:
        gate = gates.get(result.gate)
        if gate:
            names.append(gate_title(gate) + ("" if gate.slice == "all" else f" on {gate_slice(gate)}"))
    return listed(names[:4] + ([f"{len(names) - 4} more"] if len(names) > 4 else []))


def _open_sentence(look: Look) -> str:
    unknown = "" if look.with_ledger else " Neither this home nor a lock knows of any earlier look."
    models = "the first model" if look.models == 1 else f"{look.models} models so far"
    return (
        f"Look number {look.number} at these evaluation rows, with {models}: its gates may pass wrongly with a chance "
        f"of {look.share:.3g}, and all looks together with no more than is allowed, however many there will be."
        f"{unknown}"
    )


def looks_sentence(look: Look | None, contract: Contract) -> str:
    """Say which look at its evaluation rows a run was, and what that does to the proof; "" where that is not known."""
    if look is None:
        return ""
    if beyond(contract, look):
        words = beyond_words(look, contract)
        return f"{words[0].upper()}{words[1:]}. Until then nothing on these rows is proven."
    if contract.looks == OPEN:
        return _open_sentence(look)
    if look.number > 1 or contract.looks > 1:
        planned = "planned one" if contract.looks == 1 else f"{contract.looks} planned ones"
        return f"Look number {look.number} of {planned} at these evaluation rows: they share what may go wrong."
    if not look.with_ledger:
        return (
            "First look at these evaluation rows, as far as is known: neither this home nor a lock beside the recipe "
            "knows of any earlier look."
        )
    return "First look at these evaluation rows: no other models had been judged on them before in this home."
