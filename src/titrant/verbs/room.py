"""Refuse a plan that is certain not to find the memory or the disk that it needs."""

from titrant.planned import Planned
from titrant.schema.diagnostics import InfeasibleError
from titrant.schema.need import Room, short_of


def refuse_without_room(planned: Planned, room: Room) -> None:
    """Raise InfeasibleError where what really has to run cannot fit; what is stored already needs no room."""
    asked_only = {step.id for step in planned.plan.steps if step.stage == "judge"}
    if not short_of(planned.needs, planned.needs.keys() - asked_only, room):
        return
    from titrant.verbs.plan import symbols

    running = {step for step, (symbol, _) in symbols(planned).items() if symbol in "+~"}
    found = short_of(planned.needs, running, room)
    if found:
        raise InfeasibleError(*found)
