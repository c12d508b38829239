"""Judge a contract on a million evaluation rows in 20 subgroups: `python benchmarks/contract/scale.py`.

The contract has retention, kept and calibration, the change within every subgroup, all 380 ordered pairs, balanced
accuracy and the area under the curve; once with each row a unit, once with ten rows a unit. Budget: 20 s and 2 GiB. It
is one thread, so what the processor worked is what the clock shows on a machine that does nothing else.
"""

import itertools
import resource
import sys
import time

import numpy as np

from titrant.runtime.contract.answers import Answers
from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judgement
from titrant.runtime.contract.metrics import slice_metrics
from titrant.runtime.values import Rows
from titrant.schema.gate import Contract, Gate, gate_test

ROWS, GROUPS, SEED = 1_000_000, 20, 5
SECONDS, BYTES = 20.0, 2 << 30


def evidence(rows_a_unit: int) -> Evidence:
    """Draw a faithful candidate: one decision in two hundred changes, and every probability a little."""
    rng = np.random.default_rng(SEED)
    labels = (rng.random(ROWS) < 0.3).astype(np.int64)
    scores = 1 / (1 + np.exp(-(4 * labels - 2 + rng.normal(0, 1.2, ROWS))))
    nearly = np.clip(scores + rng.normal(0, 0.005, ROWS), 0, 1)
    old, new = (Answers(np.stack([1 - p, p], axis=1), (p >= 0.5).astype(np.int64)) for p in (scores, nearly))
    values = tuple(f"v{index:02d}" for index in range(GROUPS))
    rows = Rows(
        "evaluation", {}, labels, np.arange(ROWS) // rows_a_unit, np.arange(ROWS, dtype=np.uint64), ("well", "ill"), 1,
        {"site": rng.integers(0, GROUPS, ROWS)}, {"site": values},
    )  # fmt: skip
    return Evidence(rows, old, new, old.decisions == new.decisions)


def contract() -> Contract:
    """Write the gates."""
    given = [
        ("retention", "accuracy", "all", "retention", 0.99), ("safety", "kept", "all", "at_least", 0.98),
        ("calibration", "brier", "all", "rise_at_most", 0.02), ("gates", "balanced_accuracy", "all", "retention", 0.98),
        ("gates", "auroc", "all", "retention", 0.98),
    ]  # fmt: skip
    names = [f"v{index:02d}" for index in range(GROUPS)]
    given += [("bias", "sensitivity", f"subgroup site.{name}", "retention", 0.95) for name in names]
    given += [
        ("bias", "sensitivity", f"subgroup site.{one} / site.{other}", "ratio_at_least", 0.95)
        for one, other in itertools.permutations(names, 2)
    ]
    gates = [
        Gate(str(place), preset, metric, where, comparison, threshold, gate_test(metric, comparison), "benchmark")
        for place, (preset, metric, where, comparison, threshold) in enumerate(given)
    ]
    return Contract(tuple(gates), 0.95, "proof")


def main() -> int:
    """Print seconds and memory; exit 1 beyond the budget."""
    kept = True
    for rows_a_unit in (1, 10):
        found = evidence(rows_a_unit)
        begun, worked = time.perf_counter(), time.process_time()
        judged = judgement(contract(), "candidate", found)
        slice_metrics(found)  # what the report shows beside the gates
        wall, seconds = time.perf_counter() - begun, time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"{ROWS:,} rows, {rows_a_unit} a unit, {GROUPS} subgroups, {len(judged.results)} gates: {judged.verdict}")
        print(f"  {seconds:.1f} s of {SECONDS:g} (by the clock {wall:.1f} s), peak {peak >> 20} MiB of {BYTES >> 20}")
        kept &= seconds <= SECONDS and peak <= BYTES
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
