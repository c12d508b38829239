"""Time the parts of an inspection, for predictions of the steps that will do the same."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Keeps the seconds of each part that was timed, to a tenth of a millisecond."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Time a block."""
        begun = time.perf_counter()
        yield
        self.seconds[part] = round(time.perf_counter() - begun, 4)
