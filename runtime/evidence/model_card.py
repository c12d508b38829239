"""Write a model card in the form of the Hugging Face Hub: front matter that programs read, and text for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.runtime.evidence.facts import ReleasedModel, RunFacts, answered
from titrant.runtime.evidence.words import (
    NO_CLAIM,
    NOT_KNOWN,
    all_cases,
    bounds_words,
    bullets,
    data_sources,
    figure,
    gate_words,
    is_quantized,
    latency_of,
    method_words,
    original_name,
    precisions,
    slices,
    table,
    task_words,
    tensors,
    text_of,
    timings,
    training,
    transform_names,
    verdict_words,
    waiver_lines,
)
from titrant.schema.contract.waivers import waiver_words
from titrant.schema.gate import reason_words, threshold_words
from titrant.schema.values.text import block, inline
from titrant.schema.values.units import format_size

# What the Hub calls a task, by whether its cases are rows of a table or images.
_PIPELINES: Mapping[tuple[str, str], str] = {
    ("binary_classification", "table"): "tabular-classification",
    ("multiclass_classification", "table"): "tabular-classification",
    ("multilabel_classification", "table"): "tabular-classification",
    ("regression", "table"): "tabular-regression",
    ("binary_classification", "image"): "image-classification",
    ("multiclass_classification", "image"): "image-classification",
    ("multilabel_classification", "image"): "image-classification",
    ("segmentation", "image"): "image-segmentation",
    ("detection", "image"): "object-detection",
    ("language_modeling", "text"): "text-generation",
    ("embedding", "text"): "feature-extraction",
}
# What cases are, by the dimensions of the model's one input, the batch included.
_DATA: Mapping[int, str] = {2: "table", 4: "image"}


def model_card(facts: RunFacts) -> dict[str, str]:
    """Return model-card.md of what a run released; the first model is the one that its front matter is about."""
    import yaml

    head = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True, width=1000)
    lines = [f"---\n{head}---", "", f"# {inline(facts.plan.name)}", "", NO_CLAIM, "", *_body(facts)]
    return {"model-card.md": text_of(lines)}


def front_matter(facts: RunFacts) -> dict[str, Any]:
    """Return what programs read of a card: a value that no run can know is left out, `license` alone is "unknown"."""
    model = facts.released[0]
    pipeline = _pipeline(facts)
    quantized = is_quantized(facts, model)
    measured: Mapping[str, float | None] = all_cases(facts, model).get("candidate") or {}
    tags = ["titrant", model.candidate.format, model.candidate.engine]
    tags += [model.candidate.method] * (model.candidate.method != "none")
    return {
        "base_model": original_name(facts),
        **({"base_model_relation": "quantized"} if quantized else {}),
        "library_name": model.candidate.engine,
        "license": "unknown",
        **({"pipeline_tag": pipeline} if pipeline else {}),
        "tags": list(dict.fromkeys(tags)),
        "metrics": [name for name, value in measured.items() if value is not None],
        "model-index": [{"name": facts.plan.name, "results": list(_results(facts, model, pipeline))}],
    }


def _pipeline(facts: RunFacts) -> str:
    """Return what the Hub calls the task; "" where it is not known whether cases are rows, images or text."""
    loading = (step.params.get("inputs") for step in facts.plan.steps if step.operator.startswith("model.load"))
    inputs: Sequence[Mapping[str, Any]] = next(filter(None, loading), ())
    loaded = [source for step in facts.steps_of("data.load") for source in step.params.get("sources", {}).values()]
    kind = _DATA.get(len(inputs[0]["shape"]), "") if len(inputs) == 1 else ""
    kind = "text" if any(source.get("text") for source in loaded) else kind
    return _PIPELINES.get((facts.plan.task, kind), "")


def _results(facts: RunFacts, model: ReleasedModel, pipeline: str) -> Iterator[dict[str, Any]]:
    """Yield one result for each slice with figures, as the report shows it: the released model's own metrics."""
    source = data_sources(facts)
    for name, of_slice in slices(facts, model):
        values = {metric: value for metric, value in (of_slice.get("candidate") or {}).items() if value is not None}
        if not values:
            continue
        yield {
            "task": {"type": pipeline or facts.plan.task, "name": facts.plan.task.replace("_", " ")},
            "dataset": {
                "name": source[0][1] if source else facts.plan.name,
                "type": facts.plan.name,
                "config": name,
                "split": "evaluation",
                "revision": facts.plan.data_digest,
            },
            "metrics": [{"type": metric, "value": value, "name": metric} for metric, value in values.items()],
        }


def _body(facts: RunFacts) -> Iterator[str]:
    yield from _details(facts)
    yield from _uses(facts)
    yield from _limits(facts)
    yield from _start(facts)
    yield from _training(facts)
    yield from _evaluation(facts)
    yield from _technical(facts)


def _details(facts: RunFacts) -> Iterator[str]:
    yield from ("## Model details", "", "### Description", "")
    yield from table(
        ("file", "what was done", "size", "layers run in", "SHA-256"),
        (
            (
                model.path,
                method_words(model),
                format_size(model.size),
                ", ".join(f"{count} in {name}" for name, count in precisions(model).items()),
                ", ".join(file.sha256 for file in model.files),
            )
            for model in facts.released
        ),
    )
    before = facts.size_of(facts.plan.original)
    yield from (
        "",
        f"- **Model type:** {inline(facts.plan.task.replace('_', ' '))}: it {task_words(facts.plan.task)}",
        f"- **Optimized from:** {inline(original_name(facts))}, digest {facts.plan.model_digest}"
        + (f", {format_size(before)} as stored" if before else ""),
        f"- **Verdict of the contract:** {inline(verdict_words(facts.run))}",
        f"- **Made by:** titrant {inline(facts.run.environment.get('titrant', ''))}, run {inline(facts.run.run)}, "
        f"{facts.began}",
        f"- **Recipe:** digest {facts.plan.recipe_digest}; plan {facts.run.plan_digest}",
        f"- **Developed by:** {NOT_KNOWN}",
        f"- **Funded by:** {NOT_KNOWN}",
        f"- **License:** {NOT_KNOWN}",
        f"- **Repository, paper, demo:** {NOT_KNOWN}",
        "",
    )


def _uses(facts: RunFacts) -> Iterator[str]:
    machine = facts.plan.hardware
    batch = facts.manifest.get("batch")
    yield from ("## Uses", "", "### Direct use", "", NOT_KNOWN, "")
    yield from ("The inputs that it takes, and what it answers:", "")
    yield from bullets([*(f"input {spec}" for spec in tensors(facts, "inputs")),
                        *(f"output {spec}" for spec in tensors(facts, "outputs"))])  # fmt: skip
    yield from ("", "### Out-of-scope use", "", "What the record says nothing about:", "")
    yield from bullets(
        [
            f"another instruction set than {machine.machine} with {', '.join(machine.instructions) or 'none known'}",
            *([f"batches of another size than {batch}, which was judged"] if batch else []),
            f"another engine than {', '.join(dict.fromkeys(model.candidate.engine for model in facts.released))}",
            "cases that are unlike those of the data with the digest below",
        ]
    )
    yield from ("", f"What else it must not be used for: {NOT_KNOWN}", "")


def _limits(facts: RunFacts) -> Iterator[str]:
    yield from ("## Bias, risks and limitations", "")
    model = facts.released[0]
    rows = [
        (name, of_slice.get("cases", ""), metric, figure((of_slice.get("original") or {}).get(metric)), figure(value))
        for name, of_slice in slices(facts, model)
        for metric, value in (of_slice.get("candidate") or {}).items()
        if value is not None and (of_slice["group"] or of_slice["value"])
    ]
    if rows:
        yield from table(("subgroup", "cases", "metric", "original", "optimized"), rows)
        yield from ("", "Groups with too few cases are not shown.", "")
    else:
        yield from ("No subgroups were named in the recipe: nothing was measured about any.", "")
    still_open = [
        f"{gate.id} ({gate_words(gate)}): {result.verdict}, {_waived(model, gate.id)}{reason_words(result)}"
        for model in facts.released
        for gate, result in answered(facts, model.judgement)
        if result.verdict != "PASS"
    ]
    yield from (["Gates that are not proven:", "", *bullets(still_open), ""] if still_open else [])
    waivers = [line for model in facts.released for line in waiver_lines(model.became)]
    yield from (["Let through by waivers:", "", *bullets(waivers), ""] if waivers else [])
    yield from ("### Recommendations", "", "See hazards.md and report.html of the run.", "")


def _start(facts: RunFacts) -> Iterator[str]:
    yield from ("## How to get started", "")
    code = 'import titrant\n\nmodel = titrant.load("RUN")  # the run\'s folder, or a copy of its outputs/\n'
    yield from (block(code, "python"), "")
    decided = facts.values.get("point") or {}
    if decided.get("threshold") is not None:
        yield from (f"Operating point: positive from a probability of {decided['threshold']!r}.", "")


def _training(facts: RunFacts) -> Iterator[str]:
    yield from ("## Training details", "", "### Data", "")
    rows = [(name, what) for name, what in data_sources(facts)]
    yield from table(("source", "what"), rows)
    yield from ("", f"Digest of all data: {facts.plan.data_digest}", "")
    yield from table(("rows for", "count"), facts.rows().items())
    yield from ("", "### Preprocessing", "")
    yield from bullets(transform_names(facts) or ["none: the model takes the data as they are"])
    yield from ("", "### Hyperparameters", "")
    trained = training(facts)
    if trained:
        yield from table(("parameter", "value"), ((name, str(value)) for name, value in sorted(trained.items())))
    else:
        yield "The weights were given: how they were trained is not in the record."
    yield from ("", f"Seed: {facts.plan.steps[0].seed if facts.plan.steps else 'none'}", "")
    seconds = sum(result.seconds for result in facts.results.values())
    yield from (f"All steps of the run together took {seconds:.1f} s of work.", "")


def _evaluation(facts: RunFacts) -> Iterator[str]:
    contract = facts.plan.contract
    yield from ("## Evaluation", "", "### Data, factors and metrics", "")
    rows = facts.rows().get("evaluation")
    words = "rows that neither training nor the search had seen"
    yield f"{rows} {words}." if rows is not None else "The rows of the split named evaluation."
    yield from (
        f"One-sided bounds at confidence {contract.confidence:g}; the contract asks for {contract.require}.",
        "",
        "### Results",
        "",
    )
    for model in facts.released:
        yield from (f"{inline(model.path)}:", "")
        yield from table(
            ("verdict", "gate", "judges", "threshold", "estimate", "bounds", "original", "optimized", "cases"),
            (
                (
                    result.verdict,
                    gate.id,
                    gate_words(gate),
                    threshold_words(gate),
                    figure(result.estimate, gate.unit),
                    bounds_words(gate, result),
                    figure(result.original, gate.unit),
                    figure(result.candidate, gate.unit),
                    "" if result.cases is None else result.cases,
                )
                for gate, result in answered(facts, model.judgement)
            ),
        )
        yield ""


def _technical(facts: RunFacts) -> Iterator[str]:
    machine = facts.plan.hardware
    yield from ("## Speed and size", "")
    for model in facts.released:
        rows = [
            (batch, figure(before.get("p50"), "s"), figure(after.get("p50"), "s"), figure(after.get("p95"), "s"))
            for batch, before, after in timings(facts, model)
        ]
        yield from (f"{inline(model.path)}, {facts.plan.timing_threads} thread(s), seconds of one batch:", "")
        yield from table(("batch", "original p50", "p50", "p95"), rows)
        yield from ("", *bullets(f"{name}: {figure(value, 's')}" for name, value in latency_of(model)), "")
    yield from ("## Environmental impact", "", f"Energy was not measured, carbon is not estimated. {NOT_KNOWN}", "")
    yield from ("## Technical specifications", "", "### Hardware", "")
    gpus = [f"{gpu.name} ({gpu.kind})" for gpu in machine.gpus] or ["no accelerator"]
    yield from bullets([f"{machine.cpu or machine.machine}, {machine.cores} cores", *gpus])
    yield from ("", "### Software", "")
    yield from bullets([f"{machine.system}, Python {machine.python}",
                        *(f"{name} {version}" for name, version in sorted(machine.packages.items()))])  # fmt: skip
    yield from ("", "## Citation", "", NOT_KNOWN, "", "## Contact", "", NOT_KNOWN)


def _waived(model: ReleasedModel, gate: str) -> str:
    """Say who let a gate through that did not pass; "" where nobody had to."""
    return "".join(f"{waiver_words(each)}; " for each in model.became.waived if each.gate == gate)
