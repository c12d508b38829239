"""A plan with the recipe and the machine that it was made from: what planning gives, and executing and saving take."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from titrant.schema.cost import Need
from titrant.schema.facts import Hardware
from titrant.schema.plan import Coverage, Plan, plan_digest
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Planned:
    """A plan, the recipe that it was made from, and the machine that it is for.

    `recipe_text` is resolved where the recipe extends another or was overridden, and `written` is what its author
    wrote: text, the base that it extends, overrides; `folder` is absolute. `coverage` says which layers each method
    would touch, `needs` what each step cannot do without. A plan carries no trust: who runs a saved one says so anew.
    """

    plan: Plan
    hardware: Hardware
    recipe_text: str
    recipe_file: str
    folder: str
    written: Mapping[str, Any] = field(default_factory=dict)
    coverage: tuple[Coverage, ...] = ()
    needs: Mapping[str, Need] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the plan's identity."""
        return plan_digest(self.plan)
