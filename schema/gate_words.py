"""How a gate's comparison reads, for the plan and the report alike."""

from collections.abc import Mapping

# comparison → the words around its threshold
COMPARISONS: Mapping[str, str] = {
    "at_least": "≥ {}",
    "at_most": "≤ {}",
    "retention": "≥ {} of the original’s",
    "drop_at_most": "≤ {} lower than the original’s",
    "rise_at_most": "≤ {} higher than the original’s",
    "ratio_at_least": "≥ {} as a ratio",
}
