"""What a model answered: arrays in one safetensors file, with the role and the order of outputs in its metadata."""

import json
from pathlib import Path

import numpy as np

from titrant.runtime.values import Outputs

FILE = "outputs.safetensors"


def save(value: Outputs, folder: Path) -> None:
    """Write the arrays, sorted by name by the format itself, under one metadata key."""
    from safetensors.numpy import save_file

    # One JSON-valued key: several metadata keys come out in random order.
    about = json.dumps({"role": value.role, "outputs": list(value.arrays)}, separators=(",", ":"))
    arrays = {name: np.ascontiguousarray(array) for name, array in value.arrays.items()}
    save_file(arrays, folder / FILE, metadata={"titrant": about})


def load(folder: Path) -> Outputs:
    """Read the arrays in the model's order of outputs."""
    from safetensors import safe_open

    with safe_open(folder / FILE, framework="numpy") as file:
        about = json.loads(file.metadata()["titrant"])
        return Outputs(about["role"], {name: file.get_tensor(name) for name in about["outputs"]})
