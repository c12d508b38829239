"""Where the figures come from: digests, machine, instruction set and libraries."""

from dataclasses import dataclass

from titrant.runtime.report.candidates import Shown
from titrant.runtime.report.record_view import Record
from titrant.schema.plan import plan_digest
from titrant.schema.units import format_size


@dataclass(frozen=True)
class Fact:
    """One line of evidence; `code` says that the value is a digest or a name to be compared letter by letter."""

    name: str
    value: str
    code: bool = False


def environment(record: Record) -> tuple[Fact, ...]:
    """List the machine and what ran on it."""
    machine = record.hardware
    memory = "unknown" if machine.memory_bytes is None else format_size(machine.memory_bytes)
    gpus = tuple(Fact("accelerator", f"{gpu.name} ({gpu.kind})") for gpu in machine.gpus)
    threads = f"{record.plan.timing_threads} for timing, {record.plan.threads} for work that makes bytes"
    facts = (
        Fact("processor", f"{machine.cpu or machine.machine}, {machine.cores} cores"),
        Fact("instruction set", ", ".join(machine.instructions) or "unknown"),
        *gpus,
        Fact("memory", memory),
        Fact("system", f"{machine.system} on {machine.machine}, Python {machine.python}"),
        Fact("threads", threads),
        Fact("deterministic", "yes" if record.plan.deterministic else "not asked for"),
        Fact("libraries", ", ".join(f"{name} {version}" for name, version in sorted(machine.packages.items()))),
    )
    extra = tuple(Fact(name, value) for name, value in sorted(record.run.environment.items()))
    return tuple(fact for fact in facts + extra if fact.value)


def digests(record: Record, leads: tuple[Shown, ...]) -> tuple[Fact, ...]:
    """List what identifies the recipe, the plan, the inputs and the files, so that anybody can compare."""
    files = tuple(
        Fact(f"{'released' if lead.released else 'not released'}: {lead.id}", digest, code=True)
        for lead in leads
        if (digest := _artifact(record, lead.planned.model))
    )
    return (
        Fact("plan", record.run.plan_digest or plan_digest(record.plan), code=True),
        Fact("recipe", record.plan.recipe_digest, code=True),
        Fact("model as given", record.plan.model_digest, code=True),
        Fact("data", record.plan.data_digest, code=True),
        *files,
    )


def _artifact(record: Record, reference: str) -> str:
    step, _, port = reference.rpartition(".")
    for done in record.run.steps:
        if done.step == step and done.result and port in done.result.outputs:
            return done.result.outputs[port].digest
    return ""


def validity(record: Record) -> str:
    """Say for which machines the figures hold."""
    machine = record.hardware
    names = ", ".join(machine.instructions) or "unknown"
    text = (
        f"These numbers hold only for this instruction set ({machine.machine}: {names}). Integer arithmetic differs "
        "between processors, in speed and in its answers; run the recipe again on the machine that is to serve it."
    )
    if record.hardware.instructions != record.plan.hardware.instructions:
        return text + " The plan was made for another one."
    return text
