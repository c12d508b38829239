"""Compile a bound recipe and facts to a verified plan."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.decide.decide import NONE_EARLIER, decide
from titrant.compiler.decide.rule import Decisions, EarlierModel, LeftOut, LoadStep
from titrant.compiler.facts.cache import DigestedFile
from titrant.compiler.facts.load_steps import OtherLoad
from titrant.compiler.given.file import GivenFile
from titrant.compiler.given.rules import rules
from titrant.compiler.lower.lower import lower
from titrant.compiler.passes import passes
from titrant.compiler.predict.learned import NO_HISTORY, History
from titrant.compiler.predict.memory import check_feasible
from titrant.compiler.predict.price import price
from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import Place
from titrant.schema.facts import DataFacts, Hardware, ModelFacts
from titrant.schema.plan import GIVEN, Plan, Step

NONE_BESIDE: Mapping[str, OtherLoad] = {}


def compile_plan(
    bound: BoundRecipe,
    hardware: Hardware,
    model: ModelFacts,
    data: DataFacts,
    *,
    files: Mapping[str, DigestedFile] | None = None,
    trace: Callable[[passes.Change], None] | None = None,
    history: History = NO_HISTORY,
    optimized: GivenFile | None = None,
    others: Mapping[str, OtherLoad] = NONE_BESIDE,
    earlier: Mapping[str, EarlierModel] = NONE_EARLIER,
) -> Plan:
    """Decide, lower and run the passes: a function of its arguments, which no fact enters midway.

    `files` are the digests of `bound.files` as inspection found them; without them the files are digested here.
    `trace` is told what each pass changed; `history` is what predictions are learned from. `optimized` is a file to
    judge in place of all that the recipe would make; `others` load the models beside the original, and `earlier`
    are files that earlier runs released. Raises InfeasibleError when the plan cannot be carried out on `hardware`.
    """
    instead = {} if optimized is None else rules(optimized)
    loads = {key: LoadStep("model.load", other.params, other.model) for key, other in others.items()}
    decisions = decide(bound, hardware, model, data, instead=instead, others=loads, earlier=earlier)
    lowered = lower(bound, decisions, hardware, model, data, files=files, declare=catalog.get)
    left_out = {} if optimized else _left_out(bound, decisions, lowered, hardware, (model, data))
    if left_out:
        decisions = decide(bound, hardware, model, data, left_out=left_out, others=loads, earlier=earlier)
        lowered = lower(bound, decisions, hardware, model, data, files=files, declare=catalog.get)
    plan = passes.run(lowered, passes.standard(model), declare=catalog.get, trace=trace)
    loaded = {key: load.model for key, load in others.items()} | {key: each.load.model for key, each in earlier.items()}
    plan = price(plan, hardware, model, data, history=history, declare=catalog.get, others=loaded)
    check_feasible(plan, hardware, model, declare=catalog.get, limit=_size_limit(bound))
    return plan if optimized is None else _sized(plan, optimized)


def _sized(plan: Plan, optimized: GivenFile) -> Plan:
    """Say how large the file is that is judged, where its step was priced as if it held the original."""

    def sized(step: Step) -> Step:
        if step.id != GIVEN:
            return step
        bases = {**step.prediction.bases, "output_bytes": "counted"}
        return replace(step, prediction=replace(step.prediction, output_bytes=optimized.size, bases=bases))

    candidates = tuple(replace(candidate, predicted_bytes=optimized.size) for candidate in plan.candidates)
    return replace(plan, steps=tuple(map(sized, plan.steps)), candidates=candidates)


def _left_out(
    bound: BoundRecipe,
    decisions: Decisions,
    plan: Plan,
    hardware: Hardware,
    facts: tuple[ModelFacts, DataFacts],
) -> dict[str, LeftOut]:
    """Return which candidates are not made for what is expected of them; none where the recipe names its method(s)."""
    if bound.recipe.quantization.method != "auto" or bound.recipe.quantization.adapt is not None:
        return {}
    from titrant.compiler.predict.narrow import Aims, leave_out
    from titrant.compiler.predict.outlook import outlooks

    target, settled = bound.recipe.target, decisions.settled
    aims = Aims(
        objective=settled.objective.order,
        size=target.size,
        plain_may_fail=target.peak_memory is not None,
        budget=settled.budget,
        written=bound.recipe.search.budget != "auto",
    )
    return leave_out(outlooks(plan, decisions, hardware, *facts), aims)


def _size_limit(bound: BoundRecipe) -> Place | None:
    """Return where the recipe limits the size of the file."""
    path = ("target", "size")
    return bound.parsed.source.place(path, "value") if bound.written(*path) else None
