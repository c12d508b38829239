"""Rules that tie keys together: what is right by itself may still contradict something else."""

from collections.abc import Callable, Iterator

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.rules import contract, model, rows, sections, sources, split
from titrant.schema.rules.draft import Draft, UnsettledError

__all__ = ["RULES", "Draft", "check"]

Rule = Callable[[Draft], Iterator[Diagnostic]]
RULES: tuple[Rule, ...] = (
    *model.RULES,
    *sources.RULES,
    *split.RULES,
    *rows.RULES,
    *contract.RULES,
    *sections.RULES,
)


def check(draft: Draft) -> list[Diagnostic]:
    """Run every rule whose sections are right; a rule about a section that is not says nothing."""
    found: list[Diagnostic] = []
    for rule in RULES:
        try:
            found += rule(draft)
        except UnsettledError:
            continue
    return found
