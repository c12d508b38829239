"""How far apart two figures of the same thing may be: the one place where a rerun's and a lock's tolerances stand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """Two figures agree when they differ by at most `absolute`, or by at most the share `relative` of the larger."""

    absolute: float
    relative: float

    def holds(self, old: float | None, new: float | None) -> bool:
        """Tell whether two figures agree; one that is missing agrees with nothing but another one that is missing."""
        if old is None or new is None:
            return old is new
        return abs(old - new) <= max(self.absolute, self.relative * max(abs(old), abs(new)))


# Quality: accuracies, losses, agreement; the absolute part is for losses near zero.
QUALITY = Tolerance(0.001, 0.01)
# Counted bytes.
SIZE = Tolerance(0.0, 0.01)
# Timings and peak memory: another process on a machine that does other work besides.
MEASURED = Tolerance(0.0, 0.5)


def tolerance_of(name: str) -> Tolerance:
    """Return the tolerance of a figure by its name: `latency_p50`, `gate latency.p95`, `size`, `quality` …"""
    own = name.rpartition(" ")[2]
    if own.startswith(("latency", "throughput", "peak_memory")):
        return MEASURED
    return SIZE if own.startswith("size") else QUALITY
