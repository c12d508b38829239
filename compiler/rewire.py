"""Rename steps everywhere in a plan."""

from collections.abc import Mapping
from dataclasses import replace

from titrant.compiler.ports import split_reference
from titrant.schema.plan import Plan

Source = str | Mapping[str, str]


def rewire(plan: Plan, names: Mapping[str, str]) -> Plan:
    """Make everything that read step `old` read step `names[old]`; the steps keep their own ids."""
    return replace(
        plan,
        steps=tuple(replace(step, inputs=renamed_inputs(step.inputs, names)) for step in plan.steps),
        original=renamed(plan.original, names),
        candidates=tuple(
            replace(
                candidate,
                model=renamed(candidate.model, names),
                answers=renamed(candidate.answers, names),
                quality=renamed(candidate.quality, names),
                judgement=renamed(candidate.judgement, names),
            )
            for candidate in plan.candidates
        ),
        searches=tuple(replace(search, timings=renamed(search.timings, names)) for search in plan.searches),
        shipped={name: renamed(reference, names) for name, reference in plan.shipped.items()},
    )


def renamed_inputs(inputs: Mapping[str, Source], names: Mapping[str, str]) -> dict[str, Source]:
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
