"""A toy engine: compressed ONNX graphs, run node by node in NumPy, on every device alike."""

import shutil

from titrant.runtime.backends.backend import Backend
from titrant.runtime.backends.model_kind import ModelKind, RunCost

FILE = "model.toybox"

SNIPPET = """\
import numpy as np
from titrant_toy.engine import ToyModel, open_session

session = open_session(ToyModel({file}), threads=1)
# batch is {batch}.
outputs = next(iter(session.run({{session.input_names[0]: batch}}).values()))
{decide}
"""


def save(value, folder):
    """Copy the file under its fixed name."""
    if value.path != folder / FILE:
        shutil.copyfile(value.path, folder / FILE)


def load(file):
    """Refer to the file."""
    from titrant_toy.engine import ToyModel

    return ToyModel(file)


def tensors(file):
    """Yield the weights."""
    from onnx import numpy_helper

    from titrant_toy.engine import read

    for tensor in read(file).graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)


def open_session(model, *, threads, device="cpu"):
    """Read the graph; a thread or a device more changes nothing."""
    from titrant_toy import engine

    return engine.open_session(model, threads=threads, device=device)


def executed(model, *, threads=1, layers=()):
    """Return how each product is computed."""
    from titrant_toy import engine

    return engine.executed(model, layers)


BACKEND = Backend(
    name="toy",
    packages={"titrant_toy": "titrant_toy.engine"},
    kinds={
        "toybox": ModelKind(
            name="toybox",
            title="a toy box",
            label="a toy box",
            file=FILE,
            save=save,
            load=load,
            tensors=tensors,
            format="toybox",
            converts={"onnx": "export.toybox"},
            snippet=SNIPPET,
        )
    },
    costs={
        "toybox": RunCost(
            reached=0.2,
            call_seconds=300e-6,
            layer_seconds=60e-6,
            convolution_seconds=5e-3,
            passes=4.0,
            held=4.0,
            launches=1.0,
            gpu_passes=4.0,
            open_seconds=0.02,
            open_copies=3,
        )
    },
    open=open_session,
    executed=executed,
    loads={"titrant_toy.engine": 0.01},
)
