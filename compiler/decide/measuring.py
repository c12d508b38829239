"""Settle the objective, the budget, the operating point, what is timed, and when answers without labels are alike.

Also who follows the run.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.compiler.bind.own_metrics import declared
from titrant.compiler.decide.rule import Chain, Question, Ranking, RuleAnswer, SearchBudget, decision
from titrant.compiler.decide.target import engine_of, original_kind
from titrant.runtime.backends import backend
from titrant.schema.facts import TensorSpec
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.deploy import is_offline
from titrant.schema.recipe.model import BOXES
from titrant.schema.recipe.observe import Mlflow, Tensorboard, Tracking, Wandb
from titrant.schema.recipe.own_metric import is_own
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.recipe.reduce import Budget
from titrant.schema.recipe.tasks import CLASSIFYING, TASKS
from titrant.schema.recipe.validation import Agreement
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted

# At most this many candidates are judged on evaluation rows, whatever the number made.
SHORTLIST = 4
# How many candidates of methods `auto` makes, beside those of which nothing is known.
AUTO_EVALUATIONS = 5
# The figure of a latency limit → the share of runs that must lie below it.
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# What counts as the same where nothing is said.
TOLERANCES: Mapping[str, float] = {"cosine": 0.99, "dice": 0.95, "relative": 0.01}
_BY_KIND: Mapping[str, str] = {
    "embedding": "cosine", "mask": "dice", "boxes": "boxes", **dict.fromkeys(CLASSIFYING, "same_class"),
}  # fmt: skip
_BY_TASK: Mapping[str, str] = {"segmentation": "dice", "detection": "boxes"}
_WORDS: Mapping[str, str] = {
    "same_class": "the same class",
    "same_labels": "every label decided alike",
    "cosine": "a cosine of {} or more",
    "neighbor": "the same nearest other case",
    "dice": "a Dice coefficient of the masks of {} or more",
    "boxes": "boxes of one class that overlap by half (IoU) or more, with scores at most .1 apart",
    "relative": "a difference of at most {} of its length",
    "absolute": "no entry further off than {}",
}


@dataclass(frozen=True)
class OutputComparison:
    """How two answers of one output are compared, and whether the recipe says so."""

    output: str
    measure: str
    tolerance: float | None
    written: bool

    @property
    def words(self) -> str:
        """The comparison in words, as "a cosine of 0.99 or more"."""
        return _WORDS[self.measure].format(f"{self.tolerance:g}" if self.tolerance is not None else "")


# Whether anything of a run leaves this machine, by the tracker's mode or address.
_PLACES: Mapping[str, str] = {
    "online": "sent to the server of Weights & Biases",
    "offline": "kept in the run folder, until `wandb sync` sends it",
    "disabled": "nothing is kept or sent",
}


def tracking(question: Question) -> RuleAnswer:
    """Settle who follows the run; the environment may be stricter than the recipe, which only the run itself knows."""
    asked = question.recipe.tracking or Tracking.model_construct()
    followers: dict[str, tuple[dict[str, Any], str, str]] = {}
    if asked.wandb is not None:
        options = _wandb(asked.wandb)
        followers["wandb"] = options, f"{options['mode']}, project {options['project']}", _PLACES[options["mode"]]
    if asked.tensorboard:
        folder = _event_folder(question, asked.tensorboard)
        followers["tensorboard"] = {"folder": folder}, folder or "in the run folder", "event files"
    if asked.mlflow:
        options = _mlflow(asked.mlflow, question.recipe.name)
        uri = options["uri"] or "a database in titrant's home"
        followers["mlflow"] = options, f"experiment {options['experiment']}", f"kept in {uri}"
    lines = [
        decision(
            question,
            f"tracking.{name}",
            f"tracking.{name}",
            asked="written",
            chosen=chosen,
            because=f"{place}; it reads the journal and cannot stop the run; `titrant report` says how it fared",
            path=("tracking", name),
        )
        for name, (_, chosen, place) in followers.items()
    ]
    return RuleAnswer({name: options for name, (options, _, _) in followers.items()}, tuple(lines))


def _wandb(asked: Wandb) -> dict[str, Any]:
    names = {"entity": asked.entity or "", "group": asked.group or "", "tags": list(asked.tags)}
    return {"project": asked.project, "mode": asked.mode, **names}


def _event_folder(question: Question, asked: bool | Tensorboard) -> str:
    """Return the absolute folder of the event files, "" for the run's own; a base's starts in the base's folder."""
    if not isinstance(asked, Tensorboard) or asked.folder is None:
        return ""
    path = ("tracking", "tensorboard", "folder")
    start = question.bound.parsed.source.folder(path) if question.bound.written(*path) else question.bound.folder
    return str((start / Path(asked.folder).expanduser()).absolute())


def _mlflow(asked: bool | Mlflow, name: str) -> dict[str, Any]:
    given = asked if isinstance(asked, Mlflow) else Mlflow()
    return {"uri": given.uri or "", "experiment": given.experiment or name}


def objective(question: Question) -> RuleAnswer:
    """Settle what counts first, and how many candidates may be judged."""
    written = question.bound.written("search", "objective")
    offline = not written and is_offline(question.recipe.target)
    asked = question.recipe.search.objective
    chosen = tuple("throughput" if offline and name == "latency" else name for name in asked)
    own = {name: declared(name, question.bound.folder) for name in asked if is_own(name)}
    ways = [f"{'more' if each.better == 'higher' else 'less'} of {name} is better; " for name, each in own.items()]
    line = decision(
        question,
        "search.objective",
        "objective.written" if written else "objective.offline" if offline else "objective.default",
        asked=", ".join(chosen) if written else "not written",
        chosen=", ".join(chosen),
        because=f"{''.join(ways)}tuning rows choose; at most {SHORTLIST} are judged, from gentle to aggressive",
        path=("search", "objective"),
    )
    return RuleAnswer(Ranking(chosen, SHORTLIST, own), (line,))


def budget(question: Question) -> RuleAnswer:
    """Settle the search's budget, and say what it had no room for; nothing is said where all is made anyway."""
    asked = question.recipe.search.budget
    settled = search_budget(asked)
    cut = tuple(Rejected(name, each.because) for name, each in question.left_out.items() if each.by_budget)
    if asked == "auto" and not cut:
        return RuleAnswer(settled)
    made = [chain for chain in question.settled.chains if chain.method != "none"]
    line = decision(
        question,
        "search.budget",
        "budget.auto" if asked == "auto" else "budget.written",
        asked="auto" if asked == "auto" else _budget_words(settled),
        chosen=f"{len(made)} of {counted(len(made) + len(cut), 'candidate')} of methods",
        because=_why_made(settled, written=asked != "auto"),
        path=("search", "budget"),
        rejected=cut,
    )
    return RuleAnswer(settled, (line,))


def search_budget(asked: str | Budget) -> SearchBudget:
    """Return what a recipe's budget comes to."""
    if isinstance(asked, Budget):
        return SearchBudget(asked.evaluations, asked.minutes)
    return SearchBudget(AUTO_EVALUATIONS)


def _budget_words(settled: SearchBudget) -> str:
    evaluations = None if settled.evaluations is None else counted(settled.evaluations, "evaluation")
    minutes = None if settled.minutes is None else f"{settled.minutes:g} minutes"
    return ", ".join(filter(None, (evaluations, minutes))) or "no limit"


def _why_made(settled: SearchBudget, *, written: bool) -> str:
    chosen = "the best predicted of each kind come first; plain conversions are made besides"
    because = f"the recipe says so: {chosen}" if written else chosen
    if settled.minutes is not None:
        because += f"; no further one is begun once {settled.minutes:g} minutes of the run are over"
    return because


def operating_point(question: Question) -> RuleAnswer:
    """Settle where a score becomes a decision: a threshold for two classes, else the largest score."""
    recipe = question.recipe
    point = recipe.validation.operating_point
    written = question.bound.written("validation", "operating_point")
    if recipe.task == "detection":
        text = f"threshold {point.threshold:g}"
        because = "the score from which on a box counts for box_f1; average precision looks at all scores"
        line = _point_line(question, "operating_point.boxes", text if written else "not written", text, because)
        return RuleAnswer({}, (line,))
    if recipe.task != "binary_classification":
        classes = TASKS[recipe.task].label == "class"
        chosen = "largest score" if classes else "none"
        because = "more than two classes" if classes else "nothing is decided"
        return RuleAnswer({}, (_point_line(question, "operating_point.task", "from task", chosen, because),))
    if question.data.positive is None:
        because = "data.positive names no critical class"
        return RuleAnswer({}, (_point_line(question, "operating_point.task", "from task", "larger score", because),))
    if point.sensitivity is not None:
        text = f"sensitivity {point.sensitivity:g}"
        because = "the largest threshold at which the original reaches it on tuning rows; fixed afterwards"
        params: dict[str, Any] = {"sensitivity": point.sensitivity}
    else:
        text, because = f"threshold {point.threshold:g}", "the recipe says so" if written else "the default"
        params = {"threshold": point.threshold}
    rule = "operating_point.written" if written else "operating_point.default"
    return RuleAnswer(params, (_point_line(question, rule, text if written else "not written", text, because),))


def _point_line(question: Question, rule: str, asked: str, chosen: str, because: str) -> Decision:
    return decision(
        question,
        "validation.operating_point",
        rule,
        asked=asked,
        chosen=chosen,
        because=because,
        path=("validation", "operating_point"),
    )


def profile(question: Question) -> RuleAnswer:
    """Settle the batch sizes that are timed, the judged one among them, and how often each is."""
    recipe = question.recipe
    latency = recipe.target.latency
    judged = latency.batch if latency is not None else 1
    batches = tuple(sorted({*recipe.profile.batches, judged}))
    iterations, because = _iterations(question)
    params = {"batches": batches, "warmup": recipe.profile.warmup, "iterations": iterations}
    lines = (
        decision(
            question,
            "profile.batches",
            "profile.batches",
            asked=", ".join(map(str, recipe.profile.batches)),
            chosen=", ".join(map(str, batches)),
            because=f"latency is judged and compared at batch {judged}",
            path=("profile", "batches"),
        ),
        decision(
            question,
            "profile.iterations",
            "profile.iterations",
            asked=str(recipe.profile.iterations) if question.bound.written("profile", "iterations") else "not written",
            chosen=str(iterations) if iterations is not None else "59 to 500",
            because=because,
            path=("profile", "iterations"),
        ),
    )
    return RuleAnswer(params, lines)


def _iterations(question: Question) -> tuple[int | None, str]:
    """Return how often each batch size is timed, None for as often as a second allows, and why."""
    profile_section, confidence = question.recipe.profile, question.settled.presets.confidence
    written = question.bound.written("profile", "iterations")
    needed, figure = _needed_runs(question, confidence)
    if written and profile_section.iterations >= needed:
        return profile_section.iterations, "the recipe says so"
    if written:
        return needed, f"a {figure} limit can be proven from {needed} runs on, not from {profile_section.iterations}"
    if needed > 59:
        return needed, f"a {figure} limit can be proven from {needed} runs on"
    return None, "in a second; batch sizes only shown take 8 to 59, in a quarter of it"


def _needed_runs(question: Question, confidence: float) -> tuple[int, str]:
    """Return the fewest runs of which the slowest bounds every quantile that has a limit (order statistics)."""
    latency = question.recipe.target.latency
    figures = [name for name in QUANTILES if latency is not None and getattr(latency, name) is not None]
    needs = {name: math.ceil(math.log(1 - confidence) / math.log(QUANTILES[name]) - 1e-12) for name in figures}
    slowest = max(needs, key=lambda name: needs[name], default="")
    return needs.get(slowest, 0), slowest


def output_names(recipe: Recipe, outputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Name every entry of `model.output`: as written, else by its place among the model's outputs.

    `check_facts` has refused an entry whose place the model does not have.
    """
    return tuple(spec.name or outputs[place].name for place, spec in enumerate(recipe.model.output or ()))


def plain(question: Question) -> RuleAnswer:
    """Settle a plain conversion for each engine and format that a candidate has and no plain candidate does.

    It is made and timed, so that a candidate is not called faster for what its engine alone brings; it is no candidate,
    since the recipe asks for something else. A model that the original's own engine runs as it is needs none.
    """
    chains = question.settled.chains
    missing = {
        (chain.engine, chain.format)
        for chain in chains
        if not is_plain(chain) and not any(is_plain(other) and same_place(other, chain) for other in chains)
    }
    settled = tuple(_conversion(*place) for place in sorted(missing) if _convertible(question, *place))
    if not settled:
        return RuleAnswer(())
    line = decision(
        question,
        "profile.plain",
        "profile.plain",
        asked="not written",
        chosen=", ".join(chain.id for chain in settled),
        because="candidates in its engine and format are compared with it too; it is timed beside them, never released",
    )
    return RuleAnswer(settled, (line,))


def is_plain(chain: Chain) -> bool:
    """Whether a chain is the original as it is: neither quantized nor reduced, nor laid out otherwise."""
    return chain.method == "none" and not chain.before and not chain.layout


def same_place(chain: Chain, other: Chain) -> bool:
    """Whether two chains end in the same format for the same engine."""
    return (chain.engine, chain.format) == (other.engine, other.format)


def _conversion(engine: str, form: str) -> Chain:
    """Return the conversion that `auto` would offer there, by the same name."""
    name = f"{form}-fp32"
    own = engine_of(backend.kind_of_format(form)) == engine
    return Chain(name if own else f"{name}-{engine}", "none", None, engine, form, 0)


def _convertible(question: Question, engine: str, form: str) -> bool:
    """Whether there is a file to make: the original as it is may be the plain one, or may not convert."""
    given, kind = original_kind(question.model), backend.kind_of_format(form)
    runs_it_already = given == kind and engine == question.settled.original_engine
    return not runs_it_already and backend.conversion(given.name, kind.name) is not None


def agreement(question: Question) -> RuleAnswer:
    """Say when two answers agree; settled is nothing, since lowering asks for the comparisons itself."""
    if TASKS[question.recipe.task].label == "class":
        return RuleAnswer(None)
    lines = tuple(
        decision(
            question,
            f"validation.agreement.{compared.output}",
            "agreement.written" if compared.written else "agreement.kind",
            asked=compared.measure if compared.written else "not written",
            chosen=compared.words,
            because="the recipe says so" if compared.written else "what fits the kind of the output (model.output)",
            path=("validation", "agreement") if compared.written else (),
        )
        for compared in comparisons(question.recipe, question.model.outputs)
    )
    return RuleAnswer(None, lines)


def comparisons(recipe: Recipe, outputs: Sequence[TensorSpec]) -> Iterator[OutputComparison]:
    """Yield how each of the model's outputs is compared, in their order."""
    named = output_names(recipe, outputs)
    kinds = {name: spec.kind for name, spec in zip(named, recipe.model.output or (), strict=True)}
    if recipe.model.decode is not None:
        asked = agreement_of(recipe, BOXES)
        yield OutputComparison(BOXES, "boxes", None, asked is not None and asked.measure == "boxes")
        return
    judged = named[0] if named else next((spec.name for spec in outputs), "")
    if recipe.task in _BY_TASK:
        outputs = [spec for spec in outputs if spec.name == judged]
    for spec in outputs:
        asked = agreement_of(recipe, spec.name)
        measure: str = asked.measure if asked is not None else "auto"
        several = len(spec.shape) > 1 and spec.shape[-1] != 1
        decided = recipe.task == "multilabel_classification" and spec.name == judged
        if measure == "auto":
            kind = kinds.get(spec.name) or TASKS[recipe.task].output
            measure = _BY_TASK.get(recipe.task) or _BY_KIND.get(kind, "relative")
            measure = "relative" if measure == "same_class" and not several and not decided else measure
        measure = "same_labels" if measure == "same_class" and decided else measure
        tolerance = asked.tolerance if asked is not None and asked.tolerance is not None else TOLERANCES.get(measure)
        yield OutputComparison(spec.name, measure, tolerance, asked is not None)


def agreement_of(recipe: Recipe, output: str) -> Agreement | None:
    """Return what the recipe says of an output's agreement; None where it says nothing."""
    said = recipe.validation.agreement
    return said if said is None or isinstance(said, Agreement) else said.get(output)


def kept_tokens(recipe: Recipe, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return {"tokens": the output that is judged, and its kind} of a language model; {} of any other."""
    task, named = TASKS[recipe.task], output_names(recipe, outputs)
    if task.label != "tokens":
        return {}
    kinds = [spec.kind for spec in recipe.model.output or ()]
    return {"tokens": {"output": named[0] if named else "", "kind": (kinds and kinds[0]) or task.output}}
