"""Describe what changed since another run, in the form of a predetermined change control plan.

The three parts are those of the FDA's guidance on predetermined change control plans for devices with machine learning
(December 2024): description of modifications, modification protocol, impact assessment.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from titrant.runtime.evidence.facts import RunFacts, answered
from titrant.runtime.evidence.words import (
    NO_CLAIM,
    NOT_KNOWN,
    bullets,
    data_sources,
    figure,
    gate_words,
    method_words,
    original_name,
    table,
    text_of,
    verdict_words,
)
from titrant.schema.compare.difference import CAUSAL, Difference
from titrant.schema.gate import threshold_words
from titrant.schema.record import RunRecord
from titrant.schema.values.canonical import plain
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import inline, printable, without_places

# What follows from what changed and is no modification itself; measured values differ from run to run.
_MODIFIED = tuple(layer for layer in CAUSAL if layer not in ("keys", "outputs", "metrics", "outcome", "aside"))


@dataclass(frozen=True)
class Earlier:
    """The run that this one is compared with, and what differs between the two; `source` says how it was chosen.

    `unreadable` says why nothing can be compared: a file of it is no longer there, or damaged.
    """

    run: RunRecord
    sha256: str  # of its record
    source: str
    unreadable: str = ""
    differences: tuple[Difference, ...] = field(default_factory=tuple)


def changes(facts: RunFacts, earlier: Earlier | None) -> dict[str, str]:
    """Return changes.json and changes.md; without an earlier run the change is the one from the original model."""
    value = change_plan(facts, earlier)
    return {
        "changes.json": printable(json.dumps(value, indent=1, ensure_ascii=False)) + "\n",
        "changes.md": text_of(_lines(value)),
    }


def change_plan(facts: RunFacts, earlier: Earlier | None) -> dict[str, Any]:
    """Return the three parts as JSON."""
    return {
        "about": NO_CLAIM,
        "run": facts.run.run,
        "verdict": facts.run.verdict,
        "released": list(facts.run.released),
        "against": None if earlier is None else {
            "run": earlier.run.run, "verdict": earlier.run.verdict, "released": list(earlier.run.released),
            "record_sha256": earlier.sha256, "chosen": earlier.source, "unreadable": earlier.unreadable,
        },
        "description_of_modifications": {
            "optimization": _optimization(facts),
            "differences": list(_modifications(earlier)),
        },
        "modification_protocol": _protocol(facts),
        "impact_assessment": _impact(facts, earlier),
    }  # fmt: skip


def _optimization(facts: RunFacts) -> list[dict[str, Any]]:
    return [
        {
            "file": model.path,
            "from": original_name(facts),
            "from_digest": facts.plan.model_digest,
            "method": method_words(model),
            "sha256": {file.path: file.sha256 for file in model.files},
        }
        for model in facts.released
    ]


def _modifications(earlier: Earlier | None) -> Iterator[dict[str, Any]]:
    """Yield what differs and does not follow from measurements; a decision by what it settled, without its reasons."""
    for difference in earlier.differences if earlier is not None else ():
        if difference.layer in _MODIFIED and not difference.measured:
            yield {
                "layer": difference.layer,
                "path": without_places(difference.path, ()),
                "change": difference.change,
                "old": _settled(difference.old),
                "new": _settled(difference.new),
                "cause": difference.cause,
            }


def _settled(value: Any) -> Any:
    plainly = plain(value)
    return _shown(plainly["chosen"] if isinstance(plainly, Mapping) and "chosen" in plainly else plainly)


def _shown(value: Any) -> Any:
    """Return a value without the folders of this machine."""
    if isinstance(value, str):
        return without_places(value, ())
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return {key: _shown(item) for key, item in value.items()} if isinstance(value, dict) else value


def _protocol(facts: RunFacts) -> dict[str, Any]:
    contract = facts.plan.contract
    return {
        "data_management": {
            "sources": [f"{name}: {what}" for name, what in data_sources(facts)],
            "digest": facts.plan.data_digest,
            "rows": dict(facts.rows()),
            "separation": "what trains, tunes and calibrates never judges",
        },
        "performance_evaluation": {
            "confidence": contract.confidence,
            "requires": contract.require,
            "looks": contract.looks,
            "acceptance_criteria": [
                {"gate": gate.id, "metric": gate_words(gate), "criterion": threshold_words(gate), "test": gate.test}
                for gate in contract.gates
            ],
        },
        "update_procedure": {
            "made_by": f"titrant run, recipe {facts.plan.recipe_digest}, plan {facts.run.plan_digest}",
            "repeated_by": "titrant rerun",
            "deployment": NOT_KNOWN,
            "monitoring": NOT_KNOWN,
        },
    }


def _impact(facts: RunFacts, earlier: Earlier | None) -> dict[str, Any]:
    before = {} if earlier is None else dict(_estimates(earlier.run))
    rows = []
    for model in facts.released:
        for gate, result in answered(facts, model.judgement):
            rows.append({
                "file": model.path, "gate": gate.id, "verdict": result.verdict,
                "original": figure(result.original, gate.unit), "optimized": figure(result.candidate, gate.unit),
                "estimate": figure(result.estimate, gate.unit),
                "before": figure(before.get((model.candidate.id, gate.id)), gate.unit),
            })  # fmt: skip
    return {
        "verdict": verdict_words(facts.run),
        "gates": rows,
        "benefits_and_risks": NOT_KNOWN,
        "mitigation": "a file whose contract is not kept is not released; see hazards.md",
    }


def _estimates(run: RunRecord) -> Iterator[tuple[tuple[str, str], float | None]]:
    for record in run.candidates:
        for result in record.judgement.results if record.judgement is not None else ():
            yield (record.candidate, result.gate), result.estimate


def _lines(value: Mapping[str, Any]) -> Iterator[str]:
    against = value["against"]
    yield from ("# Change description", "", NO_CLAIM, "")
    yield "In the form of a predetermined change control plan: modifications, protocol, impact."
    yield ""
    if against is None:
        yield f"Run {inline(value['run'])}. There is no earlier release: the change is the one from the original."
    else:
        yield f"Run {inline(value['run'])}, against {inline(against['run'])} ({inline(against['chosen'])})."
    yield from _modifications_lines(value["description_of_modifications"], against)
    yield from _protocol_lines(value["modification_protocol"])
    yield from _impact_lines(value["impact_assessment"])


def _modifications_lines(described: Mapping[str, Any], against: Mapping[str, Any] | None) -> Iterator[str]:
    yield from ("", "## 1. Description of modifications", "")
    yield from table(
        ("file", "from", "what was done"),
        (
            (made["file"], f"{made['from']} {made['from_digest'][:16]}", made["method"])
            for made in described["optimization"]
        ),
    )
    if against is not None and against["unreadable"]:
        yield from ("", f"What differs from it cannot be told: {inline(against['unreadable'])}.")
    elif against is not None:
        yield from ("", f"What differs from {inline(against['run'])}, measured values left out:", "")
        changed = [
            (entry["layer"], entry["path"], entry["change"], _short(entry["old"]), _short(entry["new"]), entry["cause"])
            for entry in described["differences"]
        ]
        yield from (
            table(("what", "where", "change", "before", "now", "follows from"), changed) if changed else ["Nothing."]
        )


def _protocol_lines(protocol: Mapping[str, Any]) -> Iterator[str]:
    data, judged, update = protocol.values()
    yield from ("", "## 2. Modification protocol", "", "### Data management", "")
    rows = [f"{count} rows for {role}" for role, count in data["rows"].items()]
    yield from bullets([*data["sources"], f"digest {data['digest']}", *rows, data["separation"]])
    yield from ("", "### Performance evaluation", "")
    yield from (
        f"One-sided bounds at confidence {judged['confidence']:g}; a release requires {judged['requires']}.",
        "",
    )
    criteria = judged["acceptance_criteria"]
    yield from table(
        ("gate", "metric", "acceptance criterion", "test"),
        ((criterion["gate"], criterion["metric"], criterion["criterion"], criterion["test"]) for criterion in criteria),
    )
    yield from ("", "### Update procedure", "")
    yield from bullets(f"{name.replace('_', ' ')}: {text}" for name, text in update.items())


def _impact_lines(impact: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## 3. Impact assessment", "", f"{inline(impact['verdict'])}.", "")
    yield from table(
        ("file", "gate", "verdict", "estimate", "in the earlier run", "original", "optimized"),
        (
            tuple(gate[name] for name in ("file", "gate", "verdict", "estimate", "before", "original", "optimized"))
            for gate in impact["gates"]
        ),
    )
    yield from ("", f"- Benefits and risks: {impact['benefits_and_risks']}", f"- Mitigation: {impact['mitigation']}")


def _short(value: Any) -> str:
    """Write a value of any kind in a cell."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_LONGEST = 120
