"""Read a plan's ports: what a step gives, what reads it, and of which kind it is."""

from collections.abc import Callable, Iterator, Mapping

from titrant.runtime.catalog import Declaration
from titrant.schema.plan import Plan, Step

Declare = Callable[[str], Declaration]

# What the executor itself provides, as if a step named "run" had made it.
PROVIDED: Mapping[str, Mapping[str, str]] = {"run": {"record": "value"}}

STAGES = ("prepare", "make", "measure", "judge", "report")


def references(step: Step) -> Iterator[tuple[str, str]]:
    """Yield (port, "step.port") for everything that a step reads; a port that takes many comes once for each."""
    for port, source in step.inputs.items():
        if isinstance(source, str):
            yield port, source
        else:
            for reference in source.values():
                yield port, reference


def split_reference(reference: str) -> tuple[str, str]:
    """Split "step.port" at its last dot: step ids may hold dots themselves."""
    step, _, port = reference.rpartition(".")
    return step, port


def given_kinds(step: Step, declare: Declare) -> Mapping[str, str]:
    """Return the kind of each of a step's outputs."""
    return declare(step.operator).outputs


def plan_references(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield (what refers, "step.port") for everything that the plan itself reads, outside its steps."""
    yield "original", plan.original
    for candidate in plan.candidates:
        for part in ("model", "answers", "quality", "judgement"):
            yield f"{candidate.id}'s {part}", getattr(candidate, part)
    for search in plan.searches:
        yield f"the timings of search {search.name}", search.timings
    for name, reference in plan.shipped.items():
        yield f"shipped {name}", reference
