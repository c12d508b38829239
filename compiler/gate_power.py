"""How many cases a gate needs to pass with 80 % probability, and below how many it can never pass."""

from titrant.schema.binomial_cases import zero_failure_cases
from titrant.schema.cases import mean_cases, need
from titrant.schema.gate import Gate

# The share of cases that the original is assumed to have right, where nothing has been measured yet.
RIGHT = 0.9

Needed = tuple[int | None, str]


def needed_cases(gate: Gate, confidence: float) -> Needed:
    """Return the cases that a gate needs, and what that number assumes; (None, "") where no such number is known.

    A gate with a least number of cases of its own needs at least those.
    """
    found = need(gate, confidence=confidence, original=RIGHT)
    if gate.min_cases > (found.cases or 0):
        return gate.min_cases, "the least that min_cases allows"
    return found.cases, found.assumption


def fewest_cases(gate: Gate, confidence: float) -> int:
    """Return the cases below which a gate can never pass, even if no answer changes; 0 where none are known.

    For a ratio of groups these are the first group's.
    """
    if not 0 < gate.threshold < 1:
        return 0
    match gate.test, gate.comparison:
        case ("exact_binomial", "at_least") | ("score_ratio" | "group_ratio", _):
            # Of retention only cases that either model has right count; all of them may be.
            return zero_failure_cases(gate.threshold, confidence)
        case ("exact_binomial", "at_most") | ("paired_difference", _):
            return zero_failure_cases(1 - gate.threshold, confidence)
        case "paired_mean", "rise_at_most" | "drop_at_most":
            return mean_cases(gate.threshold, 1.0, confidence) or 0
    return 0
