"""Prove that candidates, searches and contract fit the steps that make, time and judge them."""

from collections.abc import Iterator

from titrant.compiler.formats import ENGINES_OF, KIND_OF
from titrant.compiler.ports import Declare, given_kinds, split_reference
from titrant.schema.plan import Candidate, Plan, Search, Step

# Metrics that are read from timings rather than from answers.
TIMED = ("latency_p50", "latency_p95", "latency_p99", "throughput", "peak_memory")


def search_problems(plan: Plan, declare: Declare) -> Iterator[str]:
    """Yield what is wrong with candidates, searches and gates; the steps are known to be sound."""
    steps = {step.id: step for step in plan.steps}
    for candidate in plan.candidates:
        yield from _candidate(candidate, steps, declare)
        yield from _judged(candidate, plan, steps)
    known = {candidate.id for candidate in plan.candidates}
    if len(known) < len(plan.candidates):
        yield "two candidates have one id"
    for search in plan.searches:
        yield from _search(search, plan, known, steps)
    for step in plan.steps:
        if step.candidate and step.candidate not in known:
            yield f"{step.id}: there is no candidate {step.candidate}"


def _candidate(candidate: Candidate, steps: dict[str, Step], declare: Declare) -> Iterator[str]:
    producer, port = split_reference(candidate.model)
    kind = given_kinds(steps[producer], declare)[port]
    if KIND_OF.get(candidate.format) != kind:
        yield f"{candidate.id}: format {candidate.format} cannot hold what {producer} made ({kind})"
    if candidate.engine not in ENGINES_OF.get(kind, ()):
        yield f"{candidate.id}: engine {candidate.engine} does not load {kind}"


def _judged(candidate: Candidate, plan: Plan, steps: dict[str, Step]) -> Iterator[str]:
    """Every gate must find its facts: answers, the file, and timings where the gate is about time or memory."""
    producer, _ = split_reference(candidate.judgement)
    step = steps[producer]
    judged = {gate["id"] for gate in step.params.get("gates", ())}
    for gate in plan.contract.gates:
        if gate.id not in judged:
            yield f"{candidate.id}: nothing judges gate {gate.id}"
        elif gate.metric in TIMED and "timings" not in step.inputs:
            yield f"{candidate.id}: gate {gate.id} needs timings, and {step.id} is given none"
    chosen_by = {search.timings for search in plan.searches}
    if step.inputs.get("timings") in chosen_by:
        yield f"{candidate.id}: {step.id} judges by {step.inputs['timings']}, which chose"
    if step.inputs.get("model") != candidate.model:
        yield f"{candidate.id}: {step.id} judges another file than the one that is released"


def _search(search: Search, plan: Plan, known: set[str], steps: dict[str, Step]) -> Iterator[str]:
    for name in search.candidates:
        if name not in known:
            yield f"search {search.name}: there is no candidate {name}"
    formats = {candidate.id: candidate.format for candidate in plan.candidates}
    for name in search.candidates:
        if search.format not in ("auto", formats.get(name, search.format)):
            yield f"search {search.name}: {name} is {formats[name]}, not {search.format}"
    timed = steps[split_reference(search.timings)[0]].inputs.get("models", {})
    for name in ("original", *search.candidates):
        if name not in timed:
            yield f"search {search.name}: {name} is not timed"
