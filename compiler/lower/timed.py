"""What is timed to judge by, how often and at which batch sizes, as far as recipe and gates say."""

from typing import Any

from titrant.compiler.decide.rule import Decisions
from titrant.compiler.lower.verify import TIMED
from titrant.schema.cases import PERCENTILES, blocks_for_percentile, runs_for_percentile
from titrant.schema.gate import PEAK_RATIO, PERCENTILE_RATIO, Gate
from titrant.schema.plan import Candidate
from titrant.schema.recipe.recipe import Recipe
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


def judged_timing(recipe: Recipe, decisions: Decisions) -> dict[str, Any]:
    """Say how often what judges is timed: as many blocks and processes as the strictest gate needs for a bound."""
    contract = decisions.settled.contract
    timed = [gate for gate in contract.gates if gate.metric in PERCENTILES]
    blocks = (blocks_for_percentile(PERCENTILES[gate.metric], _strictness(gate, contract.confidence)) for gate in timed)
    judged: dict[str, Any] = {"batches": judged_batches(recipe, decisions), "blocks": max(blocks, default=1)}
    memory = [gate for gate in contract.gates if gate.metric == "peak_memory"]
    if memory:
        judged["memory_runs"] = max(runs_for_percentile(0.5, _strictness(gate, contract.confidence)) for gate in memory)
    return judged


def _strictness(gate: Gate, confidence: float) -> float:
    """Return the confidence of each bound of a gate; where two of them make a ratio, each fails half as often."""
    return (1 + confidence) / 2 if gate.test in (PERCENTILE_RATIO, PEAK_RATIO) else confidence


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
