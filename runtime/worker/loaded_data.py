"""The data of a recipe as its inspection loaded them, kept for the step of the run that would load them again.

A run goes on in the process that was asked what model and data are. The step takes what was loaded there where it would
have done the very same: with equal parameters, under equal settings of what is random, and while nobody changed them.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titrant.runtime import catalog
from titrant.runtime.catalog import Params
from titrant.runtime.machine.peak_memory import PeakMemory, resident_bytes
from titrant.runtime.seed import Settings
from titrant.runtime.worker.step_context import StepContext
from titrant.runtime.worker.user_watch import UserWatch
from titrant.schema.record import Dependency

if TYPE_CHECKING:
    from titrant.runtime.operators.data.load import DataLoadParams
    from titrant.runtime.values import Tables


@dataclass(frozen=True)
class LoadedData:
    """What the step would have given, what it would depend on, and what it took: of the work itself, as in a result.

    `digest` is of the content, "" as long as nothing is to be kept; `held_bytes` is what the process holds more since.
    """

    tables: "Tables"
    params: "DataLoadParams"
    settings: Settings
    dependencies: tuple[Dependency, ...]
    seconds: float
    peak_bytes: int
    held_bytes: int
    digest: str = ""

    def is_for(self, params: Params, settings: Settings) -> bool:
        """Whether a step would load the same; what the model's own code did to the arrays meanwhile counts too."""
        if params != self.params or settings != self.settings:
            return False
        from titrant.runtime.inspect.data import digest_tables

        return digest_tables(self.tables) == self.digest

    def given(self, context: StepContext) -> Mapping[str, Any]:
        """Give what the step gives, and measure what it measures."""
        from titrant.runtime.operators.data.load import given

        return given(self.tables, context)


def load_data(params: Mapping[str, Any], settings: Settings, watch: UserWatch) -> LoadedData:
    """Load the data as the step with these parameters does, watched as it is; raises what it raises.

    `settings` are those that apply now.
    """
    from titrant.runtime.operators.data.load import DataLoadParams, load

    loading = DataLoadParams.model_validate_json(json.dumps(params))
    with watch.watching(params):
        catalog.load(catalog.get("data.load").loads(loading))
        memory, before, begun = PeakMemory(), resident_bytes(), time.perf_counter()
        tables = load(loading, seed=settings.seed)
        seconds, peak = time.perf_counter() - begun, memory.grown_bytes()
        dependencies = watch.dependencies({"operator": "data.load", "params": params})
        held = max(0, resident_bytes() - before)
        return LoadedData(tables, loading, settings, dependencies, seconds, peak, held)
