"""Map each gate of a contract to the hazard that it controls: a skeleton of a risk management file."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from titrant.runtime.evidence.facts import RunFacts
from titrant.runtime.evidence.words import (
    NO_CLAIM,
    bounds_words,
    bullets,
    figure,
    gate_words,
    table,
    text_of,
    waiver_lines,
)
from titrant.schema.gate import Gate, GateResult, control_words, reason_words, threshold_words
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import inline, printable

ASSESS = "to be assessed by the manufacturer"


@dataclass(frozen=True)
class Hazard:
    """What can go wrong through an optimization, and the situation in which it does harm."""

    name: str
    situation: str


# The presets whose gates control a hazard; a metric is named where the preset alone does not tell.
HAZARDS: Mapping[str, Hazard] = {
    "retention": Hazard("decisions get worse on the whole", "a case is decided wrongly that the original had right"),
    "fine_tuned": Hazard("further training hides what was lost", "the original with the same training would be better"),
    "safety": Hazard("a critical case is missed", "a case of the critical class that the original caught is let go"),
    "bias": Hazard("one subgroup is served worse than another", "what is lost falls on one group of people"),
    "calibration": Hazard("probabilities are wrong", "somebody acts on a probability that is too high or too low"),
    "clinical_relevance": Hazard("single decisions change", "two versions decide the same case differently"),
    "batch_invariance": Hazard("an answer depends on other cases", "who shares the batch changes somebody's answer"),
    "executed": Hazard("another precision runs than was judged", "the engine leaves the layers that were planned"),
    "reference": Hazard("the comparison proves nothing", "the original is no better than a constant answer"),
    "baseline": Hazard("the original is not good enough", "what is kept was never good enough"),
    "agreement": Hazard("answers differ from the original's", "a case without a label is answered otherwise"),
    "regression": Hazard("a release is worse than the one before", "what users have now gets worse"),
    "anchor": Hazard("small losses add up from release to release", "what the first release kept is lost unseen"),
    "target": Hazard("an answer comes too late or not at all", "the model does not fit its machine or its deadline"),
    "gates": Hazard("a property that the recipe names is lost", "what the recipe asks of it is not kept"),
}
# Of which every contract should say something; what none of its gates is about is listed as not controlled.
EXPECTED = (
    "retention",
    "safety",
    "bias",
    "calibration",
    "clinical_relevance",
    "batch_invariance",
    "executed",
    "target",
)
# What no gate of any contract can control.
BEYOND = (
    "data in use that are unlike those that were judged on (drift, another site, another device)",
    "labels of the evaluation rows that are wrong",
    "use for another purpose, or by people who were not trained for it",
    "another machine, engine or library version than those of the record",
    "attacks on the model, its file or its inputs",
)


def hazards(facts: RunFacts) -> dict[str, str]:
    """Return hazards.json and hazards.md: every gate with its hazard, its answer, and what people have to assess."""
    value = hazard_table(facts)
    return {
        "hazards.json": printable(json.dumps(value, indent=1, ensure_ascii=False)) + "\n",
        "hazards.md": text_of(_lines(value)),
    }


def hazard_table(facts: RunFacts) -> dict[str, Any]:
    """Return the skeleton as JSON: hazards that gates control, those that no gate is about, those that none can be."""
    answers = _answers(facts)
    waivers = {record.candidate: waiver_lines(record) for record in facts.judged if record.waived}
    presets = {gate.preset for gate in facts.plan.contract.gates}
    return {
        "about": NO_CLAIM,
        "run": facts.run.run,
        "confidence": facts.plan.contract.confidence,
        "controlled": [_row(gate, answers.get(gate.id, {})) for gate in facts.plan.contract.gates],
        "not_controlled": [
            {"preset": name, "hazard": HAZARDS[name].name, "situation": HAZARDS[name].situation}
            for name in EXPECTED
            if name not in presets
        ],
        "beyond": list(BEYOND),
        "waivers": waivers,
    }


def _answers(facts: RunFacts) -> dict[str, dict[str, GateResult]]:
    """Return gate → file or candidate → answer, of what the run ended with, and of the original alone."""
    ended = {str(model["candidate"]) for model in facts.manifest.get("models", ())}
    answers: dict[str, dict[str, GateResult]] = {}
    for record in facts.judged:
        if record.candidate in ended and record.judgement is not None:
            for result in record.judgement.results:
                answers.setdefault(result.gate, {})[record.candidate] = result
    if facts.run.original is not None:
        for result in facts.run.original.results:
            answers.setdefault(result.gate, {})["original"] = result
    return answers


def _row(gate: Gate, answers: Mapping[str, GateResult]) -> dict[str, Any]:
    hazard = HAZARDS.get(gate.preset, HAZARDS["gates"])
    return {
        "gate": gate.id,
        "hazard": hazard.name,
        "situation": hazard.situation,
        "control": f"{gate_words(gate)} {threshold_words(gate)}",
        "effectiveness": [
            {
                "judged": name,
                "verdict": result.verdict,
                "estimate": figure(result.estimate, gate.unit),
                "bounds": bounds_words(gate, result),
                "because": reason_words(result),
                "refuses": control_words(result.refused),
            }
            for name, result in answers.items()
        ],
        "severity": ASSESS,
        "probability": ASSESS,
        "residual_risk": ASSESS,
    }


def _lines(value: Mapping[str, Any]) -> Iterator[str]:
    yield from ("# Hazards and the gates that control them", "", NO_CLAIM, "")
    yield from (f"Run {value['run']}. Severity, probability and residual risk are {ASSESS}.", "")
    rows = [
        (row["hazard"], row["situation"], row["control"], answer["judged"], answer["verdict"], answer["bounds"])
        for row in value["controlled"]
        for answer in row["effectiveness"] or [{"judged": "nothing", "verdict": "not judged", "bounds": ""}]
    ]
    yield from table(("hazard", "situation", "controlled by", "judged", "verdict", "bounds"), rows)
    for candidate, lines in value["waivers"].items():
        yield from ("", f"Let through by waivers ({inline(candidate)}):", "", *bullets(lines))
    yield from ("", "## Hazards that no gate of this contract is about", "")
    open_ones = [f"{row['hazard']}: {row['situation']} (gate: {row['preset']})" for row in value["not_controlled"]]
    yield from bullets(open_ones or ["none of those that titrant knows"])
    yield from ("", "## Hazards that no gate can control", "", *bullets(value["beyond"]))
