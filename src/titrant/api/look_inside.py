"""Look inside a model that somebody holds, or a file: its health, its attention, or it beside another one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    from titrant.api.live.model_inputs import ModelInputs
    from titrant.runtime.instruments.comparison.difference import ModelComparison
    from titrant.runtime.instruments.health.finding import ModelHealth
    from titrant.runtime.instruments.subject.subject import InspectedModel

    ModelOrFile = torch.nn.Module | str | Path


def check_health(model: "ModelOrFile", inputs: "ModelInputs | None" = None) -> "ModelHealth":
    """Say whether the numbers of a model are sound: its weights, and with `inputs` what each of its layers answers.

    `model` is a torch module, an .onnx (with weights outside it, too), TorchScript, .pt2 or .safetensors file, a
    checkpoint, or a run that released one. `inputs` are a tensor or array, a list of them in the order of the forward,
    or a mapping of its names to them, rows first. A module is called in evaluation mode, and stays in its own. The
    answer prints as text; `findings` have kind, severity, layer, figure, words and what helps. One tensor at a time is
    read. Raises RecipeError P080 for what is no model, X682 for one without values, StepError X683 where it cannot
    answer the inputs.
    """
    from titrant.runtime.instruments.health.look import health_of

    return health_of(_subject(model), inputs)


def capture_attention(model: "ModelOrFile", inputs: "ModelInputs") -> "dict[str, np.ndarray]":
    """Return the attention weights of each layer on some inputs: layer → (batch, heads, queries, keys), float32.

    `model` and `inputs` are as in `check_health`. Layers come in the order in which they are computed; one that attends
    again is called `layer#2`. Of fused attention (torch's `scaled_dot_product_attention`, its fast paths and layers,
    onnxruntime's fused operators) the weights are computed from queries and keys; dropout is off. Raises StepError
    X683 where the model cannot answer, X684 where nothing attends, X685 for attention that cannot be taken apart.
    """
    from titrant.runtime.instruments.attention.capture import attention_of

    return {of.layer: of.weights for of in attention_of(_subject(model), inputs)}


def compare_models(
    first: "ModelOrFile", second: "ModelOrFile", inputs: "ModelInputs | None" = None
) -> "ModelComparison":
    """Hold two models of one origin against each other, layer by layer: shapes, precision, and how far apart they are.

    Models and `inputs` are as in `check_health`. Layers are matched through export, folding and quantization, by their
    names; weights are compared as the numbers that they stand for. With `inputs` also what each layer answers, and each
    output. Figures are signal-to-noise in decibels: 20 dB are errors of a tenth, 40 dB of a hundredth. The answer
    prints as text. Raises RecipeError X686 where the models have no layer in common, and what `check_health` does.
    """
    from titrant.runtime.instruments.comparison.compare import compare

    return compare(_subject(first), _subject(second), inputs)


def _subject(model: Any) -> "InspectedModel":
    from titrant.api.inspect import is_run
    from titrant.runtime.instruments.subject.subject import subject_of

    if isinstance(model, (str, Path)) and is_run(str(model)):
        from titrant.api.runs import find_run
        from titrant.api.validate import released_file
        from titrant.runtime.store.home import home_folder

        return subject_of(released_file(find_run(str(model), home_folder())).path)
    return subject_of(model)
