"""Say which steps of a plan for another machine could not run on this one."""

from titrant.planned import Planned
from titrant.schema.facts import Hardware
from titrant.schema.plan import Step


def cannot_run_here(planned: Planned, here: Hardware) -> dict[str, str]:
    """Return the steps of a plan that could not run on this machine, each with what it would need."""
    return {step.id: unmet for step in planned.plan.steps if (unmet := _unmet(step, here))}


def _unmet(step: Step, here: Hardware) -> str:
    from titrant.compiler.lowering.steps import full_params
    from titrant.compiler.rules.at_device import find_gpu
    from titrant.runtime import catalog

    device = str(step.params.get("device", "cpu"))
    if not device.startswith("cpu") and find_gpu(device, here.identity.gpus) is None:
        return f"this machine has no device {device}"
    # A user's operator says what it needs in the worker only.
    if ":" in step.operator:
        return ""
    declaration = catalog.get(step.operator)
    return "; ".join(declaration.requires(full_params(declaration.params, step.params), here, None))
