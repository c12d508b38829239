"""What a decision rule is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from titrant.compiler.bound import BoundRecipe
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.frozen import dataclass
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe import Recipe


@dataclass(frozen=True)
class Question:
    """Everything that a rule may look at; `settled` holds the answers of the rules before it, by subject."""

    bound: BoundRecipe
    hardware: Hardware
    model: ModelFacts
    data: DataFacts
    settled: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The recipe itself."""
        return self.bound.recipe

    def has_rows(self, role: str) -> bool:
        """Whether a role has any rows."""
        return role in self.data.roles and self.data.roles[role].rows > 0


@dataclass(frozen=True)
class Answer:
    """What a rule settled (lowering and later rules read it), the decisions to show, and warnings."""

    value: Any
    decisions: tuple[Decision, ...] = ()
    warnings: tuple[str, ...] = ()


def decision(
    question: Question,
    subject: str,
    rule: str,
    *,
    asked: str,
    chosen: str,
    because: str,
    path: tuple[str | int, ...] = (),
    rejected: tuple[Rejected, ...] = (),
) -> Decision:
    """Make a decision line; `path` is the recipe key that it answers, whose place is noted where it stands there."""
    where = question.bound.where(*path) if path else ""
    return Decision(subject, asked, chosen, because, rule, rejected, where)
