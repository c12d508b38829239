"""Correct p-values for the number of statements made."""

from collections.abc import Sequence


def adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values (1979), in the order given: at most alpha is wrong over all that are below it."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    found = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        found[index] = highest
    return tuple(found)


def harm(lost: int, gained: int) -> float:
    """Return the p-value of "no more is lost than gained": the exact sign test on the changed cases."""
    from scipy.special import bdtrc

    return float(bdtrc(lost - 1, lost + gained, 0.5)) if lost and gained + lost else 1.0
