"""Write what a released model is made of as a CycloneDX bill of materials for machine learning, in 1.6 and in 1.7."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from titrant.runtime.evidence.components import Component, components, license_choice
from titrant.runtime.evidence.facts import FileDigest, ReleasedModel, RunFacts, answered
from titrant.runtime.evidence.words import (
    NO_CLAIM,
    NOT_KNOWN,
    data_sources,
    gate_words,
    latency_of,
    method_words,
    original_name,
    precisions,
    tensors,
    training,
    verdict_words,
)
from titrant.schema.gate import threshold_words
from titrant.schema.values.text import printable

VERSIONS = {"bom.cdx.json": "1.6", "bom-1.7.cdx.json": "1.7"}
_ORIGINAL, _DATA = "model:original", "data:all"


def bom(facts: RunFacts) -> dict[str, str]:
    """Return bom.cdx.json and bom-1.7.cdx.json, which differ in the version that they say they are of."""
    body = _document(facts)
    return {
        name: printable(json.dumps({"bomFormat": "CycloneDX", "specVersion": version, **body}, indent=1)) + "\n"
        for name, version in VERSIONS.items()
    }


def reference(model: ReleasedModel) -> str:
    """Name a released model inside a bill of materials."""
    return f"model:{model.candidate.id}"


def _document(facts: RunFacts) -> dict[str, Any]:
    libraries = components(facts)
    titrant = facts.run.environment.get("titrant", "")
    return {
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, f'{facts.run.run}/{facts.run.plan_digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": facts.began,
            "tools": {"components": [{"type": "application", "name": "titrant", "version": titrant}]},
            "component": {
                "type": "application",
                "bom-ref": "run",
                "name": facts.plan.name,
                "version": facts.run.run,
                "description": NO_CLAIM,
            },
            "properties": [
                {"name": "titrant:verdict", "value": facts.run.verdict},
                {"name": "titrant:recipe", "value": facts.plan.recipe_digest},
                {"name": "titrant:plan", "value": facts.run.plan_digest},
            ],
        },
        "components": [
            *(_model(facts, model) for model in facts.released),
            _original(facts),
            _data(facts),
            *(_library(library) for library in libraries),
        ],
        "dependencies": list(_dependencies(facts, libraries)),
    }


def _model(facts: RunFacts, model: ReleasedModel) -> dict[str, Any]:
    single = len(model.files) == 1
    layers = [f"{count} in {name}" for name, count in precisions(model).items()]
    return {
        "type": "machine-learning-model",
        "bom-ref": reference(model),
        "name": model.path,
        "version": facts.run.run,
        "description": method_words(model),
        **({"hashes": [_hash(model.files[0])]} if single else {}),
        "pedigree": {
            "ancestors": [{"type": "machine-learning-model", "name": original_name(facts),
                           "version": facts.plan.model_digest}],
            "notes": f"made by {method_words(model)}",
        },
        "modelCard": _card(facts, model),
        "components": [] if single else [_file(file, reference(model)) for file in model.files],
        "properties": [
            {"name": "titrant:candidate", "value": model.candidate.id},
            {"name": "titrant:method", "value": model.candidate.method},
            {"name": "titrant:engine", "value": model.candidate.engine},
            {"name": "titrant:format", "value": model.candidate.format},
            {"name": "titrant:bytes", "value": str(model.size)},
            *({"name": "titrant:layers", "value": text} for text in layers),
        ],
    }  # fmt: skip


def _file(file: FileDigest, owner: str) -> dict[str, Any]:
    return {"type": "file", "bom-ref": f"{owner}/{file.path}", "name": file.path, "hashes": [_hash(file)]}


def _hash(file: FileDigest) -> dict[str, str]:
    return {"alg": "SHA-256", "content": file.sha256}


def _card(facts: RunFacts, model: ReleasedModel) -> dict[str, Any]:
    approach = {"approach": {"type": "supervised"}} if training(facts) and facts.plan.task != "unlabeled" else {}
    return {
        "modelParameters": {
            **approach,
            "task": facts.plan.task,
            "modelArchitecture": original_name(facts),
            "datasets": [{"ref": _DATA}],
            "inputs": [{"format": text} for text in tensors(facts, "inputs")],
            "outputs": [{"format": text} for text in tensors(facts, "outputs")],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(facts, model))},
        "considerations": {
            "users": [NOT_KNOWN],
            "useCases": [NOT_KNOWN],
            "technicalLimitations": [
                f"judged on {facts.plan.hardware.machine} with {', '.join(facts.plan.hardware.instructions) or 'none'}",
                f"judged with {facts.plan.timing_threads} thread(s) in {model.candidate.engine}",
            ],
            "performanceTradeoffs": [f"verdict of the contract: {verdict_words(facts.run)}"],
        },
    }


def _metrics(facts: RunFacts, model: ReleasedModel) -> Iterator[dict[str, Any]]:
    """Yield every gate's figure, which is what was compared with its threshold; CycloneDX has numbers as text."""
    for gate, result in answered(facts, model.judgement):
        if result.estimate is None:
            continue
        ends = {"lowerBound": result.lower, "upperBound": result.upper}
        interval = {name: repr(value) for name, value in ends.items() if value is not None}
        yield {
            "type": f"{gate.id} ({gate_words(gate)}): {threshold_words(gate)}",
            "value": repr(result.estimate),
            "slice": gate.slice,
            **({"confidenceInterval": interval} if interval else {}),
        }
    for name, seconds in latency_of(model):
        yield {"type": name, "value": repr(seconds), "slice": "seconds of one batch of the judged size"}


def _original(facts: RunFacts) -> dict[str, Any]:
    size = facts.size_of(facts.plan.original)
    in_bytes = [{"name": "titrant:bytes", "value": str(size)}] if size is not None else []
    return {
        "type": "machine-learning-model",
        "bom-ref": _ORIGINAL,
        "name": original_name(facts),
        "version": facts.plan.model_digest,
        "description": f"the original, as it runs in {facts.plan.original_engine}",
        "properties": [{"name": "titrant:digest", "value": facts.plan.model_digest}, *in_bytes],
    }


def _data(facts: RunFacts) -> dict[str, Any]:
    """Describe the data by their name, their digest and how many rows each role has: never by their values."""
    rows = [{"name": f"rows for {role}", "value": str(count)} for role, count in facts.rows().items()]
    return {
        "type": "data",
        "bom-ref": _DATA,
        "name": ", ".join(what for _, what in data_sources(facts)) or facts.plan.name,
        "version": facts.plan.data_digest,
        "data": [
            {
                "type": "dataset",
                "name": facts.plan.name,
                "contents": {"properties": [{"name": "titrant:digest", "value": facts.plan.data_digest}, *rows]},
                "sensitiveData": [f"whether they hold any: {NOT_KNOWN}"],
            }
        ],
    }


def _library(component: Component) -> dict[str, Any]:
    licenses = license_choice(component)
    return {
        "type": "library",
        "bom-ref": component.reference,
        "name": component.name,
        "version": component.version,
        "scope": "required" if component.needed else "excluded",
        **({"purl": component.purl} if component.purl else {}),
        **({"licenses": licenses} if licenses else {}),
    }


def _dependencies(facts: RunFacts, libraries: tuple[Component, ...]) -> Iterator[dict[str, Any]]:
    needed = [library.reference for library in libraries if library.needed]
    yield {"ref": "run", "dependsOn": [*map(reference, facts.released), *(library.reference for library in libraries)]}
    for model in facts.released:
        yield {"ref": reference(model), "dependsOn": [_ORIGINAL, _DATA, *needed]}
    for part in (_ORIGINAL, _DATA, *(library.reference for library in libraries)):
        yield {"ref": part, "dependsOn": []}
