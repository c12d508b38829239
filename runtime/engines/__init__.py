"""Engines: one small interface over whatever can run a model file."""

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

# engine → the artifact kinds it loads
ENGINES: Mapping[str, tuple[str, ...]] = {"torch": ("torch", "torchscript"), "onnxruntime": ("onnx",)}


class Session(Protocol):
    """A loaded model that answers batches; use as a context manager."""

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    fixed_batch: int | None  # the batch size that the file insists on; None: any

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, name → (batch, …) out, as NumPy arrays on the CPU."""

    def close(self) -> None:
        """Free the model."""


def engine(name: str) -> Any:
    """Import the module of an engine, which offers `open_session`, by name; KeyError for a name that is not there."""
    if name not in ENGINES:
        raise KeyError(name)
    return importlib.import_module(f"titrant.runtime.engines.{name}_engine")


def open_session(name: str, model: Any, *, threads: int, device: str = "cpu") -> Session:
    """Load a model in the named engine, ready for batches of any size."""
    from titrant.runtime.engines.pieces import PiecewiseSession

    session: Session = engine(name).open_session(model, threads=threads, device=device)
    return session if session.fixed_batch is None else PiecewiseSession(session, session.fixed_batch)
