"""Name the input of a plan that a difference between two plans follows from."""

from collections.abc import Iterator, Mapping

from titrant.schema.difference import Difference
from titrant.schema.plan import Plan

# Rule of a decision, a step's operator, or else its family → the inputs that it reads besides the recipe's key of its
# name.
READS: Mapping[str, tuple[str, ...]] = {
    "number_format": ("hardware instructions", "hardware machine", "recipe quantization"),
    "device": ("hardware gpus",),
    "threads": ("recipe reproducibility.threads", "recipe target.threads"),
    "model_args": ("inputs data", "inputs model", "recipe model.args"),
    "method": ("recipe level", "recipe preserve", "recipe export", "recipe target", "recipe quantization",
               "recipe data.split", "inputs model", "hardware packages", "hardware gpus"),
    "level": ("recipe level", "recipe preserve", "recipe validation"),
    "preset": ("recipe level", "recipe preserve", "recipe validation"),
    "require": ("recipe level", "recipe preserve", "recipe validation"),
    "evidence": ("recipe level", "recipe report"),
    "learning_rate": ("recipe train", "recipe model.weights"),
    "training": ("recipe train", "recipe model", "inputs model"),
    "objective": ("recipe search",),
    "profile": ("recipe profile", "recipe target.latency"),
    "data": ("recipe data", "inputs data"),
    "model": ("recipe model", "inputs model"),
    "model.cast": ("recipe quantization", "recipe target.device", "hardware gpus"),
    "train": ("recipe train", "recipe reproducibility", "recipe seed"),
    "quantize": ("recipe quantization", "hardware instructions", "hardware machine"),
    "export": ("recipe export", "recipe model"),
    "validate": ("recipe validation", "recipe task", "recipe data", "recipe target", "recipe level", "recipe preserve"),
}  # fmt: skip
MOST = 4


def cause(found: Difference, given: tuple[Difference, ...], old: Plan, new: Plan) -> str:
    """Name the inputs among `given` that a difference may follow from, the likely ones alone where any is likely.

    With no input that differs, the plans were made by different versions of titrant.
    """
    if not given:
        return "no input differs: another version of titrant made it"
    names = list(dict.fromkeys(name(one) for one in given))
    if len(names) > 1:
        reads = tuple(_reads(found, old, new))
        names = [one for one in names if any(_below(one, read) for read in reads)] or names
    shown = " or ".join(names[:MOST])
    return shown + (f" or one of {len(names) - MOST} more" if len(names) > MOST else "")


def name(given: Difference) -> str:
    """Name an input: "recipe train.epochs", "hardware packages.torch", "inputs data"."""
    return f"{given.layer} {given.path}"


def _below(given: str, read: str) -> bool:
    return given == read or given.startswith((f"{read}.", f"{read}["))


def _reads(found: Difference, old: Plan, new: Plan) -> Iterator[str]:
    """Yield what a difference can follow from."""
    if found.layer == "decisions":
        decision = found.new or found.old
        yield f"recipe {decision['subject']}"
        yield from READS.get(decision["rule"].partition(".")[0], ())
    elif found.layer == "contract":
        yield from _gate_reads(found, old, new)
    elif found.layer in ("steps", "predictions"):
        yield from _step_reads(found, old, new)
    elif found.layer == "candidates":
        yield from READS["method"]


def _gate_reads(found: Difference, old: Plan, new: Plan) -> Iterator[str]:
    gates = [*new.contract.gates, *old.contract.gates]
    preset = next((gate.preset for gate in gates if f"{found.path}.".startswith(f"{gate.id}.")), "")
    if preset == "target":
        yield "recipe target"
    else:
        yield from (f"recipe validation.{preset or found.path}", "recipe level", "recipe preserve")


def _step_reads(found: Difference, old: Plan, new: Plan) -> Iterator[str]:
    steps = [step for step in (*new.steps, *old.steps) if found.path == step.id or found.path.startswith(f"{step.id}.")]
    if not steps:
        return
    step = max(steps, key=lambda one: len(one.id))
    place = found.path.removeprefix(step.id).strip(".")
    if place == "seed":
        yield "recipe seed"
    elif place.startswith(("inputs", "stage", "candidate")) or not place:
        yield from READS["method"]
    else:
        yield from READS.get(step.operator) or READS.get(step.operator.partition(".")[0], ())
