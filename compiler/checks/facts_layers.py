"""Check patterns of module names against the model's layers."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from titrant.compiler.checks.look import Finding, Look, meant
from titrant.schema.facts import DataFacts, ModelFacts

# The lists of patterns that a recipe can hold.
LISTS = (("quantization", "skip"), ("quantization", "only"))


def patterns_match(look: Look, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that every pattern names at least one layer with weights: one that matches nothing protects nothing."""
    names = [layer.name for layer in model.layers if layer.weight_bytes]
    for section, key in LISTS:
        for place, pattern in enumerate(getattr(getattr(look.recipe, section), key)):
            if not any(matches(name, pattern) for name in names):
                message = f"`{pattern}` matches none of the model's {len(names)} layers with weights"
                yield look.finding("R139", (section, key, place), message, meant(pattern, names, "they are"))


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern covers a layer: by its own name, or by a module that it lies in."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
