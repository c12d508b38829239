"""Make steps: parameters checked and written in full; what they cost is asked when the plan is whole."""

from collections.abc import Mapping
from typing import Any

from titrant.compiler.ports import Declare
from titrant.runtime.catalog import Params
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.frozen import dataclass
from titrant.schema.plan import Step

Inputs = Mapping[str, str | Mapping[str, str]]


@dataclass(frozen=True)
class StepMaker:
    """What every step of one plan shares: the seed, and what predictions are made from."""

    declare: Declare
    hardware: Hardware
    model: ModelFacts
    seed: int

    def make(
        self,
        identifier: str,
        operator: str,
        params: Mapping[str, Any],
        inputs: Inputs,
        *,
        stage: str,
        because: str,
        candidate: str = "",
    ) -> Step:
        """Make one step; its parameters are written with their defaults, so that a changed default changes the key."""
        declaration = self.declare(operator)
        full = full_params(declaration.params, params)
        return Step(
            id=identifier,
            operator=operator,
            version=declaration.version,
            params=full.model_dump(mode="json"),
            inputs=inputs,
            seed=self.seed,
            stage=stage,
            candidate=candidate,
            because=because,
        )


def full_params(params: type[Params], given: Mapping[str, Any]) -> Params:
    """Check parameters as JSON, as the worker will read them."""
    from titrant.schema.canonical import canonical_json

    return params.model_validate_json(canonical_json(given))
