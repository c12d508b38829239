"""Settle how a step of training computes: in which precision, and which activations it computes again."""

from collections.abc import Iterator, Mapping
from typing import Any

from titrant.compiler.decide.rule import Question, decision
from titrant.runtime import catalog
from titrant.schema.cost import NOTHING_KNOWN
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.train import Distributed, Train
from titrant.schema.values.units import format_size

# Share of the machine's memory up to which a training is left as it is, and the ratios that are tried above it.
_MEMORY_SHARE = 0.8
_RATIOS = (0.25, 0.5, 0.75, 1.0)


def step_terms(question: Question, train: Train, params: Mapping[str, Any]) -> Iterator[tuple[str, Any, Decision]]:
    """Yield what differs from fp32 and all activations kept: the parameter of train.fit, its value and its line."""
    if question.bound.written("train", "precision"):
        yield "precision", *_precision(question, train)
    if train.distributed is not None:
        line = _processes(question, train.distributed)
        yield from (("processes", train.distributed.processes, line), ("resume", False, line))
        yield "watch_gradients", None, line
    if question.recipe.memory.gradient_checkpointing is not None:
        yield "gradient_checkpointing", *_recomputing(question, params)


def _precision(question: Question, train: Train) -> tuple[str, Decision]:
    asked = train.precision
    chosen, because = asked, "the recipe says so; weights and the optimizer stay fp32, and the gain is measured"
    rejected: tuple[Rejected, ...] = ()
    if asked == "auto":
        chosen, because = "fp32", "on a processor, so that the weights do not depend on whether it computes in bf16"
        rejected = (Rejected("bf16", "it is taken where it is written; small layers become slower by it"),)
    elif asked == "fp32":
        because = "the recipe says so"
    return chosen, decision(
        question,
        "train.precision",
        "precision.auto" if asked == "auto" else "precision.written",
        asked=asked,
        chosen=chosen,
        because=because,
        path=("train", "precision"),
        rejected=rejected,
    )


def _processes(question: Question, asked: Distributed) -> Decision:
    processes, cores = asked.processes, question.hardware.identity.cores
    because = "the recipe says so; how it scales is measured, and no checkpoints are kept"
    if processes * question.settled.threads.making > cores:
        because += f"; the machine has {cores} cores for them"
    return decision(
        question,
        "train.distributed",
        "distributed.written",
        asked=f"{processes} processes",
        chosen=f"{processes} processes share each batch over gloo",
        because=because,
        path=("train", "distributed"),
    )


def _recomputing(question: Question, params: Mapping[str, Any]) -> tuple[float, Decision]:
    asked = question.recipe.memory.gradient_checkpointing
    if asked == "auto":
        ratio, because = _by_memory(question, params)
        text, rule = "auto", "gradient_checkpointing.auto"
    else:
        assert asked is not None
        ratio, because = asked, "the recipe says so; what it saves and costs is predicted and measured"
        text, rule = f"{asked:g}", "gradient_checkpointing.written"
    chosen = f"{ratio:.0%} of the layers compute their activations again" if ratio else "all activations are kept"
    path = ("memory", "gradient_checkpointing")
    line = decision(
        question, "memory.gradient_checkpointing", rule, asked=text, chosen=chosen, because=because, path=path
    )
    return ratio, line


def _by_memory(question: Question, params: Mapping[str, Any]) -> tuple[float, str]:
    """Return the least ratio with which training is predicted to fit into memory, and why."""
    total = question.hardware.identity.memory_bytes
    if total is None:
        return 0.0, "how much memory the machine has is not known"
    allowed = int(_MEMORY_SHARE * total)
    before = _peak_bytes(question, params, 0.0)
    if before is None:
        return 0.0, "how much memory training takes is not known"
    limit = f"{_MEMORY_SHARE:.0%} of the memory is {format_size(allowed)}"
    if before <= allowed:
        return 0.0, f"training takes {format_size(before)}, and {limit}"
    for ratio in _RATIOS:
        peak = _peak_bytes(question, params, ratio)
        if peak is not None and peak <= allowed:
            return ratio, f"training takes {format_size(before)}, so {format_size(peak)}; {limit}"
    return _RATIOS[-1], f"training takes {format_size(before)}, and {limit}; lower train.batch_size as well"


def _peak_bytes(question: Question, params: Mapping[str, Any], ratio: float) -> int | None:
    fit = catalog.get("train.fit")
    asked = fit.params(**{**params, "gradient_checkpointing": ratio})
    return fit.predict(asked, question.hardware, question.model, NOTHING_KNOWN).peak_bytes
