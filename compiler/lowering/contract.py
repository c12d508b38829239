"""The parameters of the steps that read answers, measure and judge."""

from collections.abc import Sequence
from typing import Any

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.decisions import Decisions
from titrant.compiler.output_names import output_names
from titrant.compiler.verify_search import TIMED
from titrant.schema.facts import TensorSpec
from titrant.schema.gate import criteria
from titrant.schema.recipe import Recipe


def reading(recipe: Recipe, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Say how outputs are read: the task, which output is judged, and what the numbers of each are.

    `outputs` are the model's own, of which one that the recipe does not name is taken by its place.
    """
    named = output_names(recipe, outputs)
    return {
        "task": recipe.task,
        "output": named[0] if named else "",
        "kinds": {name: one.kind for name, one in zip(named, recipe.model.output or (), strict=True) if one.kind},
    }


def predict(engine: str, decisions: Decisions) -> dict[str, Any]:
    """Say where a model answers rows; the threads are those of work that makes bytes, so answers repeat exactly."""
    return {"engine": engine, "threads": decisions.threads, "device": decisions.device}


def contract(bound: BoundRecipe, decisions: Decisions, outputs: Sequence[TensorSpec], candidate: str) -> dict[str, Any]:
    """Say by which gates a candidate is judged."""
    return {
        **reading(bound.recipe, outputs),
        "candidate": candidate,
        "gates": [criteria(gate) for gate in decisions.contract.gates],
        "timing_batch": timing_batch(bound.recipe),
        "confidence": decisions.contract.confidence,
        "require": decisions.contract.require,
    }


def judges_time(decisions: Decisions) -> bool:
    """Whether a gate is about time or memory; only then does a judgement depend on timings, which never repeat."""
    return any(gate.metric in TIMED for gate in decisions.contract.gates)


def judged_batches(recipe: Recipe, decisions: Decisions) -> list[int]:
    """Return the batch sizes that gates are about: the judged one, and the largest where memory is limited."""
    batches = {timing_batch(recipe)}
    if any(gate.metric == "peak_memory" for gate in decisions.contract.gates):
        batches.add(max(decisions.profile["batches"]))
    return sorted(batches)


def timing_batch(recipe: Recipe) -> int:
    """Return the batch size that latency is judged and compared at."""
    latency = recipe.target.latency
    return 1 if latency is None or latency.batch is None else latency.batch
