"""Make the steps of a plan, and read and rename what they refer to."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from titrant.runtime.backends import backend
from titrant.runtime.catalog import ANY_MODEL, LEAVE, Declaration, Port, full_params
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Plan, Step
from titrant.schema.values.frozen import dataclass, replace

Declare = Callable[[str], Declaration]
PortSource = str | Mapping[str, str]
StepInputs = Mapping[str, PortSource]

# What the executor itself provides, as if a step named "run" had made it.
PROVIDED: Mapping[str, Mapping[str, str]] = {"run": {"record": "value"}}


@dataclass(frozen=True)
class StepMaker:
    """What every step of one plan shares: the seed, and what predictions are made from."""

    declare: Declare
    hardware: Hardware
    model: ModelFacts
    seed: int

    def make(
        self,
        identifier: str,
        operator: str,
        params: Mapping[str, Any],
        inputs: StepInputs,
        *,
        stage: str,
        because: str,
        candidate: str = "",
    ) -> Step:
        """Make one step; its parameters are written with their defaults, so that a changed default changes the key."""
        declaration = self.declare(operator)
        full = full_params(declaration.params, params).model_dump(mode="json")
        if LEAVE in full and not full[LEAVE]:
            del full[LEAVE]  # most recipes leave none: their keys are those from before one could
        return Step(
            id=identifier,
            operator=operator,
            version=declaration.version,
            params=full,
            inputs=inputs,
            seed=self.seed,
            stage=stage,
            candidate=candidate,
            because=because,
        )


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


def takes(port: Port, kind: str) -> bool:
    """Whether a port takes a kind."""
    return kind in port.kinds or (ANY_MODEL in port.kinds and is_model(kind))


def is_model(kind: str) -> bool:
    """Whether artifacts of a kind are models."""
    return kind in backend.kinds()


def given_kinds(step: Step, declare: Declare) -> Mapping[str, str]:
    """Return the kind of each of a step's outputs."""
    return declare(step.operator).outputs


def plan_references(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield (what refers, "step.port") for everything that the plan itself reads, outside its steps."""
    yield "original", plan.original
    if plan.original_judgement:
        yield "the original's judgement", plan.original_judgement
    for reference in plan.fitness:
        yield "the original's fitness", reference
    if plan.original_limits:
        yield "what the original misses", plan.original_limits
    for candidate in plan.candidates:
        for part in ("model", "answers", "quality", "judgement", "repeats", "invariance", "executed", "allocation"):
            if getattr(candidate, part):
                yield f"{candidate.id}'s {part}", getattr(candidate, part)
        for reference in candidate.reduced:
            yield f"what a reduction of {candidate.id} keeps", reference
    for search in plan.searches:
        yield f"the timings of search {search.name}", search.timings
    for name, reference in plan.shipped.items():
        yield f"shipped {name}", reference


def rewire(plan: Plan, names: Mapping[str, str]) -> Plan:
    """Make everything that read step `old` read step `names[old]`; the steps keep their own ids."""
    return replace(
        plan,
        steps=tuple(replace(step, inputs=renamed_inputs(step.inputs, names)) for step in plan.steps),
        original=renamed(plan.original, names),
        original_judgement=renamed(plan.original_judgement, names) if plan.original_judgement else "",
        fitness=tuple(renamed(reference, names) for reference in plan.fitness),
        original_limits=renamed(plan.original_limits, names) if plan.original_limits else "",
        candidates=tuple(
            replace(
                candidate,
                model=renamed(candidate.model, names),
                answers=renamed(candidate.answers, names),
                quality=renamed(candidate.quality, names),
                judgement=renamed(candidate.judgement, names),
                repeats=renamed(candidate.repeats, names) if candidate.repeats else "",
                invariance=renamed(candidate.invariance, names) if candidate.invariance else "",
                executed=renamed(candidate.executed, names) if candidate.executed else "",
                allocation=renamed(candidate.allocation, names) if candidate.allocation else "",
                reduced=tuple(renamed(reference, names) for reference in candidate.reduced),
            )
            for candidate in plan.candidates
        ),
        searches=tuple(replace(search, timings=renamed(search.timings, names)) for search in plan.searches),
        shipped={name: renamed(reference, names) for name, reference in plan.shipped.items()},
    )


def renamed_inputs(inputs: Mapping[str, PortSource], names: Mapping[str, str]) -> dict[str, PortSource]:
    """Rename the steps that a step's inputs come from; a port that takes many keeps the names of its values."""
    return {
        port: renamed(source, names)
        if isinstance(source, str)
        else {name: renamed(reference, names) for name, reference in source.items()}
        for port, source in inputs.items()
    }


def renamed(reference: str, names: Mapping[str, str]) -> str:
    """Rename the step of one "step.port"."""
    step, port = split_reference(reference)
    return f"{names.get(step, step)}.{port}"
