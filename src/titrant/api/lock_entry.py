"""Make a lock's entry of a run: what it started from, decided, measured and gave."""

from typing import Any

from titrant.api.replan import decided
from titrant.schema.compare.difference import tolerance_of
from titrant.schema.facts import Gpu
from titrant.schema.lock import (
    Evaluation,
    HardwareClass,
    LockedCandidate,
    LockedGate,
    LockedSearch,
    LockedStep,
    LockEntry,
)
from titrant.schema.plan import Plan
from titrant.schema.record import CandidateRecord, RunRecord
from titrant.schema.values.distributions import distribution

NOTHING = "nothing"


def hardware_class(plan: Plan) -> HardwareClass:
    """Return the class of the machine that a plan is for, as far as the plan's operators can tell machines apart."""
    from titrant.runtime import catalog

    machine = plan.hardware
    working = [step for step in plan.steps if step.stage != "report"]
    libraries = {library for step in working for library in catalog.get(step.operator).libraries}
    found = {name for library in libraries if (name := distribution(machine.packages, library)) is not None}
    return HardwareClass(
        system=machine.system,
        machine=machine.machine,
        python=".".join(machine.python.split(".")[:2]),
        instructions=machine.instructions,
        accelerators=tuple(_accelerator(gpu) for gpu in machine.gpus),
        packages={name: machine.packages[name] for name in sorted(found)},
    )


def _accelerator(gpu: Gpu) -> str:
    return " ".join(part for part in (gpu.kind, gpu.name, gpu.capability, gpu.driver) if part)


def entry_of(plan: Plan, record: RunRecord, looks: int) -> LockEntry:
    """Return the entry of a run; `looks` counts the runs that have looked at its evaluation rows."""
    from titrant.runtime.rerun.check import exact_steps, results
    from titrant.runtime.run.evaluation_looks import evaluation_digest
    from titrant.runtime.run.replay import recorded_choices
    from titrant.schema import __version__

    done = results(record)
    exact = [step.id for step in exact_steps(plan, _claims) if step.id in done]
    released = set(record.released)
    return LockEntry(
        recipe=plan.recipe_digest,
        model=plan.model_digest,
        data=plan.data_digest,
        evaluation=Evaluation(evaluation_digest(one.result for one in done.values() if one.result), looks),
        run=record.run,
        titrant=record.environment.get("titrant", __version__),
        hardware=hardware_class(plan),
        decisions=decided(plan),
        searches={
            search: LockedSearch(judged, next((name for name in _of(plan, search) if name in released), NOTHING))
            for search, judged in recorded_choices(plan, record).items()
        },
        candidates={
            one.candidate: LockedCandidate(one.status, one.because, _measured(one)) for one in record.candidates
        },
        gates={
            one.candidate: {
                result.gate: LockedGate(result.verdict, result.estimate, tolerance_of(result.gate).relative)
                for result in one.judgement.results
            }
            for one in record.candidates
            if one.judgement is not None
        },
        steps={name: LockedStep(done[name].key, _digests(done[name])) for name in exact},
    )


def _claims(operator: str) -> str:
    """Lock the bytes of what claims to be exact only: another run may differ within a declared tolerance."""
    from titrant.runtime import catalog

    return "exact" if catalog.get(operator).determinism == "exact" else "measured"


def _measured(one: CandidateRecord) -> dict[str, float | int]:
    size: dict[str, float | int] = {} if one.size is None else {"size": one.size}
    return size | {name: one.figures[name] for name in sorted(one.figures)}


def _of(plan: Plan, search: str) -> tuple[str, ...]:
    return next(one.candidates for one in plan.searches if one.name == search)


def _digests(step: Any) -> dict[str, str]:
    return {port: step.result.outputs[port].digest for port in sorted(step.result.outputs)}
