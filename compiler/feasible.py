"""Whether a plan can be carried out on a machine at all."""

import math
from collections.abc import Iterator

from titrant.compiler.lowering.steps import full_params
from titrant.compiler.ports import Declare
from titrant.compiler.rules.at_device import at_device
from titrant.runtime import catalog
from titrant.runtime.catalog import method_operator
from titrant.schema.diagnostics import Diagnostic, InfeasibleError, Place
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.gate import Gate
from titrant.schema.plan import Candidate, Plan
from titrant.schema.units import format_size, write_size


def check_feasible(
    plan: Plan,
    hardware: Hardware,
    model: ModelFacts,
    *,
    declare: Declare = catalog.get,
    limit: Place | None = None,
) -> None:
    """Raise InfeasibleError when the plan provably cannot be carried out on this machine.

    Each diagnostic says what is demanded, what there is, and the smallest change that fits. Sizes count only where
    they are counted: a guess never refuses work. `limit` is where the recipe limits the size. Memory and disk depend on
    what is stored already: see `titrant.compiler.room`.
    """
    found = (
        *_unmet(plan, hardware, model, declare),
        *_no_candidate(plan),
        *_too_large(plan, model, declare, limit),
    )
    if found:
        raise InfeasibleError(*found)


def _unmet(plan: Plan, hardware: Hardware, model: ModelFacts, declare: Declare) -> Iterator[Diagnostic]:
    """What operators need and this machine lacks; each lack is told once.

    What reduces a model is asked about the device that the model will run on.
    """
    told: set[str] = set()
    device = next((one.chosen for one in plan.decisions if one.subject == "target.device"), "cpu")
    there = at_device(hardware, device)
    for step in plan.steps:
        declaration = declare(step.operator)
        machine = hardware if declaration.method is None else there
        for lack in declaration.requires(full_params(declaration.params, step.params), machine, model):
            if lack not in told:
                told.add(lack)
                message, _, remedy = lack.partition(": ")
                yield Diagnostic("P021", f"step {step.id} cannot run here: {message}", help=remedy)


def _no_candidate(plan: Plan) -> Iterator[Diagnostic]:
    for search in plan.searches:
        if not search.candidates:
            wanted = "any format" if search.format == "auto" else f"format {search.format}"
            reasons = [
                f"{rejected.value}: {rejected.because}" for decision in plan.decisions for rejected in decision.rejected
            ]
            yield Diagnostic(
                "P022",
                f"no candidate for {wanted} can be made here",
                help="; ".join(reasons) or "ask for another format or method",
            )


def _too_large(plan: Plan, model: ModelFacts, declare: Declare, where: Place | None) -> Iterator[Diagnostic]:
    """A size limit that the weights alone exceed, in the fewest bits that any candidate could hold them in."""
    limits = [gate for gate in plan.contract.gates if gate.metric == "size" and gate.comparison == "at_most"]
    candidates = {candidate.id: candidate for candidate in plan.candidates}
    for search in plan.searches:
        floors = {name: least_bytes(candidates[name], plan, model, declare) for name in search.candidates}
        for gate in limits:
            if floors and min(floors.values()) > gate.threshold:
                yield _size_diagnostic(gate, floors, [candidates[name] for name in floors], where)


def least_bytes(candidate: Candidate, plan: Plan, model: ModelFacts, declare: Declare) -> int:
    """Count the bytes below which a candidate's file cannot be: counted by its operator, or else its weights.

    Only weights of two or more dimensions count, once each: others can be folded into a layer before them. A file
    leaves out what no forward pass reads.
    """
    producer = candidate.model.rpartition(".")[0]
    made = next(step.prediction for step in plan.steps if step.id == producer)
    if made.basis_of("output_bytes") == "counted" and made.output_bytes is not None:
        return made.output_bytes
    shaped = [layer for layer in model.layers if len(layer.weight_shape) > 1 and not layer.unread]
    weights = sum(min(math.prod(layer.weight_shape), layer.parameters) for layer in shaped)
    if candidate.method == "none":
        return weights * model.weight_bytes // max(1, model.parameters)
    method = declare(method_operator(candidate.method)).method
    return weights * min(method.bits) // 8 if method is not None else 0


def _size_diagnostic(
    gate: Gate, floors: dict[str, int], candidates: list[Candidate], where: Place | None
) -> Diagnostic:
    demand, limit = format_size(min(floors.values())), format_size(int(gate.threshold))
    expected = {one.id: max(floors[one.id], one.predicted_bytes or 0) for one in candidates}
    smallest = min(expected, key=lambda name: expected[name])
    origin = "" if where is not None else f" ({gate.origin})"
    return Diagnostic(
        "P023",
        f"the smallest file that can be made here has {demand} or more, and the limit is {limit}{origin}",
        where,
        help=f"write target.size: {_rounded_up(expected[smallest])} or more, which {smallest} is expected to keep, or "
        "allow a method with fewer bits",
    )


def _rounded_up(size: int) -> str:
    """Write a size as a recipe would, in whole KiB."""
    return write_size(-(-size // 1024) * 1024)
