"""What a decision rule is asked and what it answers, and the choices of all rules as one value for lowering."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.schema.contract.earlier import EarlierRelease
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.gate import Contract
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.own_metric import OwnMetric
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.values.frozen import dataclass, replace


@dataclass(frozen=True)
class ReductionStep:
    """One step from model to model: an operator, its parameters, why it is there, and what its step is called.

    Without a name of its own it is called as its operator.
    """

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    because: str = ""
    name: str = ""


@dataclass(frozen=True)
class ReductionStage:
    """One stage of a reduction that is found out by trying: what its candidates are called, and their reductions."""

    name: str
    reductions: tuple[ReductionStep, ...]


@dataclass(frozen=True)
class LoadStep:
    """What loads a model beside the original, such as a file that was optimized elsewhere, and what is in it.

    `named` are outputs of its that answer for one of the original with another name: own name → the original's.
    """

    operator: str
    params: Mapping[str, Any]
    model: ModelFacts
    named: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EarlierModel:
    """A file that an earlier run released, and what loads it."""

    release: EarlierRelease
    load: LoadStep


@dataclass(frozen=True)
class Chain:
    """One candidate to make: reductions in their order, and the engine and format that it ends in.

    `before` are the reductions that every candidate shares, then comes the quantization `method` with its options:
    "none" for a plain conversion. `rank` orders from gentle (0) to aggressive. A chain that `mends` another, by its id,
    is made only where that one loses too much: with operators `first` and `last` around the method, or as the mixture
    number `mix`, 0 for none. One that `grows` from another, by its id, reduces the network further, and is made only
    where that one keeps enough. `load` is all that there is of a file that was optimized elsewhere (method GIVEN). One
    with a `student` begins with that in place of the original. `layout` is how its convolutions lie in memory, "" as
    they do by themselves.
    """

    id: str
    method: str
    bits: int | None
    engine: str
    format: str
    rank: int
    options: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[ReductionStep, ...] = ()
    mends: str = ""
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    mix: int = 0
    grows: str = ""
    load: LoadStep | None = None
    student: LoadStep | None = None
    layout: str = ""


@dataclass(frozen=True)
class ExportRequest:
    """One format asked for ("auto": whichever of the chains' formats wins), and the stem of its file."""

    format: str
    name: str
    opset: int | None = None
    transforms: str = "beside"  # or inside the file, which then takes raw columns
    external_data: bool = False  # weights in a file of their own
    rung: str = ""  # of the ladder that `quantization.adapt` asks for; "" without one


@dataclass(frozen=True)
class Rung:
    """One variant of a ladder, as the recipe names it, and the ids of the chains that compete for it."""

    name: str
    chains: tuple[str, ...]


@dataclass(frozen=True)
class Preset:
    """One threshold and where it comes from ("level balanced", "recipes/x.yaml:12:3"); `written` by the recipe."""

    threshold: float
    origin: str
    written: bool


@dataclass(frozen=True)
class Presets:
    """The thresholds that are asked for; one that is not asked for is left out."""

    thresholds: Mapping[str, Preset]
    bias_metric: str | None
    bias_min_cases: int
    require: str
    confidence: float  # of each look, of open ones the first
    looks: int | Literal["open"] = 1


@dataclass(frozen=True)
class ThreadCounts:
    """Threads of work that makes bytes, and those that timing uses."""

    making: int
    timing: int


@dataclass(frozen=True)
class Ranking:
    """What decides between candidates, the first first, and how many of them are judged on evaluation rows at most.

    `own` says what each metric of the user's own among them declares.
    """

    order: tuple[str, ...]
    shortlist: int
    own: Mapping[str, OwnMetric] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchBudget:
    """How many candidates methods may make, and until when; None for no limit. Plain conversions do not count."""

    evaluations: int | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Settled:
    """What the rules settled, a field a rule; while they run, a field holds its default until its rule has spoken."""

    level: str = ""
    device: str = "cpu"
    threads: ThreadCounts = ThreadCounts(1, 1)
    original_engine: str = ""
    model_args: Mapping[str, Any] = field(default_factory=dict)  # `auto` resolved
    training: Mapping[str, Any] | None = None  # parameters of train.fit; None: the weights are given
    exports: tuple[ExportRequest, ...] = ()
    presets: Presets = Presets({}, None, 0, "", 0.0)
    reductions: tuple[ReductionStep, ...] = ()  # what every candidate is made of, before it is quantized
    growth: tuple[ReductionStage, ...] = ()  # further reductions that are tried in turn, as long as enough is kept
    student: LoadStep | None = None  # what candidates begin with in place of the original
    teacher: LoadStep | None = None  # whom what is reduced learns from, where that is not the original
    recovery: ReductionStep | None = None  # the training of what they leave
    check: ReductionStep | None = None  # the user's own judgement of what that made
    fine_tuning: Mapping[str, Any] | None = None  # parameters of train.fit; the original gets the same training beside
    chains: tuple[Chain, ...] = ()
    ladder: tuple[Rung, ...] = ()  # variants to release together, in the recipe's order; () where none are asked for
    plain: tuple[Chain, ...] = ()  # conversions that are no candidates, to be timed beside those that are
    objective: Ranking = Ranking((), 0)
    budget: SearchBudget = SearchBudget()
    operating_point: Mapping[str, Any] = field(default_factory=dict)  # parameters of validate.operating_point
    profile: Mapping[str, Any] = field(default_factory=dict)  # batches, iterations, warmup
    earlier: Mapping[str, EarlierModel] = field(default_factory=dict)  # releases that rows compare with, by preset
    contract: Contract = Contract((), 0.0, "evidence")
    evidence: tuple[str, ...] = ()  # documents of the evidence pack
    tracking: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # who follows the run, with what it asks

    @property
    def before(self) -> tuple[ReductionStep, ...]:
        """All that comes before the method: the reductions, the training of what they leave, and the user's check."""
        return self.followed(self.reductions) if self.reductions or self.student else ()

    def followed(self, steps: tuple[ReductionStep, ...]) -> tuple[ReductionStep, ...]:
        """Add to some reductions what comes after them."""
        return (*steps, *(step for step in (self.recovery, self.check) if step is not None))


@dataclass(frozen=True)
class Decisions:
    """Every choice with its reason (`decisions`), and what follows from them."""

    decisions: tuple[Decision, ...]
    settled: Settled
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """Why a candidate that could be made is not: what is predicted of it, or (`by_budget`) no room in the search."""

    because: str
    by_budget: bool = False


@dataclass(frozen=True)
class Question:
    """Everything that a rule may look at; `settled` is what the rules before it settled.

    `left_out` are candidates that could be made and are not, by their id; `others` load the models beside the original.
    `earlier` are files that earlier runs released, by the preset of the rows that compare with them.
    """

    bound: BoundRecipe
    hardware: Hardware
    model: ModelFacts
    data: DataFacts
    settled: Settled = Settled()
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    others: Mapping[str, LoadStep] = field(default_factory=dict)
    earlier: Mapping[str, EarlierModel] = field(default_factory=dict)

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


def settle(question: Question, name: str | None, answer: RuleAnswer) -> Question:
    """Return the question for the next rule: with what this rule settled, where it settles a field."""
    return question if name is None else replace(question, settled=replace(question.settled, **{name: answer.value}))


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
