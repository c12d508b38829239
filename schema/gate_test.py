"""Which statistical test judges which metric and comparison."""

# Proportions of cases: what is counted over what.
PROPORTIONS = ("accuracy", "sensitivity", "specificity")
# Shares of cases on which the candidate does as the original did.
SHARES = ("kept", "agreement", "same_decision")
LATENCIES = ("latency_p50", "latency_p95", "latency_p99")
BOOTSTRAPPED = ("balanced_accuracy", "precision", "f1")


def gate_test(metric: str, comparison: str) -> str:
    """Name the test for a gate; "bootstrap" only where no closed test exists.

    Raises ValueError with a sentence for a person when the comparison has no meaning for the metric.
    """
    if metric in SHARES:
        return _only(metric, comparison, ("at_least",), "exact_binomial")
    if metric in LATENCIES:
        return _only(metric, comparison, ("at_most",), "order_statistic")
    if metric == "throughput":
        return _only(metric, comparison, ("at_least",), "order_statistic")
    if metric in ("size", "peak_memory"):
        return _only(metric, comparison, ("at_most",), "counted")
    if comparison == "ratio_at_least":
        return _only(metric, metric, PROPORTIONS, "group_ratio")
    if metric in PROPORTIONS:
        return _proportion(comparison)
    if metric == "auroc":
        return "delong"
    if metric == "brier":
        return "paired_mean"
    if metric == "precision" and comparison in ("at_least", "at_most"):
        return "exact_binomial"
    if metric in BOOTSTRAPPED:
        return "bootstrap"
    raise ValueError(f"there is no test for the metric {metric}")


def _proportion(comparison: str) -> str:
    if comparison == "retention":
        return "score_ratio"
    return "exact_binomial" if comparison in ("at_least", "at_most") else "paired_difference"


def _only(metric: str, given: str, allowed: tuple[str, ...], test: str) -> str:
    if given not in allowed:
        raise ValueError(f"{metric} cannot be compared so; what works: {', '.join(allowed)}")
    return test
