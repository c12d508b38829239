"""Find the steps that the last run of a recipe had and its plan no longer has."""

from pathlib import Path

from titrant.planned import Planned


def no_longer_planned(planned: Planned, home: Path) -> tuple[tuple[str, str], ...]:
    """Return the steps (id, operator) of the last finished run of this recipe that the plan no longer has.

    Runs whose plan is damaged are passed over.
    """
    from titrant.runtime.execution.json_object import json_object
    from titrant.runtime.execution.run_order import newest_first

    now = {step.id for step in planned.plan.steps}
    for folder in newest_first(home / "runs", f"-{planned.plan.name}-"):
        before = json_object(folder / "plan.json") if (folder / "record.json").is_file() else None
        if before is None or before.get("name") != planned.plan.name:
            continue
        if isinstance(before.get("steps"), list):
            return tuple((step["id"], step["operator"]) for step in before["steps"] if step["id"] not in now)
    return ()
