"""What `titrant doctor` finds out about an environment."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "lack"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ok, a note (worth knowing), or a lack (work cannot be done).

    `remedy` is the command, or the step, that would change it; "" where nothing needs to.
    """

    subject: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Suits:
    """Whether a level or method suits this machine, and why."""

    name: str
    suits: bool
    because: str
