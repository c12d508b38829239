"""What a released file says of itself: which recipe made it, which contract it kept, and where that was judged."""

from collections.abc import Mapping
from typing import Any

from titrant.schema.gate import Judgement
from titrant.schema.plan import Candidate, Plan, judged_batch, plan_digest
from titrant.schema.record import RunRecord
from titrant.schema.values.canonical import plain
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Release:
    """Facts about a released file: the same for every run of a plan that judges it alike, so that no time is in them.

    `verdict` is PASS or NOT PROVEN; `passed` are the gates that passed, `open` those that were let through without
    proof. The judgement holds for the machine's instruction set, `threads`, and `batch` cases answered at once (None:
    not said).
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


def released_facts(plan: Plan, record: RunRecord, version: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the facts about each released candidate as JSON; `version` is titrant's."""
    planned = {candidate.id: candidate for candidate in plan.candidates}
    return {
        done.candidate: plain(_release(plan, planned[done.candidate], done.judgement, version))
        for done in record.candidates
        if done.candidate in record.released and done.judgement is not None
    }


def _release(plan: Plan, candidate: Candidate, judgement: Judgement, version: str) -> Release:
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
        verdict="PASS" if judgement.proven else "NOT PROVEN",
        passed=tuple(result.gate for result in judgement.results if result.verdict == "PASS"),
        open=tuple(result.gate for result in judgement.results if result.verdict != "PASS"),
        machine=hardware.machine,
        processor=hardware.cpu,
        instructions=hardware.instructions,
        threads=plan.timing_threads,
        batch=judged_batch(plan, candidate),
    )
