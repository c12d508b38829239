"""Candidates as the report shows them: the figures of each, what became of it, and which one a search ended with."""

from collections.abc import Iterable
from dataclasses import dataclass

from titrant.runtime.report.record_view import ModelTimings, Quality, Record, Timing
from titrant.schema.gate import Judgement
from titrant.schema.plan import Candidate, Search
from titrant.schema.record import CandidateRecord

NOTHING = ModelTimings({})
# status → symbol and word: the order is that of the table
OUTCOMES = {
    "released": ("✓", "released", "pass"),
    "judged": ("✕", "judged, not released", "fail"),
    "shortlisted": ("○", "shortlisted, not judged", "plain"),
    "measured": ("○", "measured, not shortlisted", "plain"),
    "rejected": ("✕", "rejected", "fail"),
}


@dataclass(frozen=True)
class Shown:
    """One candidate with all that is known of it; `timings` and `quality` are empty where it was not measured."""

    id: str
    planned: Candidate
    record: CandidateRecord
    timings: ModelTimings
    quality: Quality | None

    @property
    def judgement(self) -> Judgement | None:
        """Return how it was judged on evaluation rows."""
        return self.record.judgement

    @property
    def released(self) -> bool:
        """Say whether it was released."""
        return self.record.status == "released"

    def timing(self, batch: int) -> Timing | None:
        """Return its timing at one batch size."""
        return self.timings.batches.get(batch)


def outcome(candidate: Shown) -> tuple[str, str, str]:
    """Return a symbol, words and a tone (pass, warn, fail, plain) for what became of a candidate."""
    symbol, words, tone = OUTCOMES.get(candidate.record.status, ("○", candidate.record.status, "plain"))
    judgement = candidate.judgement
    if candidate.released and judgement and not judgement.proven:
        return "≈", "released, not proven", "warn"
    if judgement and not candidate.released and judgement.released:
        return "○", "kept the contract, not chosen", "plain"
    if judgement and judgement.verdict == "INCONCLUSIVE" and not candidate.released:
        return "?", words, "warn"
    return symbol, words, tone


def shown_candidates(record: Record) -> dict[str, Shown]:
    """Pair every planned candidate with what became of it, by id, in the plan's order from gentle to aggressive."""
    records = {candidate.candidate: candidate for candidate in record.run.candidates}
    found = {}
    for planned in sorted(record.plan.candidates, key=lambda candidate: candidate.rank):
        became = records.get(planned.id, CandidateRecord(planned.id, "rejected", "it was not made"))
        timings = record.values.timings.get(planned.id, NOTHING)
        found[planned.id] = Shown(planned.id, planned, became, timings, record.values.quality.get(planned.id))
    return found


def leading(record: Record, search: Search, candidates: Iterable[Shown]) -> Shown | None:
    """Choose the candidate that a search's story is about.

    The released one; else the one that lies in quarantine; else the last that was judged; else none.
    """
    of_search = [candidate for candidate in candidates if candidate.id in search.candidates]
    released = [candidate for candidate in of_search if candidate.released]
    kept_aside = [candidate for candidate in of_search if candidate.id in record.values.files]
    judged = [candidate for candidate in of_search if candidate.judgement is not None]
    return next(iter(released or kept_aside or judged[-1:]), None)


def original_bytes(record: Record) -> int | None:
    """Return the size of the original model's artifact, from the step that gave it."""
    step, _, port = record.plan.original.rpartition(".")
    for done in record.run.steps:
        if done.step == step and done.result and port in done.result.outputs:
            return done.result.outputs[port].size
    return None
