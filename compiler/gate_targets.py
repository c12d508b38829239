"""The rows that the limits of `target` stand for."""

from collections.abc import Iterator

from titrant.compiler.rules.question import Question
from titrant.schema.gate import Gate
from titrant.schema.gate_test import gate_test


def targets(question: Question) -> Iterator[Gate]:
    """Latency, size, peak memory and throughput, each in its unit."""
    target, bound = question.recipe.target, question.bound
    latency = target.latency
    for name in ("p50", "p95", "p99"):
        limit = getattr(latency, name) if latency is not None else None
        if limit is not None:
            where = bound.where("target", "latency", name)
            yield _limit(f"latency.{name}", f"latency_{name}", limit, "s", where)
    for name, unit in (("size", "B"), ("peak_memory", "B"), ("throughput", "cases/s")):
        limit = getattr(target, name)
        if limit is not None:
            yield _limit(name, name, float(limit), unit, bound.where("target", name))


def _limit(identifier: str, metric: str, limit: float, unit: str, where: str) -> Gate:
    comparison = "at_least" if metric == "throughput" else "at_most"
    test = gate_test(metric, comparison)
    return Gate(identifier, "target", metric, "all", comparison, limit, test, where, unit)  # type: ignore[arg-type]
