"""Write in-toto statements about what a run put out: how the contract was answered, and how the files came about."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from titrant.runtime.evidence.components import components
from titrant.runtime.evidence.facts import FileDigest, RunFacts
from titrant.schema.contract.waivers import WAIVED, waiver_words
from titrant.schema.record import CandidateRecord
from titrant.schema.values.text import printable

STATEMENT, PAYLOAD_TYPE = "https://in-toto.io/Statement/v1", "application/vnd.in-toto+json"
TEST_RESULT, PROVENANCE = "https://in-toto.io/attestation/test-result/v0.1", "https://slsa.dev/provenance/v1"
# What these name is titrant's own, and no place on the network.
_BUILDER, _BUILD = "urn:titrant:run", "urn:titrant:build:recipe:v1"
RESULTS: Mapping[str, str] = {
    "PASS": "PASSED", "NOT PROVEN": "WARNED", WAIVED: "WARNED", "INCONCLUSIVE": "FAILED", "FAIL": "FAILED",
}  # fmt: skip


def result_statement(facts: RunFacts) -> dict[str, str]:
    """Return test-result.intoto.json: which gates passed, about the files that were judged.

    A run that let through what is not proven, or what a waiver covers, has the result WARNED; one that released nothing
    FAILED. A gate that is waived stays among those that failed, or that warn, with the waiver in words.
    """
    configuration = [*_resources(_named(facts.records, "recipe.yaml", "plan.json"))]
    judged = list(_shown(facts))
    passed = sorted({f"{name}: {gate}" for name, gate, verdict in judged if verdict == "PASS"})
    let_through = facts.run.released and facts.run.exit == 0
    others = sorted({f"{name}: {gate} {verdict}" for name, gate, verdict in judged if verdict not in ("PASS", "FAIL")})
    failed = sorted({f"{name}: {gate}" for name, gate, verdict in judged if verdict == "FAIL"})
    predicate = {
        "result": RESULTS.get(facts.run.verdict, "FAILED"),
        "configuration": configuration,
        "passedTests": passed,
        "warnedTests": others if let_through else [],
        "failedTests": failed if let_through else sorted([*failed, *others]),
    }
    return {"test-result.intoto.json": _statement(facts, TEST_RESULT, predicate)}


def provenance_statement(facts: RunFacts) -> dict[str, str]:
    """Return provenance.intoto.json: recipe, model, data and libraries that went in, and the run that took them."""
    recipe = _named(facts.records, "recipe.yaml")
    environment = facts.run.environment
    inputs = [
        {"name": "the original model", "digest": {"titrantModel": facts.plan.model_digest}},
        {"name": "the data", "digest": {"titrantData": facts.plan.data_digest}},
    ]
    if "git_commit" in environment:
        inputs.append({"name": "the recipe's repository", "digest": {"gitCommit": environment["git_commit"]}})
    libraries = [
        {
            "name": library.name,
            "uri": library.purl or f"urn:titrant:library:{library.name}",
            "annotations": {"version": library.version},
        }
        for library in components(facts)
    ]
    predicate = {
        "buildDefinition": {
            "buildType": _BUILD,
            "externalParameters": {
                "recipe": {"name": "recipe.yaml", "digest": {"sha256": recipe[0].sha256}},
                "recipeDigest": facts.plan.recipe_digest,
                "name": facts.plan.name,
            },
            "internalParameters": {
                "planDigest": facts.run.plan_digest,
                "threads": facts.plan.threads,
                "timingThreads": facts.plan.timing_threads,
                "deterministic": facts.plan.deterministic,
                "machine": facts.plan.hardware.machine,
                "instructions": list(facts.plan.hardware.instructions),
                "gitDirty": environment.get("git_dirty", "unknown"),
            },
            "resolvedDependencies": [*_resources(recipe), *inputs, *libraries],
        },
        "runDetails": {
            "builder": {"id": _BUILDER, "version": {"titrant": environment.get("titrant", "")}},
            "metadata": {
                "invocationId": facts.run.run,
                "startedOn": facts.began,
                **({"finishedOn": _as_utc(facts.finished)} if facts.finished else {}),
            },
            "byproducts": list(_resources(facts.records)),
        },
    }
    return {"provenance.intoto.json": _statement(facts, PROVENANCE, predicate)}


def _as_utc(stamp: str) -> str:
    """Write UTC as Z, which is how the run's beginning is written."""
    return stamp.removesuffix("+00:00") + "Z" if stamp.endswith("+00:00") else stamp


def _shown(facts: RunFacts) -> Iterator[tuple[str, str, str]]:
    """Yield candidate, gate and verdict of what the run ended with, and of the original where it was judged alone."""
    ended = {str(model["candidate"]) for model in facts.manifest.get("models", ())}
    for record in facts.judged:
        if record.candidate in ended:
            waived = {gate.gate: f"{gate.gate} ({waiver_words(gate)})" for gate in record.waived}
            yield from (
                (record.candidate, waived.get(result.gate, result.gate), result.verdict) for result in _results(record)
            )
    if facts.run.original is not None:
        yield from (("original", result.gate, result.verdict) for result in facts.run.original.results)


def _results(record: CandidateRecord) -> Iterator[Any]:
    yield from record.judgement.results if record.judgement is not None else ()


def _statement(facts: RunFacts, predicate_type: str, predicate: Mapping[str, Any]) -> str:
    """Write a statement about every file that was put out; about the report of a run that put out none."""
    subjects = facts.placed or _named(facts.records, "report.json")
    value = {
        "_type": STATEMENT,
        "subject": list(_resources(subjects)),
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return printable(json.dumps(value, indent=1)) + "\n"


def _resources(files: Iterable[FileDigest]) -> Iterator[dict[str, Any]]:
    yield from ({"name": file.path, "digest": {"sha256": file.sha256}} for file in files)


def _named(files: Iterable[FileDigest], *names: str) -> tuple[FileDigest, ...]:
    return tuple(file for file in files if file.path in names)
