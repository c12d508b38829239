"""Write what a released model is made of as an SPDX 3.0.1 document with the AI and dataset profiles."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from titrant.runtime.evidence.components import Component, components
from titrant.runtime.evidence.facts import FileDigest, ReleasedModel, RunFacts, answered
from titrant.runtime.evidence.words import (
    NO_CLAIM,
    data_sources,
    figure,
    gate_words,
    latency_of,
    method_words,
    original_name,
    training,
    transform_names,
)
from titrant.schema.gate import threshold_words
from titrant.schema.values.text import printable

CONTEXT, VERSION = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "3.0.1"
_CREATION = "_:creation"


def spdx(facts: RunFacts) -> dict[str, str]:
    """Return ai.spdx.json: the released models, the original, the data, the libraries, and how they belong together."""
    value = {"@context": CONTEXT, "@graph": [_creation(facts), *_elements(facts)]}
    return {"ai.spdx.json": printable(json.dumps(value, indent=1)) + "\n"}


def _creation(facts: RunFacts) -> dict[str, Any]:
    return {
        "type": "CreationInfo",
        "@id": _CREATION,
        "specVersion": VERSION,
        "created": facts.began,
        "createdBy": [_id(facts, "titrant")],
        "comment": NO_CLAIM,
    }


def _elements(facts: RunFacts) -> Iterator[dict[str, Any]]:
    libraries = components(facts)
    graph = [
        _element(facts, "SoftwareAgent", "titrant", f"titrant {facts.run.environment.get('titrant', '')}"),
        _original(facts),
        _data(facts),
        *(_library(facts, library) for library in libraries),
    ]
    for model in facts.released:
        graph.append(_model(facts, model))
        graph += [_file(facts, file) for file in model.files]
        graph += _relations(facts, model, libraries)
    yield {
        **_element(facts, "SpdxDocument", "document", facts.plan.name),
        "profileConformance": ["core", "software", "ai", "dataset"],
        "rootElement": [_id(facts, f"model-{model.candidate.id}") for model in facts.released],
        "element": [element["spdxId"] for element in graph],
    }
    yield from graph


def _id(facts: RunFacts, part: str) -> str:
    return f"urn:titrant:run:{quote(facts.run.run, safe='')}:{quote(part, safe='')}"


def _element(facts: RunFacts, kind: str, part: str, name: str) -> dict[str, Any]:
    return {"type": kind, "spdxId": _id(facts, part), "creationInfo": _CREATION, "name": name}


def _package(facts: RunFacts, kind: str, part: str, name: str) -> dict[str, Any]:
    """Write what the profiles ask of a package; titrant supplied what it wrote, and knows of no other supplier."""
    return {
        **_element(facts, kind, part, name),
        "suppliedBy": _id(facts, "titrant"),
        "software_downloadLocation": _id(facts, part),
        "releaseTime": facts.began,
    }


def _model(facts: RunFacts, model: ReleasedModel) -> dict[str, Any]:
    metrics = [
        _entry(f"{gate.id} ({gate_words(gate)}): {threshold_words(gate)}", figure(result.estimate, gate.unit))
        for gate, result in answered(facts, model.judgement)
        if result.estimate is not None
    ]
    metrics += [_entry(name, figure(seconds, "s")) for name, seconds in latency_of(model)]
    point = facts.values.get("point") or {}
    threshold = point.get("threshold")
    trained = training(facts)
    return {
        **_package(facts, "ai_AIPackage", f"model-{model.candidate.id}", model.path),
        "description": method_words(model),
        "software_packageVersion": facts.run.run,
        "software_primaryPurpose": "model",
        "ai_typeOfModel": [original_name(facts)],
        "ai_domain": [facts.plan.task],
        "ai_metric": metrics,
        **({"ai_metricDecisionThreshold": [_entry("probability", repr(threshold))]} if threshold is not None else {}),
        **(
            {"ai_hyperparameter": [_entry(key, str(value)) for key, value in sorted(trained.items())]}
            if trained
            else {}
        ),
        **({"ai_modelDataPreprocessing": names} if (names := transform_names(facts)) else {}),
        "ai_limitation": f"judged on {facts.plan.hardware.machine} with "
        f"{', '.join(facts.plan.hardware.instructions) or 'no known instructions'} in {model.candidate.engine}",
        "ai_useSensitivePersonalInformation": "noAssertion",
        "ai_autonomyType": "noAssertion",
        **({"verifiedUsing": [_hash(model.files[0])]} if len(model.files) == 1 else {}),
    }


def _entry(key: str, value: str) -> dict[str, str]:
    return {"type": "DictionaryEntry", "key": key, "value": value}


def _hash(file: FileDigest) -> dict[str, str]:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": file.sha256}


def _file(facts: RunFacts, file: FileDigest) -> dict[str, Any]:
    return {
        **_element(facts, "software_File", f"file-{file.path}", file.path),
        "software_primaryPurpose": "model",
        "verifiedUsing": [_hash(file)],
    }


def _original(facts: RunFacts) -> dict[str, Any]:
    return {
        **_element(facts, "software_Package", "original", original_name(facts)),
        "description": f"the original model, as it runs in {facts.plan.original_engine}",
        "software_packageVersion": facts.plan.model_digest,
        "software_primaryPurpose": "model",
    }


def _data(facts: RunFacts) -> dict[str, Any]:
    rows = facts.rows()
    size = {"dataset_datasetSize": sum(rows.values())} if rows else {}
    steps = transform_names(facts)
    return {
        **_package(
            facts, "dataset_DatasetPackage", "data", ", ".join(what for _, what in data_sources(facts)) or "data"
        ),
        "originatedBy": [_id(facts, "titrant")],
        "builtTime": facts.began,
        "description": "the rows as the run read them; who collected them is not known to titrant",
        "software_packageVersion": facts.plan.data_digest,
        "software_primaryPurpose": "data",
        "dataset_datasetType": ["noAssertion"],
        "dataset_hasSensitivePersonalInformation": "noAssertion",
        **({"dataset_dataPreprocessing": steps} if steps else {}),
        **size,
    }


def _library(facts: RunFacts, component: Component) -> dict[str, Any]:
    package = {
        **_element(facts, "software_Package", f"library-{component.name}", component.name),
        "software_packageVersion": component.version,
        "software_primaryPurpose": "library",
        "comment": f"license as declared: {component.license or 'none'}",
    }
    return package | ({"software_packageUrl": component.purl} if component.purl else {})


def _relations(facts: RunFacts, model: ReleasedModel, libraries: tuple[Component, ...]) -> list[dict[str, Any]]:
    part, needed = f"model-{model.candidate.id}", [f"library-{library.name}" for library in libraries if library.needed]
    rows = facts.rows()
    trained = "trainedOn" if training(facts) and rows.get("train") else ""
    given = [
        ("descendantOf", ["original"]),
        ("contains", [f"file-{file.path}" for file in model.files]),
        ("testedOn", ["data"]),
        (trained, ["data"]),
        ("dependsOn", needed),
    ]
    return [
        {
            "type": "Relationship",
            "spdxId": _id(facts, f"{part}-{kind}"),
            "creationInfo": _CREATION,
            "from": _id(facts, part),
            "relationshipType": kind,
            "to": [_id(facts, other) for other in others],
        }
        for kind, others in given
        if kind and others
    ]
