"""The steps that find which regions a mixture leaves in higher precision: damage, prices, and the allocation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.compiler.decide.number_format import planned_layers
from titrant.compiler.decide.repairs import estimates
from titrant.compiler.lower.answering import timing_batch
from titrant.compiler.lower.chains import CALIBRATION, RequestedCandidate, given_facts, possible_facts
from titrant.compiler.lower.judge import TUNING, Answering
from titrant.compiler.lower.plan_graph import PortSource
from titrant.runtime.catalog import method_operator
from titrant.runtime.method import Mixing
from titrant.schema.gate import kept_at_least, of_subgroups, slice_of
from titrant.schema.plan import Step


def allocation_step(entry: RequestedCandidate) -> str:
    """Return the "step.port" of the layers that a mixture leaves in higher precision."""
    return f"{entry.id}.allocation.allocation"


def mixed_steps(entry: RequestedCandidate, steps: Sequence[Step], answering: Answering) -> Iterator[Step]:
    """Yield the `steps` that make a mixture, with those that settle it before the one that quantizes.

    How much each region is damaged and what it takes is found once: mixtures of one method share these steps. Which
    regions are left alone follows from what the uniform candidates and the mixtures before this one lost.
    """
    operator = method_operator(entry.chain.method)
    method = answering.maker.declare(operator).method
    assert method is not None
    assert method.mixing is not None  # only those that can be mixed get mixtures
    place = next(place for place, step in enumerate(steps) if step.operator == operator)
    making = steps[place]
    yield from steps[:place]
    module = _module(making.inputs["model"], steps, answering)
    takes = {"model": making.inputs["model"], "module": module, "calibration": CALIBRATION, "tuning": TUNING}
    estimated = module and estimates(method, given_facts(entry.chain, answering.maker))
    sensitivity = method.mixing.estimate if estimated else method.mixing.sensitivity
    given = {
        **answering.raw_reading,
        "options": dict(making.params),
        "layers": _quantized(entry, answering),
        "batch": timing_batch(answering.bound.recipe),
        "threads": answering.decisions.settled.threads.timing,
        "check": answering.bound.recipe.search.check_sensitivity,
    }
    if groups := [*dict.fromkeys(slice_of(gate).group for gate in of_subgroups(answering.decisions.settled.contract))]:
        given["subgroups"] = groups
    for local, name in (("sensitivity", sensitivity), ("prices", method.mixing.prices)):
        yield _step((f"{entry.id}.{local}", name), given, takes, entry, answering)
    yield _allocation(entry, method.mixing, answering)
    yield from steps[place:]


def _module(model: PortSource, steps: Sequence[Step], answering: Answering) -> PortSource:
    """Return the "step.port" of what a file was exported from, through what was done to the file since; "": unknown."""
    step = next((step for step in steps if model == f"{step.id}.model"), None)
    if step is None:
        return ""
    declaration = answering.maker.declare(step.operator)
    exported = declaration.outputs["model"] not in declaration.inputs["model"].kinds
    return step.inputs["model"] if exported else _module(step.inputs["model"], steps, answering)


def _quantized(entry: RequestedCandidate, answering: Answering) -> list[str]:
    """Name the layers that the method quantizes, and a mixture may leave alone."""
    chain, maker = entry.chain, answering.maker
    planned = planned_layers(chain, maker.hardware, possible_facts(chain, maker), answering.bound.recipe.quantization)
    lowered = f"int{chain.bits}"
    return [name for name, precision in zip(planned.layers, planned.planned, strict=True) if precision == lowered]


def _allocation(entry: RequestedCandidate, mixing: Mixing, answering: Answering) -> Step:
    uniform, before = _uniform(entry, answering), _before(entry)
    sources: dict[str, PortSource] = {
        "sensitivity": f"{entry.id}.sensitivity.sensitivity",
        "prices": f"{entry.id}.prices.prices",
        "tried": {name: f"{name}.quality.quality" for name in (*uniform, *before)},
    }
    if before:
        sources["proposals"] = {name: f"{name}.allocation.proposal" for name in before}
    given = {
        "mix": entry.chain.mix,
        "uniform": uniform,
        "retention": kept_at_least(answering.decisions.settled.contract),
        "confidence": answering.decisions.settled.contract.confidence,
    }
    return _step((f"{entry.id}.allocation", mixing.allocate), given, sources, entry, answering)


def _uniform(entry: RequestedCandidate, answering: Answering) -> list[str]:
    """Name the uniform candidates, the nearest last: what is mended, and what mends it exactly as the mixture does."""
    chain, suffix = entry.chain, entry.id.removeprefix(entry.chain.id)
    exact = [
        other.id
        for other in answering.decisions.settled.chains
        if (other.mends, other.first, other.last, other.mix) == (chain.mends, chain.first, (), 0)
        and other.options == chain.options
    ]
    return [name + suffix for name in (chain.mends, *exact)]


def _before(entry: RequestedCandidate) -> list[str]:
    chain, suffix = entry.chain, entry.id.removeprefix(entry.chain.id)
    stem = chain.id.removesuffix(str(chain.mix))
    return [f"{stem}{place}{suffix}" for place in range(1, chain.mix)]


def _step(
    named: tuple[str, str],
    given: Mapping[str, Any],
    sources: Mapping[str, PortSource],
    entry: RequestedCandidate,
    answering: Answering,
) -> Step:
    """Make a step, by its id and operator, with those parameters and inputs of all given which the operator has."""
    identifier, operator = named
    declaration = answering.maker.declare(operator)
    return answering.maker.make(
        identifier,
        operator,
        {name: value for name, value in given.items() if name in declaration.params.model_fields},
        {port: source for port, source in sources.items() if port in declaration.inputs},
        stage="search",
        candidate=entry.id,
        because="which regions keep a higher precision",
    )
