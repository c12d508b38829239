"""Seed everything that draws random numbers, as titrant does before every step."""

import os
from collections.abc import Mapping

from titrant.runtime.execution.seeding import Seeding, Settings

# What must be in the environment before an interpreter, or the first CUDA call, starts.
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_seeding: list[Seeding] = []


def set_seed(seed: int, *, deterministic: bool = True) -> Mapping[str, str]:
    """Seed Python, NumPy, torch (CPU, CUDA, MPS) and MLX, and with `deterministic` ask torch for deterministic kernels.

    Libraries that are not loaded yet are seeded when they are: nothing is imported here. PYTHONHASHSEED and
    CUBLAS_WORKSPACE_CONFIG are set for child processes, such as data-loader workers that are spawned and ranks; the
    hash seed of this process was fixed when it started. Returns the two, for a record. The same call again starts the
    same sequences again. Raises ValueError for a seed below 0 or of more than 63 bits.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ValueError(f"a seed is a whole number from 0 to 2**63 - 1, not {seed!r}")
    variables = {"PYTHONHASHSEED": str(seed % 2**32), **({_CUBLAS: ":4096:8"} if deterministic else {})}
    os.environ.update(variables)
    if not _seeding:
        _seeding.append(Seeding())
        _seeding[0].install()
    _seeding[0].apply(Settings(seed, None, deterministic))
    return variables
