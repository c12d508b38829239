"""Write technical documentation in the order of Annex IV of Regulation (EU) 2024/1689, as far as a run can know it."""

from collections.abc import Iterator

from titrant.runtime.evidence.components import components
from titrant.runtime.evidence.facts import RunFacts, answered
from titrant.runtime.evidence.hazards import BEYOND
from titrant.runtime.evidence.words import (
    NO_CLAIM,
    NOT_KNOWN,
    bounds_words,
    bullets,
    data_sources,
    figure,
    gate_words,
    latency_of,
    method_words,
    original_name,
    precisions,
    slices,
    table,
    task_words,
    tensors,
    text_of,
    training,
    transform_names,
    verdict_words,
    waiver_lines,
)
from titrant.schema.gate import control_words, threshold_words
from titrant.schema.values.text import block, inline


def annex_iv(facts: RunFacts) -> dict[str, str]:
    """Return annex-iv.md: nine parts in the regulation's order; what no run can know is said to be missing."""
    lines = [
        "# Technical documentation",
        "",
        "In the order of Annex IV of Regulation (EU) 2024/1689.",
        "",
        NO_CLAIM,
        "",
        *_general(facts),
        *_development(facts),
        *_validation(facts),
        *_monitoring(facts),
        *_rest(facts),
    ]
    return {"annex-iv.md": text_of(lines)}


def _missing(*what: str) -> list[str]:
    return [f"- {subject}: {NOT_KNOWN}" for subject in what]


def _general(facts: RunFacts) -> Iterator[str]:
    machine = facts.plan.hardware
    yield from ("## 1. General description", "", "### (a) Intended purpose, provider, version", "")
    yield from _missing("Intended purpose", "Name of the provider")
    yield from bullets(
        [
            f"Name: {facts.plan.name}",
            f"Version: run {facts.run.run} of {facts.began}; plan {facts.run.plan_digest}",
            f"Task: {facts.plan.task}: the model {task_words(facts.plan.task)}",
            f"Verdict of the contract: {verdict_words(facts.run)}",
            "Relation to earlier versions: changes.md",
        ]
    )
    yield from ("", "### (b) Interaction with hardware and software that is not part of it", "")
    yield from bullets([f"input {text}" for text in tensors(facts, "inputs")]
                       + [f"output {text}" for text in tensors(facts, "outputs")] or ["not recorded"])  # fmt: skip
    yield from ("", "### (c) Versions of software and firmware", "")
    yield from bullets(
        [f"Python {machine.python}", *(f"{library.name} {library.version}" for library in components(facts))]
    )
    yield from ("", "### (d) Forms in which it is placed on the market", "")
    yield from (
        table(("file", "SHA-256", "bytes"), ((file.path, file.sha256, file.size) for file in facts.placed))
        if facts.placed
        else ("No file was put out.",)
    )
    if not facts.released:
        yield from ("", "Nothing was released: what stands in quarantine is not to be used.")
    yield from ("", "### (e) Hardware on which it is intended to run", "")
    gpus = [f"{gpu.name} ({gpu.kind})" for gpu in machine.gpus]
    yield from bullets(
        [f"judged on {machine.cpu or machine.machine}, {machine.cores} cores, {', '.join(machine.instructions)}", *gpus]
    )
    yield from ("", "### (f) to (h) Product, user interface, instructions for use", "")
    yield from _missing(
        "Photographs or illustrations of the product", "User interface", "Instructions for the deployer"
    )
    yield ""


def _development(facts: RunFacts) -> Iterator[str]:
    yield from (
        "## 2. Elements and process of development",
        "",
        "### (a) Methods, steps, and tools of third parties",
        "",
    )
    yield from table(
        ("step", "operator", "version", "what became of it"),
        (
            (record.step, facts.steps[record.step].operator, facts.steps[record.step].version, record.status)
            for record in facts.run.steps
            if record.status != "unused" and record.step in facts.steps
        ),
    )
    yield from ("", "Components of third parties: third-party.md.", "")
    yield from ("### (b) Design: choices, what is optimized, trade-offs", "")
    yield from table(
        ("subject", "asked", "chosen", "because"),
        ((decision.subject, decision.asked, decision.chosen, decision.because) for decision in facts.plan.decisions),
    )
    yield from ("", "### (c) Architecture and computational resources", "")
    resources = [f"original: {original_name(facts)}, digest {facts.plan.model_digest}"]
    for model in facts.released:
        layers = ", ".join(f"{count} in {name}" for name, count in precisions(model).items())
        resources.append(f"{model.path}: {method_words(model)}" + (f"; layers: {layers}" if layers else ""))
    seconds = sum(result.seconds for result in facts.results.values())
    peak = max((result.peak_bytes for result in facts.results.values()), default=0)
    resources.append(f"{seconds:.1f} s of work in all steps; the largest took {figure(peak, 'B')} of memory")
    yield from bullets(resources)
    trained = training(facts)
    if trained:
        yield from ("", *table(("training", "value"), ((key, str(value)) for key, value in sorted(trained.items()))))
    yield from ("", "### (d) Data", "")
    yield from bullets(
        [
            *(f"{name}: {what}" for name, what in data_sources(facts)),
            f"digest of all data: {facts.plan.data_digest}",
            *(f"{count} rows for {role}" for role, count in facts.rows().items()),
            f"transforms: {', '.join(transform_names(facts)) or 'none'}",
        ]
    )
    yield from _missing("Provenance, scope and selection of the data", "How they were labeled and cleaned")
    yield from ("", "### (e) Human oversight", "", *_missing("Measures under Article 14"))
    yield from ("", "### (f) Predetermined changes", "", "changes.md.")
    yield ""


def _validation(facts: RunFacts) -> Iterator[str]:
    contract = facts.plan.contract
    yield from ("### (g) Validation and testing", "")
    yield f"Every gate is answered by a one-sided bound at confidence {contract.confidence:g} or by what is counted."
    yield from ("", *table(
        ("gate", "judges", "criterion", "test"),
        ((gate.id, gate_words(gate), threshold_words(gate), gate.test) for gate in contract.gates),
    ))  # fmt: skip
    for record in facts.judged:
        if record.judgement is None:
            continue
        yield from ("", f"{inline(record.candidate)}: {record.status}", "")
        yield from table(
            ("verdict", "gate", "estimate", "bounds", "cases", "method", "refuses"),
            (
                (
                    result.verdict,
                    gate.id,
                    figure(result.estimate, gate.unit),
                    bounds_words(gate, result),
                    "" if result.cases is None else result.cases,
                    result.method,
                    control_words(result.refused),
                )
                for gate, result in answered(facts, record.judgement)
            ),
        )
        waivers = waiver_lines(record)
        yield from (["", "Let through by waivers:", "", *bullets(waivers)] if waivers else [])
    yield from ("", "The test log is report.json of the run; signed statements stand in signatures/.", "")
    yield from ("### (h) Cybersecurity", "")
    yield from bullets(
        [
            "every file has its SHA-256 in index.json and in the statements; titrant evidence verify compares them",
            "code of the recipe runs in a process of its own and only from the recipe's folder, unless trusted",
        ]
    )
    yield from (*_missing("Measures in use"), "")


def _monitoring(facts: RunFacts) -> Iterator[str]:
    yield from ("## 3. Monitoring, functioning and control", "", "Accuracy for groups of persons:", "")
    rows = [
        (
            model.path,
            name,
            of_slice.get("cases", ""),
            metric,
            figure((of_slice.get("original") or {}).get(metric)),
            figure(value),
        )
        for model in facts.released
        for name, of_slice in slices(facts, model)
        for metric, value in (of_slice.get("candidate") or {}).items()
        if value is not None
    ]
    yield from table(("file", "cases of", "count", "metric", "original", "optimized"), rows) if rows else ("None.",)
    yield from ("", "Speed:", "")
    speeds = [
        f"{model.path}: {name} {figure(value, 's')}" for model in facts.released for name, value in latency_of(model)
    ]
    yield from bullets(speeds or ["not measured"])
    yield from ("", "What can go wrong beyond what was tested:", "", *bullets(BEYOND), "")


def _rest(facts: RunFacts) -> Iterator[str]:
    yield from ("## 4. Appropriateness of the performance metrics", "")
    yield from bullets(f"{gate.id}: {gate_words(gate)}, from {gate.origin}" for gate in facts.plan.contract.gates)
    yield from (f"- Why these suit the purpose: {NOT_KNOWN}", "")
    yield from ("## 5. Risk management system (Article 9)", "", "A skeleton stands in hazards.md.", "")
    yield from (*_missing("The system itself"), "")
    yield from ("## 6. Changes through the lifecycle", "", "changes.md.", "")
    yield from ("## 7. Harmonised standards applied", "", *_missing("List of standards, or other solutions"), "")
    yield from ("## 8. EU declaration of conformity (Article 47)", "", "This document is none, and holds none.", "")
    yield from ("## 9. Monitoring after placing on the market (Article 72)", "", *_missing("The plan"), "")
    if facts.recipe_text:
        yield from ("## Recipe", "", block(facts.recipe_text, "yaml"))
