"""How often the models of a timing run at one batch size: most where they are compared, least where they are shown."""

import math
from collections.abc import Mapping
from typing import Any

from titrant.runtime.machine.turns import MOST_OFF
from titrant.schema.cases import runs_for_percentile
from titrant.schema.values.frozen import dataclass

# Fewer runs cannot bound a 95th percentile at 95 % confidence.
LEAST_RUNS = runs_for_percentile(0.95)
MOST_RUNS = 500
# Where a batch size is shown only: enough for an interval of the median, and no tail is bounded. Fast models run more
# often, in the time that there is, until the tail is: more runs would decide nothing either.
SHOWN_RUNS, MOST_SHOWN_RUNS = 8, LEAST_RUNS
# Where even the least runs take longer than this, the percentile stays unbounded rather than the user waiting.
PATIENCE_SECONDS = 120.0
# Of `seconds`, for a batch size that is shown only.
SHOWN_SHARE = 0.25
# Times `seconds`, for the fastest and those that its runs leave open.
LONGER = 2
# Among so many the least runs choose: the original, a method's file and its plain conversion.
TOLD_BY_FEW = 3


@dataclass(frozen=True)
class TimingSchedule:
    """The turns of a timing at one batch size.

    `compared`: models are chosen or judged here; elsewhere they are shown only. `chooses`: among so many models that
    the least runs do not tell. `iterations` are the turns asked for, none: as `seconds` allow. `beside`: models that
    are no candidates, which take the first turns alone where they are shown only.
    """

    compared: bool
    chooses: bool
    iterations: int | None
    blocks: int
    seconds: float
    beside: frozenset[str]

    @classmethod
    def of(cls, params: Any, size: int, models: int) -> "TimingSchedule":
        """Return that of so many models by the parameters of `profile.latency`."""
        compared = size == (params.compared or min(params.batches))
        chooses = compared and params.chooses and models > TOLD_BY_FEW
        seconds = params.seconds * (1 if compared else SHOWN_SHARE)
        return cls(compared, chooses, params.iterations, params.blocks, seconds, frozenset(params.beside))

    @property
    def most_off(self) -> int:
        """How many runs off the clock begin a turn, where they are quick: many where runs choose among many."""
        return MOST_OFF if self.chooses else 1

    @property
    def runs_on(self) -> bool:
        """Whether those that may be the fastest run on, for `seconds` of CPU time."""
        return self.chooses and not self.iterations

    @property
    def open_seconds(self) -> float:
        """How long those run on, in seconds of CPU time, that are not told apart from the fastest then."""
        return LONGER * self.seconds

    def predicted_seconds(self, turn_seconds: Mapping[str, float]) -> float:
        """Predict what all turns take, from what one of each model takes; half of those that run on are told apart."""
        runs = self.predicted_runs(turn_seconds)
        seconds = sum(turn * runs[name] for name, turn in turn_seconds.items())
        return seconds + (self.seconds + self.open_seconds / 2 if self.runs_on else 0.0)

    def predicted_runs(self, turn_seconds: Mapping[str, float]) -> dict[str, int]:
        """Predict how often each model runs, from what its turns take."""
        brief = [] if self.compared else [turn for name, turn in turn_seconds.items() if name in self.beside]
        all_along = sum(turn_seconds.values()) - sum(brief)
        left = max(self.seconds - SHOWN_RUNS * sum(brief), 0.0)
        turns = max(self._least, min(self._most, int(left / all_along) + 1) if all_along else 0)
        return {name: turns if self.takes_part(name, turns - 1) else SHOWN_RUNS for name in turn_seconds}

    @property
    def most_of_a_block(self) -> int:
        """How many turns a block has at most."""
        return math.ceil(self._most / self.blocks)

    def takes_part(self, name: str, runs: int) -> bool:
        """Whether a model that has run so often runs in the next turn."""
        return self.compared or name not in self.beside or runs < SHOWN_RUNS

    def enough(self, turns: int, seconds: float) -> bool:
        """Whether a block has enough turns, after so many of them and so long."""
        if self.iterations:
            return False
        if turns * self.blocks < self._least:
            return turns > 0 and seconds > PATIENCE_SECONDS / self.blocks
        return seconds > self.seconds / self.blocks

    @property
    def _least(self) -> int:
        """How many turns come first, whatever they take."""
        return self.iterations or (LEAST_RUNS if self.compared else SHOWN_RUNS)

    @property
    def _most(self) -> int:
        return self.iterations or (MOST_RUNS if self.compared else MOST_SHOWN_RUNS)
