"""What a plan's symbols say beside what would run: steps that are gone, and steps that cannot run on this machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.planned import Planned
from titrant.schema.facts import Hardware
from titrant.schema.plan import Step


def no_longer_planned(planned: Planned, home: Path) -> tuple[tuple[str, str], ...]:
    """Return the steps (id, operator) of the last run of this recipe that the plan no longer has."""
    from titrant.runtime.execution.run_order import newest_first

    now = {step.id for step in planned.plan.steps}
    for folder in newest_first(home / "runs", f"-{planned.plan.name}-"):
        before = _plan(folder)
        if before is not None and before.get("name") == planned.plan.name:
            return tuple((step["id"], step["operator"]) for step in before["steps"] if step["id"] not in now)
    return ()


def _plan(folder: Path) -> Mapping[str, Any] | None:
    """Read the plan of a run that came to its end; None for any other and for a damaged one."""
    if not (folder / "record.json").is_file():
        return None
    try:
        value = json.loads((folder / "plan.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("steps"), list) else None


def cannot_run_here(planned: Planned, here: Hardware) -> dict[str, str]:
    """Say which steps of a plan for another machine could not run on this one, and what they would need."""
    return {step.id: lack for step in planned.plan.steps if (lack := _lack(step, here))}


def _lack(step: Step, here: Hardware) -> str:
    from titrant.compiler.lowering.steps import full_params
    from titrant.runtime import catalog

    kind, _, index = str(step.params.get("device", "cpu")).partition(":")
    if kind != "cpu" and not any(
        gpu.kind == kind and (not index or gpu.index == int(index)) for gpu in here.identity.gpus
    ):
        return f"this machine has no device {step.params['device']}"
    # A user's operator says what it needs in the worker only.
    if ":" in step.operator:
        return ""
    declaration = catalog.get(step.operator)
    return "; ".join(declaration.requires(full_params(declaration.params, step.params), here, None))


def changed_since(saved: Planned) -> str:
    """Say so where the recipe that a saved plan was made from reads otherwise now; the plan holds its own copy."""
    file = Path(saved.recipe_file)
    place = file if file.is_absolute() else Path(saved.folder) / file.name
    try:
        now = place.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    if now == saved.written.get("text", saved.recipe_text):
        return ""
    return f"{saved.recipe_file} has changed since the plan was saved; the plan runs as it was saved"
