"""The report's sentences: the verdict and its ground, advice from the measurements, and earlier looks at the rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from titrant.runtime.contract.company import serving_advice
from titrant.runtime.contract.release.waivers import needless_waivers
from titrant.runtime.contract.verdict import beyond, beyond_words, original_misses
from titrant.runtime.report.candidates import Shown, shown_candidates
from titrant.runtime.report.contract import open_gates
from titrant.runtime.report.record_view import ModelTimings, Record, Timing, cases, gate_slice, gate_title, listed
from titrant.runtime.report.savings import faster, speed_gain
from titrant.schema.contract.waivers import WAIVED, needless_words, waiver_words
from titrant.schema.gain import gains_words, speed_words
from titrant.schema.gate import NOT_SHOWN, Contract, Gate, GateResult, Judgement, asked_of_original, threshold_words
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
    names = listed([f"“{lead.id}”" for lead in released])
    gained = _gained(released)
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


def _gained(released: list[Shown]) -> str:
    """Say what each released candidate gains over the plain conversion and the original, also where that is nothing."""
    said = [(lead.id, words) for lead in released if (words := gains_words(lead.record.gains))]
    if len(released) == 1:
        return "".join(f"; {words}" for _, words in said)
    return "".join(f"; “{name}”: {words}" for name, words in said)


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


SLOW = 1.1  # a candidate counts as slower than the original from here


def advice(record: Record, leads: tuple[Shown, ...]) -> tuple[str, ...]:
    """Gather what the rules have to say, each sentence once."""
    sentences = (sentence for rule in RULES for sentence in rule(record, leads))
    return tuple(dict.fromkeys(sentences))


def _unproven(record: Record, leads: tuple[Shown, ...]) -> Iterator[tuple[Gate, GateResult]]:
    gates = {gate.id: gate for gate in record.plan.contract.gates}
    for lead in leads:
        for result in open_gates(lead.judgement) if lead.judgement else ():
            if result.gate in gates:
                yield gates[result.gate], result


def _more_cases(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    for gate, result in _unproven(record, leads):
        # What was planned for assumed shares; where some were seen, they alone say how many cases would do.
        needed = result.needed_cases if result.assessable else gate.needed_cases
        if result.verdict != "INCONCLUSIVE" or needed is None or result.cases is None:
            continue
        if needed > result.cases:
            about = f"{gate_title(gate)} on {gate_slice(gate)}" if gate.slice != "all" else gate_title(gate)
            assumed = f" (assuming: {gate.assumption})" if gate.assumption else ""
            if result.assessable:
                least = needed == gate.min_cases
                assumed = " (the least that min_cases allows)" if least else " (with the shares that were seen)"
            yield (
                f"{about}: proving it takes {cases(needed)} in the evaluation rows that count for this gate, for a "
                f"power of 0.8{assumed}; there are {result.cases:,}. "
                f"Add {needed - result.cases:,}, or give the evaluation role a larger share of the data."
            )


def _not_assessable(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    for gate, result in _unproven(record, leads):
        if result.estimate is None and result.method != NOT_SHOWN:
            because = result.reason or gate.assumption or "no reason was given"
            yield f"{gate_title(gate)} could not be assessed: {because}."


def _broken(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    for lead in leads:
        failed = [
            gate
            for gate, result in _unproven(record, (lead,))
            if result.verdict == "FAIL" and not original_misses(gate, result)
        ]
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
        words = {
            batch: _slower_words(original.batches[batch], timing)
            for batch, timing in lead.timings.batches.items()
            if batch in original.batches
        }
        slow = [batch for batch in words if words[batch]]
        fast = [batch for batch in words if batch not in slow]
        if slow:
            instead = f": serve it in batches of {fast[0]}" if fast else ""
            yield f"“{lead.id}” is {words[slow[-1]]} than the original in batches of {slow[-1]}{instead}."


def _slower_words(before: Timing, after: Timing) -> str:
    """Say how much slower a candidate is; "" where it is not, or nothing tells."""
    gain = speed_gain(before, after)
    if gain is None:
        return faster(before.p50, after.p50) if after.p50 > SLOW * before.p50 else ""
    return speed_words(gain) if gain.verdict == "worse" else ""


def _too_busy(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    """Say which candidates a busy machine kept from being chosen or turned down by their speed."""
    candidates = shown_candidates(record)
    for search in record.plan.searches:
        for lead in leads:
            others = [candidates[name] for name in search.candidates if lead.id in search.candidates]
            untold = [
                f"“{other.id}”"
                for other in others
                if other.record.status == "measured" and _untold(lead, other, search.timing_batch)
            ]
            if untold:
                yield (
                    f"The machine was too busy to tell whether {listed(untold)} would be faster than “{lead.id}”: run "
                    "it again on a quieter one, which times them anew."
                )


def _untold(lead: Shown, other: Shown, batch: int) -> bool:
    before, after = lead.timing(batch), other.timing(batch)
    gain = speed_gain(before, after) if before and after else None
    return gain is not None and gain.busy and gain.verdict == "unknown"


def _original_misses(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    for gate, result in _unproven(record, leads):
        if original_misses(gate, result):
            about = f"{gate_title(gate)} on {gate_slice(gate)}" if gate.slice != "all" else gate_title(gate)
            yield (
                f"{about}: the original itself reaches {result.original:.4f}, where {threshold_words(gate)} is asked. "
                "No candidate made of it is likely to pass: train or choose a better model first."
            )


def _depends_on_batch(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    seen = record.values.invariance
    yield from serving_advice({lead.id: seen[lead.id] for lead in leads if lead.id in seen})


def _keep_the_original(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    if not record.run.released and not record.run.original_misses:
        aside = "; the candidate in quarantine/ is there to be looked at, not to be shipped" if leads else ""
        yield f"Go on serving the original model{aside}."


def _needless(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    for lead in leads:
        if lead.judgement and lead.released:
            for waiver in needless_waivers(record.plan.contract, lead.judgement):
                yield f"“{lead.id}”: {needless_words(waiver)}."


AdviceRule = Callable[[Record, tuple[Shown, ...]], Iterator[str]]
RULES: tuple[AdviceRule, ...] = (
    _original_misses,
    _keep_the_original,
    _broken,
    _more_cases,
    _not_assessable,
    _depends_on_batch,
    _slower,
    _too_busy,
    _needless,
)


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
