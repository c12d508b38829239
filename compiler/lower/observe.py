"""The steps by which nothing is chosen or judged: a look inside models, and what each reduction keeps by itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.compiler.decide.contract import kept_row
from titrant.compiler.decide.rule import Preset
from titrant.compiler.lower.answering import contract, timing_batch
from titrant.compiler.lower.chains import Original
from titrant.compiler.lower.judge import EVALUATION, POINT, TUNING, Answering
from titrant.compiler.lower.plan_graph import given_kinds, split_reference, takes
from titrant.runtime.backends import backend
from titrant.schema.gain_parts import ReducedNetwork
from titrant.schema.gate import criteria
from titrant.schema.plan import OBSERVING_STAGE, Candidate, Step
from titrant.schema.recipe.recipe import Recipe
from titrant.schema.values.frozen import dataclass

# What a reduction is asked to keep where the contract asks for no retention: only rows of one unit are weighed by it.
_USUALLY_KEPT = 0.95
# What the steps that look at the original are called after.
ORIGINAL = "original"
# The ports and parameters that an operator which looks inside a model may have besides.
MODEL, ROWS = "model", "rows"
ENGINE, THREADS, DEVICE, LAYERS, SUBJECT = "engine", "threads", "device", "layers", "subject"


@dataclass(frozen=True)
class Observed:
    """One thing to look at: the key that asks for it, the operator, and the parameters that the recipe gives it."""

    key: str
    operator: str
    params: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the step is called after the model that it looks at."""
        return self.operator.rpartition(".")[2]


def asked_for(recipe: Recipe) -> Iterator[Observed]:
    """Yield what the recipe asks to look at, in the order of the report."""
    if recipe.inspect is not None and recipe.inspect.summary:
        yield Observed("inspect.summary", "inspect.summary", {})
    if recipe.inspect is not None and recipe.inspect.health:
        yield Observed("inspect.health", "inspect.health", {})
    if recipe.inspect is not None and recipe.inspect.attention:
        yield Observed("inspect.attention", "inspect.attention", {"tokens": recipe.report.tokens})
    yield from _layers(recipe)
    if recipe.report.plots:
        yield Observed("report.plots", "inspect.plots", {"functions": list(recipe.report.plots)})


def _layers(recipe: Recipe) -> Iterator[Observed]:
    if recipe.profile.layers or recipe.profile.trace:
        key = "profile.layers" if recipe.profile.layers else "profile.trace"
        params = {"batch": timing_batch(recipe), "trace": recipe.profile.trace}
        yield Observed(key, "profile.layers", params)


def observations(
    answering: Answering, original: Original, candidates: Sequence[Candidate], made: Sequence[Step]
) -> Iterator[Step]:
    """Look at the original, and at the file of each candidate, of which only those of the report are carried out.

    An operator that takes rows is given tuning rows, and one with parameters `engine`, `threads` and `device` what runs
    the model; one with `layers` what the original's layers are called, of a file that was made of it.
    A file of a kind that an operator does not take is not looked at: see `unobserved`.
    """
    kinds = _kinds(answering, original, candidates, made)
    for observed in asked_for(answering.bound.recipe):
        port = answering.maker.declare(observed.operator).inputs[MODEL]
        if takes(port, original.kind):
            engine = answering.decisions.settled.original_engine
            yield _step(observed, ORIGINAL, (original.reference, TUNING), engine, answering)
        for candidate in candidates:
            if takes(port, kinds[candidate.id]):
                inputs = candidate.model, answering.taken(candidate, TUNING)
                yield _step(observed, candidate.id, inputs, candidate.engine, answering)


def unobserved(
    answering: Answering, original: Original, candidates: Sequence[Candidate], made: Sequence[Step]
) -> dict[str, dict[str, str]]:
    """Say what the recipe asks to look at and no step looks at: operator → "original" or a candidate → why."""
    kinds = _kinds(answering, original, candidates, made)
    refused: dict[str, dict[str, str]] = {}
    for observed in asked_for(answering.bound.recipe):
        port = answering.maker.declare(observed.operator).inputs[MODEL]
        labels = [backend.kinds()[kind].label for kind in port.kinds if kind in backend.kinds()]
        for subject, kind in kinds.items():
            if not takes(port, kind):
                because = f"it is {backend.kinds()[kind].title}, and {observed.operator} reads {', '.join(labels)}"
                refused.setdefault(observed.operator, {})[subject] = because
    return refused


def _kinds(
    answering: Answering, original: Original, candidates: Sequence[Candidate], made: Sequence[Step]
) -> dict[str, str]:
    """Return the kind of the original and of each candidate's file."""
    steps = {step.id: step for step in made}
    kinds = {ORIGINAL: original.kind}
    for candidate in candidates:
        producer, port = split_reference(candidate.model)
        kinds[candidate.id] = given_kinds(steps[producer], answering.maker.declare)[port]
    return kinds


def _step(observed: Observed, subject: str, inputs: tuple[str, str], engine: str, answering: Answering) -> Step:
    model, rows = inputs
    declared = answering.maker.declare(observed.operator)
    settled = answering.decisions.settled
    runs = {ENGINE: engine, THREADS: settled.threads.timing, DEVICE: settled.device, SUBJECT: subject}
    if subject != ORIGINAL:
        runs[LAYERS] = {layer.name: layer.type for layer in answering.maker.model.layers}
    params = {
        **observed.params,
        **{name: value for name, value in runs.items() if name in declared.params.model_fields},
    }
    return answering.maker.make(
        f"{subject}.{observed.name}",
        observed.operator,
        params,
        {MODEL: model, **({ROWS: rows} if ROWS in declared.inputs else {})},
        stage=OBSERVING_STAGE,
        candidate="" if subject == ORIGINAL else subject,
        because=observed.key,
    )


def kept_of(network: ReducedNetwork) -> str:
    """Return the "step.port" of what says how much a reduction keeps by itself."""
    return f"{network.step}.kept.judgement"


def kept_alone(answering: Answering, candidate: str, networks: Sequence[ReducedNetwork]) -> Iterator[Step]:
    """Compare every reduced network with the original on evaluation rows, as it is before it is quantized.

    By the test of the contract's retention; nothing is released or held back by it, so that no look is charged.
    """
    settled, maker = answering.decisions.settled, answering.maker
    asked = (gate for gate in settled.contract.gates if gate.preset == "retention")
    gate = next(asked, None) or kept_row(answering.bound.recipe.task, Preset(_USUALLY_KEPT, "", written=False))
    judged = contract(answering.bound, answering.decisions, maker.model.outputs, "reduced")
    params = {**judged, "gates": [criteria(gate)]}
    about = {"stage": OBSERVING_STAGE, "candidate": candidate, "because": "what the reduction keeps by itself"}
    for network in networks:
        answers = f"{network.step}.answers"
        inputs = {"model": network.model, "rows": EVALUATION}
        runs = answering.runs_in(settled.original_engine)
        yield from answering.answered(answers, runs, inputs, EVALUATION, **about)
        compared = {"rows": EVALUATION, "original": "baseline.evaluation.outputs", "candidate": f"{answers}.outputs"}
        compared |= {"point": POINT, "model": network.model}
        yield maker.make(split_reference(kept_of(network))[0], "validate.contract", params, compared, **about)
