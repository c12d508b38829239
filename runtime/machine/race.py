"""Models that take turns in one process to be timed, and who falls out because it fails."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from statistics import median
from typing import Any

from titrant.runtime.catalog import Context
from titrant.runtime.machine.turns import Runs, time_turn
from titrant.schema.diagnostics.diagnostics import Diagnostic, TitrantError
from titrant.schema.values.frozen import dataclass

# Who takes this many times as long as the fastest is told apart from it by few runs.
CONTENDS = 1.5
# What libraries say when the machine is short of something: no property of the model, and gone another time.
_SHORT = re.compile(r"memory|alloc|too many open files|no space left|temporarily unavailable", re.IGNORECASE)


@dataclass
class Race:
    """The models that are being timed, by name, and why others fell out."""

    context: Context
    sessions: dict[str, Any] = field(default_factory=dict)
    calls: dict[str, Callable[[], object]] = field(default_factory=dict)  # of one batch
    failed: dict[str, str] = field(default_factory=dict)
    most_off: int = 1  # runs off the clock before each that is timed, while they are quick

    def take_turns(self, runs: Mapping[str, Runs], names: Sequence[str]) -> None:
        """Let some of the models run once, in an order drawn anew; add what each run took to its runs."""
        for index in self.context.generator.permutation(len(names)):
            name = names[index]
            with self.trying(name):
                time_turn(self.calls[name], runs[name], self.most_off)

    def all(self) -> list[tuple[str, Any]]:
        """List the models that are still in it; a model may drop out while the list is walked through."""
        return list(self.sessions.items())

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Take a model out when the block fails; raise if it is the original, without which nothing is compared.

        Where the block ends the process it is known which model did.
        """
        self.context.attend(name)
        try:
            yield
        except TitrantError as error:
            if name == "original":
                raise
            self.failed[name] = error.diagnostics[0].message
            if may_pass(error.diagnostics[0]):
                self.context.do_not_reuse(f"{name} failed while it was timed: {self.failed[name]}")
            session = self.sessions.pop(name, None)
            if session is not None:
                session.close()


def may_pass(diagnostic: Diagnostic) -> bool:
    """Whether the machine rather than the model caused a failure, or nobody knows what did."""
    texts = (diagnostic.message, diagnostic.said)
    return diagnostic.code == "X431" or any(_SHORT.search(text) is not None for text in texts)


def contenders(runs: Mapping[str, Runs], names: Collection[str]) -> list[str]:
    """Return those of some models that may be the fastest by their runs so far, in their order."""
    medians = {name: median(runs[name].wall) for name in names}
    return [name for name, seconds in medians.items() if seconds <= CONTENDS * min(medians.values())]
