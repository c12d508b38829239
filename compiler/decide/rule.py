"""What a decision rule is asked and what it answers, and the choices of all rules as one value for lowering."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.gate import Contract
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Chain:
    """One candidate to make: a method with its options, and the engine and format that it ends in.

    `method` is "none" for a plain conversion. `rank` orders from gentle (0) to aggressive.
    """

    id: str
    method: str
    bits: int | None
    engine: str
    format: str
    rank: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportRequest:
    """One format asked for ("auto": whichever of the chains' formats wins), and the stem of its file."""

    format: str
    name: str
    opset: int | None = None


@dataclass(frozen=True)
class Decisions:
    """Every choice with its reason (`decisions`), and the settings that follow from them."""

    decisions: tuple[Decision, ...]
    level: str
    device: str
    threads: int
    timing_threads: int
    original_engine: str
    model_args: Mapping[str, Any]  # `auto` resolved
    training: Mapping[str, Any] | None  # parameters of train.fit; None: the weights are given
    exports: tuple[ExportRequest, ...]
    chains: tuple[Chain, ...]
    objective: tuple[str, ...]
    shortlist: int
    operating_point: Mapping[str, Any]  # parameters of validate.operating_point
    profile: Mapping[str, Any]  # batches, iterations, warmup
    contract: Contract
    warnings: tuple[str, ...] = ()


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
class RuleAnswer:
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
