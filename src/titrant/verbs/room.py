"""Refuse a plan that is certain not to find the memory or the disk that it needs."""

from titrant.compiler.room import Case, short_of
from titrant.planned import Planned
from titrant.schema.diagnostics import InfeasibleError
from titrant.schema.facts import DataFacts, ModelFacts


def refuse_without_room(planned: Planned, model: ModelFacts, data: DataFacts) -> None:
    """Raise InfeasibleError where what really has to run cannot fit; what is stored already needs no room."""
    case = Case(planned.plan, planned.hardware, model, data)
    if not short_of(case):
        return
    from titrant.verbs.plan import symbols

    running = frozenset(step for step, (symbol, _) in symbols(planned).items() if symbol in "+~")
    found = short_of(case, running)
    if found:
        raise InfeasibleError(*found)
