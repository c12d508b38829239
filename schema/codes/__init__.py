"""Every diagnostic code with an explanation and a wrong and a right example, by room."""

from dataclasses import dataclass
from importlib import import_module

ROOMS = ("recipe", "config", "command", "bind", "plan", "lock", "data", "operators", "execute", "contract", "report")


@dataclass(frozen=True)
class Code:
    """One diagnostic code, as `titrant explain CODE` and the docs show it."""

    code: str
    title: str
    explanation: str
    wrong: str = ""
    right: str = ""


def all_codes() -> dict[str, Code]:
    """Gather the codes of every room, by code; a code that two rooms claim raises ValueError."""
    found: dict[str, Code] = {}
    for room in ROOMS:
        codes: tuple[Code, ...] = import_module(f"{__name__}.{room}").CODES
        for code in codes:
            if code.code in found:
                raise ValueError(f"{code.code} stands twice")
            found[code.code] = code
    return found
