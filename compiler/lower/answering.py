"""The parameters of steps that answer rows, read the answers, time them and judge them."""

from collections.abc import Sequence
from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.decide.measuring import comparisons, output_names
from titrant.compiler.decide.rule import Decisions, LoadStep
from titrant.compiler.lower.verify import TIMED
from titrant.schema.cases import PERCENTILES, blocks_for_percentile, runs_for_percentile
from titrant.schema.facts import TensorSpec
from titrant.schema.gate import PEAK_RATIO, PERCENTILE_RATIO, Gate, criteria
from titrant.schema.open_looks import OPEN
from titrant.schema.plan import GIVEN, Candidate
from titrant.schema.recipe.data import LEAST_OF_A_STRATUM
from titrant.schema.recipe.model import BOXES
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class TimedModel:
    """A model that is timed: its name in the timings, its engine, and the "step.port" of its file."""

    name: str
    engine: str
    model: str

    @classmethod
    def of(cls, candidate: Candidate) -> "TimedModel":
        """Return a candidate's."""
        return cls(candidate.id, candidate.engine, candidate.model)


def reading(recipe: Recipe, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Say how outputs are read: the task, which output is judged, and what the numbers of each are.

    `outputs` are the model's own, of which one that the recipe does not name is taken by its place.
    """
    if recipe.model.decode is not None:
        threshold = recipe.validation.operating_point.threshold
        return {
            "task": recipe.task, "output": BOXES, "kinds": {BOXES: "boxes"}, "agreement": {},
            **({} if recipe.task != "detection" or threshold is None else {"score": threshold}),
        }  # fmt: skip
    named = output_names(recipe, outputs)
    return {
        "task": recipe.task,
        "output": named[0] if named else "",
        "kinds": {name: spec.kind for name, spec in zip(named, recipe.model.output or (), strict=True) if spec.kind},
        "agreement": _comparisons(recipe, outputs),
    }


def _comparisons(recipe: Recipe, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return the comparisons that the recipe states, as parameters of what reads the outputs; by kind needs none."""
    return {
        compared.output: {"measure": compared.measure, "tolerance": compared.tolerance}
        for compared in comparisons(recipe, outputs)
        if compared.written
    }


def raw_reading(recipe: Recipe, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Say how outputs are read where only their numbers count: those of masks, boxes and numbers have no classes."""
    if TASKS[recipe.task].label not in ("mask", "boxes") and recipe.model.decode is None:
        return reading(recipe, outputs)
    return {"task": "unlabeled", "output": "", "kinds": {}, "agreement": {}}


def predict(engine: str, decisions: Decisions) -> dict[str, Any]:
    """Say where a model answers rows; the threads are those of work that makes bytes, so answers repeat exactly."""
    return {"engine": engine, "threads": decisions.settled.threads.making, "device": decisions.settled.device}


def other_names(candidate: Candidate, decisions: Decisions) -> dict[str, Any]:
    """Say which outputs of a candidate that was made elsewhere have other names than the original's; {} else."""
    loads = (chain.load for chain in decisions.settled.chains if chain.method == candidate.method == GIVEN)
    return next((renamed(load) for load in loads if load is not None), {})


def renamed(load: LoadStep) -> dict[str, Any]:
    """Say so to what answers rows with a model that this loads."""
    return {"named": load.named} if load.named else {}


def contract(bound: BoundRecipe, decisions: Decisions, outputs: Sequence[TensorSpec], candidate: str) -> dict[str, Any]:
    """Say by which gates a candidate is judged."""
    least = bound.recipe.report.min_cell
    return {
        **reading(bound.recipe, outputs),
        "candidate": candidate,
        "gates": [criteria(gate) for gate in decisions.settled.contract.gates],
        "timing_batch": timing_batch(bound.recipe),
        "confidence": decisions.settled.contract.confidence,
        "require": decisions.settled.contract.require,
        **({"stratified": True} if bound.recipe.strata else {}),
        **({"named_from": least} if bound.recipe.strata and least > LEAST_OF_A_STRATUM else {}),
        **({"always_valid": True} if decisions.settled.contract.looks == OPEN else {}),
    }


def judges_time(decisions: Decisions) -> bool:
    """Whether a gate is about time or memory; only then does a judgement depend on timings, which never repeat."""
    return any(gate.metric in TIMED for gate in decisions.settled.contract.gates)


def judged_batches(recipe: Recipe, decisions: Decisions) -> list[int]:
    """Return the batch sizes that gates are about: the judged one, and the largest where memory is limited."""
    batches = {timing_batch(recipe)}
    if any(gate.metric == "peak_memory" for gate in decisions.settled.contract.gates):
        batches.add(max(decisions.settled.profile["batches"]))
    return sorted(batches)


def timing_batch(recipe: Recipe) -> int:
    """Return the batch size that latency is judged and compared at."""
    latency = recipe.target.latency
    return 1 if latency is None or latency.batch is None else latency.batch


def judged_timing(recipe: Recipe, decisions: Decisions) -> dict[str, Any]:
    """Say how often what judges is timed: as many blocks and processes as the strictest gate needs for a bound."""
    contract = decisions.settled.contract
    timed = [gate for gate in contract.gates if gate.metric in PERCENTILES]
    blocks = (_blocks(gate, contract.confidence) for gate in timed)
    judged: dict[str, Any] = {"batches": judged_batches(recipe, decisions), "blocks": max(blocks, default=1)}
    memory = [gate for gate in contract.gates if gate.metric == "peak_memory"]
    if memory:
        judged["memory_runs"] = max(runs_for_percentile(0.5, _strictness(gate, contract.confidence)) for gate in memory)
    return judged


def _blocks(gate: Gate, confidence: float) -> int:
    """Return in how many blocks a gate is timed: twice the least where one slow block of either file would spoil it."""
    least = blocks_for_percentile(PERCENTILES[gate.metric], _strictness(gate, confidence))
    return 2 * least if gate.test == PERCENTILE_RATIO else least


def _strictness(gate: Gate, confidence: float) -> float:
    """Return the confidence of each bound of a gate; where two of them make a ratio, each fails half as often."""
    return (1 + confidence) / 2 if gate.test in (PERCENTILE_RATIO, PEAK_RATIO) else confidence
