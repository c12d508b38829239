"""What would help, from what was measured: rows to label, methods, layers, batches; never a lower threshold."""

from collections.abc import Callable, Iterator

from titrant.runtime.contract.company import serving_advice
from titrant.runtime.contract.release.waivers import needless_waivers
from titrant.runtime.contract.verdict import original_misses
from titrant.runtime.instruments.advice import MeasuredFacts, advice_from
from titrant.runtime.report.candidates import Shown, shown_candidates
from titrant.runtime.report.contract import open_gates
from titrant.runtime.report.observed.layers import OPERATOR, layer_profile, limits_of
from titrant.runtime.report.record_view import ModelTimings, Record, Timing, cases, gate_slice, gate_title, listed
from titrant.runtime.report.savings import faster, speed_gain
from titrant.schema.contract.waivers import needless_words
from titrant.schema.gain import factor_words, speed_words
from titrant.schema.gate import NOT_SHOWN, Gate, GateResult, threshold_words
from titrant.schema.record import is_unlike
from titrant.schema.values.units import counted, format_size, format_time

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
            yield (
                f"“{lead.id}” misses a limit of `target`: another engine, fewer bits or a smaller network may reach it "
                "(`quantization: {method: auto}`, `level: aggressive`, `reduction`)."
            )


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


def _layers(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    """Say what the layers of a file that were timed speak for."""
    timed = {row.subject: row.value for row in record.values.observed if row.operator == OPERATOR and row.value}
    for lead in leads:
        if lead.id in timed:
            value = timed[lead.id]
            facts = MeasuredFacts(layer_profile(lead.id, value), limits=limits_of(value["limits"]), kept=True)
            for piece in advice_from(facts):
                line = f" (`{piece.line.partition('#')[0].strip()}`)" if piece.line else ""
                yield f"“{lead.id}”: {piece.words}{line}"


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
    return gain is not None and gain.busy and gain.verdict == "unknown" and gain.lower is not None


def _nothing_gained(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    """Say of what is released that an unoptimized file is as fast or faster, which loses nothing."""
    for lead in leads:
        over = lead.record.parts.over_fastest if lead.record.parts else None
        if lead.released and over is not None and over.speed is not None and over.speed.verdict in ("alike", "worse"):
            yield (
                f"“{lead.id}” is no faster than {over.before}, which is the model as it is in "
                f"{_engine(record, over.before)}: where its size does not matter, "
                "`quantization: {method: none}` asks for that file."
            )


def _engine(record: Record, name: str) -> str:
    by_id = {candidate.id: candidate.engine for candidate in record.plan.candidates}
    return by_id.get(name, "another file")


# From so many times as many cases a second on, serving in batches is worth a word.
_BATCHING = 2.0


def _in_batches(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    """Say what serving in batches would give, where that is much and no batch was named."""
    for lead in leads:
        batches = lead.timings.batches
        if not lead.released or len(batches) < 2:
            continue
        small, large = min(batches), max(batches, key=lambda batch: batches[batch].throughput)
        few, many = batches[small].throughput, batches[large].throughput
        if few and many / few >= _BATCHING:
            yield (
                f"“{lead.id}” answers {factor_words(many / few)} as many cases a second in batches of {large} as in "
                f"batches of {small}: where answers may wait for each other, serve it so."
            )


def _not_as_planned(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    """Name the layers that the engine runs in another precision than was planned."""
    for lead in leads:
        unlike = [layer for layer in lead.record.layers if is_unlike(layer)]
        if unlike:
            names = [layer.name or layer.engine_op for layer in unlike]
            shown = listed(names[:_NAMED] + ([f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else []))
            yield (
                f"“{lead.id}”: {counted(len(unlike), 'layer')} could not be run as planned ({shown} in "
                f"{unlike[0].executed} instead of {unlike[0].planned}): leave them out with `quantization.skip`, or "
                "choose another engine or method."
            )
        if lead.record.left:
            yield (
                f"“{lead.id}”: {counted(len(lead.record.left), 'layer')} had to stay in higher precision for the "
                "answers’ sake; the sensitivity of each region stands below."
            )


_NAMED = 3


def _unstable(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    """Say which layers did not learn well, and which line of the recipe would help."""
    gradients = None if record.values.curves is None else record.values.curves.gradients
    if gradients is None:
        return
    exploding = [name for name, layer in gradients.layers.items() if layer.exploding]
    vanishing = [name for name, layer in gradients.layers.items() if layer.vanishing]
    if exploding or gradients.above:
        where = f" in {listed(exploding[:_NAMED])}" if exploding else ""
        yield (
            f"Gradients were too large while training{where}: clip them (`train.gradient_clip`), or lower "
            "`train.learning_rate`."
        )
    if vanishing:
        yield (
            f"Gradients vanished while training in {listed(vanishing[:_NAMED])}: a larger `train.learning_rate`, or "
            "another initialization or activation there, may help."
        )


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


# From this share of the steps' time on, and this long, waiting for the disk is worth a word: a small run on an ordinary
# disk waited for .9 of 9.1 s.
_DISK_SHARE, _DISK_SECONDS = 0.2, 2.0


def _slow_disk(record: Record, leads: tuple[Shown, ...]) -> Iterator[str]:
    """Say how long steps of this run waited until their results were on the disk."""
    results = [step.result for step in record.run.steps if step.status == "finished" and step.result is not None]
    waited, whole = sum(result.disk_seconds for result in results), sum(result.seconds for result in results)
    if waited >= max(_DISK_SHARE * whole, _DISK_SECONDS):
        stored = sum(artifact.size for result in results for artifact in result.outputs.values())
        yield (
            f"Steps waited {format_time(waited)} of {format_time(whole)} until their results ({format_size(stored)}) "
            "were on the disk: set TITRANT_HOME to a folder on a faster one (`titrant hardware --bench` measures it)."
        )


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
    _not_as_planned,
    _nothing_gained,
    _slower,
    _in_batches,
    _unstable,
    _too_busy,
    _slow_disk,
    _layers,
    _needless,
)
