"""What a released file says of itself, and what the evidence pack of a run holds beside it.

A file says which recipe made it, which contract it kept, and where that was judged.
"""

from collections.abc import Mapping
from typing import Any

from titrant.schema.contract.waivers import WAIVED, waiver_words
from titrant.schema.gate import Judgement
from titrant.schema.min_cell import REPORT
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


# The folder of a run that holds the pack, the list of its files, and the folder in it that holds signatures.
FOLDER, INDEX, SIGNATURES = "evidence", "index.json", "signatures"


@dataclass(frozen=True)
class Document:
    """One document of the pack: its files, what it is, and whether it is about a released file, without which none."""

    files: tuple[str, ...]
    title: str
    of_release: bool = False


# In the order in which a pack lists them; recipes name them so in `report.evidence`.
DOCUMENTS: Mapping[str, Document] = {
    "model_card": Document(("model-card.md",), "model card (Hugging Face)", of_release=True),
    "bom": Document(("bom.cdx.json", "bom-1.7.cdx.json"), "ML-BOM (CycloneDX 1.6 and 1.7)", of_release=True),
    "spdx": Document(("ai.spdx.json",), "bill of materials (SPDX 3.0.1, AI profile)", of_release=True),
    "components": Document(("third-party.md",), "third-party components"),
    "test_result": Document(("test-result.intoto.json",), "test result (in-toto)"),
    "provenance": Document(("provenance.intoto.json",), "provenance (SLSA v1)", of_release=True),
    "hazards": Document(("hazards.json", "hazards.md"), "hazards and the gates that control them"),
    "changes": Document(("changes.json", "changes.md"), "change description"),
    "annex_iv": Document(("annex-iv.md",), "technical documentation in the order of Annex IV"),
}


def evidence_of(plan: Plan) -> tuple[str, ...]:
    """Return the documents that a run of this plan writes, in the order of DOCUMENTS; () where it writes none."""
    asked = next((step.params.get("evidence", ()) for step in plan.steps if step.operator == REPORT), ())
    return tuple(name for name in DOCUMENTS if name in asked)


def formats_of(plan: Plan) -> tuple[str, ...]:
    """Return the formats of the report that a run of this plan writes."""
    from titrant.schema.recipe.observe import REPORT_FORMATS

    written = next((step.params.get("formats") for step in plan.steps if step.operator == REPORT), None)
    return tuple(name for name in REPORT_FORMATS if written is None or name in written)
