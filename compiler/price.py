"""What a plan costs, and whether it can be carried out here at all."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from titrant.compiler.lowering.steps import full_params
from titrant.compiler.ports import Declare
from titrant.runtime import catalog
from titrant.runtime.catalog import method_operator
from titrant.schema.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.gate import Gate
from titrant.schema.plan import Candidate, Plan, Step
from titrant.schema.units import format_size

# From the surest to the least sure.
BASES = ("counted", "measured", "modelled", "guess")


@dataclass(frozen=True)
class Totals:
    """The predictions of many steps together; `unknown` counts the steps for which seconds are not known.

    `seconds` adds up, `peak_bytes` is the largest of any step, `output_bytes` is what the store grows by; `basis` is
    the least sure of those that went in.
    """

    steps: int
    seconds: float
    peak_bytes: int
    output_bytes: int
    basis: str
    unknown: int


def totals(steps: Iterable[Step]) -> Totals:
    """Add up predictions."""
    predictions = [step.prediction for step in steps]
    return Totals(
        steps=len(predictions),
        seconds=sum(prediction.seconds or 0.0 for prediction in predictions),
        peak_bytes=max((prediction.peak_bytes or 0 for prediction in predictions), default=0),
        output_bytes=sum(prediction.output_bytes or 0 for prediction in predictions),
        basis=max((prediction.basis for prediction in predictions), key=BASES.index, default="counted"),
        unknown=sum(prediction.seconds is None for prediction in predictions),
    )


def check_feasible(plan: Plan, hardware: Hardware, model: ModelFacts, *, declare: Declare = catalog.get) -> None:
    """Raise InfeasibleError when the plan provably cannot be carried out on this machine.

    Each diagnostic says what is demanded, what there is, and the smallest change that fits. Sizes and memory count
    only where a prediction is counted: a guess never refuses work.
    """
    found = (
        *_unmet(plan, hardware, model, declare),
        *_no_candidate(plan),
        *_too_large(plan, model, declare),
        *_no_room(plan, hardware),
    )
    if found:
        raise InfeasibleError(*found)


def _unmet(plan: Plan, hardware: Hardware, model: ModelFacts, declare: Declare) -> Iterator[Diagnostic]:
    """What operators need and this machine lacks; each lack is told once."""
    told: set[str] = set()
    for step in plan.steps:
        declaration = declare(step.operator)
        for lack in declaration.requires(full_params(declaration.params, step.params), hardware, model):
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


def _too_large(plan: Plan, model: ModelFacts, declare: Declare) -> Iterator[Diagnostic]:
    """A size limit that the weights alone exceed, in the fewest bits that any candidate could hold them in."""
    limits = [gate for gate in plan.contract.gates if gate.metric == "size" and gate.comparison == "at_most"]
    candidates = {candidate.id: candidate for candidate in plan.candidates}
    for search in plan.searches:
        floors = [least_bytes(candidates[name], plan, model, declare) for name in search.candidates]
        for gate in limits:
            if floors and min(floors) > gate.threshold:
                yield _size_diagnostic(gate, min(floors))


def least_bytes(candidate: Candidate, plan: Plan, model: ModelFacts, declare: Declare) -> int:
    """Count the bytes below which a candidate's file cannot be: counted by its operator, or else its weights.

    Only weights of two or more dimensions count, once each: others can be folded into a layer before them.
    """
    producer = candidate.model.rpartition(".")[0]
    made = next(step.prediction for step in plan.steps if step.id == producer)
    if made.basis == "counted" and made.output_bytes is not None:
        return made.output_bytes
    weights = sum(math.prod(layer.weight_shape) for layer in model.layers if len(layer.weight_shape) > 1)
    weights = min(weights, model.parameters)
    if candidate.method == "none":
        return weights * model.weight_bytes // max(1, model.parameters)
    method = declare(method_operator(candidate.method)).method
    return weights * min(method.bits) // 8 if method is not None else 0


def _size_diagnostic(gate: Gate, smallest: int) -> Diagnostic:
    demand, limit = format_size(smallest), format_size(int(gate.threshold))
    return Diagnostic(
        "P023",
        f"the smallest file that can be made here has {demand} or more, and the limit is {limit} ({gate.origin})",
        help=f"raise target.size above {demand}, or ask for fewer bits",
    )


def _no_room(plan: Plan, hardware: Hardware) -> Iterator[Diagnostic]:
    """Disk and memory that counted predictions need and this machine does not have."""
    counted = [step for step in plan.steps if step.prediction.basis == "counted"]
    outputs = sum(step.prediction.output_bytes or 0 for step in counted)
    free = hardware.volatile.disk_free_bytes
    if free is not None and outputs > free:
        yield Diagnostic(
            "P024",
            f"the steps write {format_size(outputs)}, and {format_size(free)} are free on the disk",
            help=f"free {format_size(outputs - free)}, or set TITRANT_HOME to a folder on another disk",
        )
    memory = hardware.identity.memory_bytes
    for step in counted:
        peak = step.prediction.peak_bytes
        if memory is not None and peak is not None and peak > memory:
            yield Diagnostic(
                "P025",
                f"step {step.id} needs {format_size(peak)} of memory, and this machine has {format_size(memory)}",
                help="use a machine with more memory, or a smaller model",
            )
