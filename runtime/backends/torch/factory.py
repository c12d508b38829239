"""Build a model from its factory `module:Name`, digest the source that defines it, and seed random numbers."""

import contextlib
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.seed import seed_torch
from titrant.runtime.user_code import Territory, call, closure, resolve
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.canonical import canonical_json

if TYPE_CHECKING:
    import torch


def build(factory: str, args: Mapping[str, Any]) -> "torch.nn.Module":
    """Call the factory with its arguments and return the module.

    Raises StepError X150 (not found), X108 (the factory raised: its own message) or X151 (it gave no module).
    """
    import torch

    arguments = ", ".join(f"{name}={value!r}" for name, value in args.items())
    made = call(f"{factory}({arguments})", resolve(factory), **args)
    if not isinstance(made, torch.nn.Module):
        raise StepError(
            Diagnostic(
                "X151",
                f"{factory} gave {type(made).__name__}, which is not a torch.nn.Module",
                help="name a Module class, or a function that returns a module",
            )
        )
    return made


def source_digest(factory: str) -> str:
    """Digest the source of the factory's module and of every user module that it imports, directly or not.

    BLAKE3 (hexadecimal) over module names and contents: moving the files changes nothing. Installed packages are left
    out (their versions are in the step key), but for the one that the factory itself stands in.
    """
    from blake3 import blake3

    contents = {name: blake3(path.read_bytes()).hexdigest() for name, path in source_files(factory).items()}
    return blake3(canonical_json(contents).encode()).hexdigest()


def source_files(factory: str) -> dict[str, Path]:
    """List the files that a factory is defined by: module name → file, its own and those of its user imports."""
    resolve(factory)
    module = factory.partition(":")[0]
    file = getattr(sys.modules[module], "__file__", None)
    if not file:
        return {}
    # What a forward imports when it is called belongs to it before it was called too.
    reached, _ = closure([module], Territory(Path(file).parent), unloaded=True)
    return dict(sorted(reached.items()))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of Python, NumPy and torch on entry and give them back their states on exit (CPU only)."""
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            seed_torch(torch, seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
