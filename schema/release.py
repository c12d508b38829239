"""What a released file says of itself: which recipe made it, which contract it kept, and where that was judged."""

from collections.abc import Mapping
from typing import Any

from titrant.schema.contract.waivers import WAIVED, waiver_words
from titrant.schema.gate import Judgement
from titrant.schema.plan import Candidate, Plan, judged_batch, plan_digest
from titrant.schema.record import CandidateRecord, RunRecord
from titrant.schema.values.canonical import plain
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Release:
    """Facts about a released file: the same for every run of a plan that judges it alike, so that no time is in them.

    `verdict` is PASS, NOT PROVEN or WAIVED; `passed` are the gates that passed, `open` those that were let through
    without proof, and `waived` says in words which of them a waiver let through, by whom, why and until when. The
    judgement holds for the machine's instruction set, `threads`, and `batch` cases answered at once (None: not said).
    """

    titrant: str
    recipe: str
    recipe_digest: str
    plan: str
    candidate: str
    method: str
    engine: str
    format: str
    verdict: str
    passed: tuple[str, ...]
    open: tuple[str, ...]
    machine: str
    processor: str
    instructions: tuple[str, ...]
    threads: int
    batch: int | None = None
    waived: tuple[str, ...] = ()


def released_facts(plan: Plan, record: RunRecord, version: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the facts about each released candidate as JSON; `version` is titrant's."""
    planned = {candidate.id: candidate for candidate in plan.candidates}
    return {
        done.candidate: _written(_release(plan, planned[done.candidate], done, done.judgement, version))
        for done in record.candidates
        if done.candidate in record.released and done.judgement is not None
    }


def _written(release: Release) -> dict[str, Any]:
    """Write facts as JSON, as files that were released before there were waivers have them."""
    value: dict[str, Any] = plain(release)
    if not value["waived"]:
        del value["waived"]
    return value


def _release(plan: Plan, candidate: Candidate, done: CandidateRecord, judgement: Judgement, version: str) -> Release:
    hardware = plan.hardware
    return Release(
        titrant=version,
        recipe=plan.name,
        recipe_digest=plan.recipe_digest,
        plan=plan_digest(plan),
        candidate=candidate.id,
        method=candidate.method,
        engine=candidate.engine,
        format=candidate.format,
        verdict=WAIVED if done.waived else "PASS" if judgement.proven else "NOT PROVEN",
        passed=tuple(result.gate for result in judgement.results if result.verdict == "PASS"),
        open=tuple(result.gate for result in judgement.results if result.verdict != "PASS"),
        machine=hardware.machine,
        processor=hardware.cpu,
        instructions=hardware.instructions,
        threads=plan.timing_threads,
        batch=judged_batch(plan, candidate),
        waived=tuple(f"{gate.gate} {gate.verdict}, {waiver_words(gate)}" for gate in done.waived),
    )
