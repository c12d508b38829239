"""Take an existing OpenVINO IR as the model."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.runtime.cost.sizes import missing
from titrant.runtime.data.parameters import File
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Copying both files, and opening the graph once.
_LAYER_SECONDS, _COPIED_BYTES_PER_SECOND = 0.002, 300e6
_READER_BYTES = 20 << 20


class ModelLoadOpenvinoParams(Params):
    """The graph, and the file of its weights, which may lie anywhere and have any name."""

    graph: File
    weights: File


def requires(params: ModelLoadOpenvinoParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need openvino to read it."""
    return missing(hardware, "openvino")


def predict(
    params: ModelLoadOpenvinoParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights, which are nearly the whole of it."""
    if model is None:
        return Prediction(seconds=0.1, basis="guess")
    size = model.weight_bytes
    seconds = BASE_SECONDS + _LAYER_SECONDS * len(model.layers) + size / _COPIED_BYTES_PER_SECOND
    return Prediction(seconds=seconds, peak_bytes=2 * size + _READER_BYTES, output_bytes=size, basis=basis_of(hardware))


@operator(
    "model.load_openvino",
    version=1,
    family="model",
    params=ModelLoadOpenvinoParams,
    inputs={},
    outputs={"model": "ir"},
    requires=requires,
    predict=predict,
    loads=("titrant.runtime.backends.openvino.session",),
    libraries=("openvino",),
)
def model_load_openvino(params: ModelLoadOpenvinoParams, context: Context) -> Mapping[str, Any]:
    """Copy a graph and its weights, as they are, and see that OpenVINO opens them.

    Helps when: a file that was optimized elsewhere, or released by an earlier run, is judged as it is.
    Inputs:     none
    Outputs:    model - both files under fixed names, no byte of them changed
    Fails:      StepError X212 when a file is missing or damaged, or OpenVINO cannot compile the graph
    Cost:       one copy of both files, and opening them once
    """
    from titrant.runtime.backends.openvino.ir import NAME, WEIGHTS, IrModel
    from titrant.runtime.backends.openvino.session import open_session

    folder = context.scratch / "ir"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(params.graph.path), folder / NAME)
    shutil.copyfile(Path(params.weights.path), folder / WEIGHTS)
    model = IrModel(folder)
    open_session(model, threads=1).close()
    return {"model": model}
