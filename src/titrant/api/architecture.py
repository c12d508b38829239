"""Draw a model's architecture: what `titrant inspect --out` writes, and the same of a live module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.inspect import inspect
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError

if TYPE_CHECKING:
    import torch

    from titrant.api.live.model_inputs import ModelInputs
    from titrant.runtime.instruments.architecture.architecture import Architecture
    from titrant.runtime.instruments.architecture.readers.torch_module import CallTensors


def architecture(
    model: "torch.nn.Module | str | Path",
    inputs: "ModelInputs | None" = None,
    *,
    input_specs: Sequence[Mapping[str, Any]] | None = None,
    args: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> "Architecture":
    """Return a model's layers, and how data flows through them; its `save` writes a picture (.svg) or a page (.html).

    `model` is a live module, the path of a file, or the text that `titrant.inspect` takes: a recipe, a file, or
    `module:Name` with `args`. `inputs` of a live module are a tensor or array, a sequence of them in the order of the
    forward, or a mapping of its names to them, rows first; of a text `input_specs` describe them, as `model.inputs` has
    it. The module is called once with tensors of these shapes that hold no values, or with the tensors themselves where
    its code reads values, in evaluation mode and without gradients, and stays as it is. Without inputs it is drawn in
    the order in which its parts are registered, without data flow. Raises RecipeError for a model or input that cannot
    be, StepError X683 when the module cannot answer the inputs.
    """
    if isinstance(model, (str, Path)):
        if inputs is not None:
            raise RecipeError(Diagnostic("P080", "inputs are of a live module", help="describe them: `input_specs`"))
        drawn = inspect(str(model), args=args, input_specs=input_specs, trust=trust, drawn=True).architecture
        assert drawn is not None
        return drawn
    import torch

    from titrant.runtime.instruments.architecture.architecture import Architecture
    from titrant.runtime.instruments.architecture.readers.torch_module import of_module
    from titrant.runtime.instruments.refused.inputs import refused_inputs

    if not isinstance(model, torch.nn.Module):
        message = f"a {type(model).__name__} has no architecture that titrant draws"
        raise RecipeError(Diagnostic("P080", message, help="give a torch module, a file, a recipe or module:Name"))
    if args is not None or input_specs is not None:
        unused = "args" if args is not None else "input_specs"
        raise RecipeError(Diagnostic("P080", "a live module is made already", help=f"leave out `{unused}`"))
    try:
        return Architecture(of_module(type(model).__name__, model, _call(inputs)))
    except StepError as error:
        raise refused_inputs(error) from None


def _call(inputs: Any) -> "CallTensors | None":
    from titrant.runtime.instruments.architecture.readers.torch_module import CallTensors

    if inputs is None:
        return None
    if hasattr(inputs, "shape"):
        return CallTensors((_tensor(inputs),))
    if isinstance(inputs, Mapping):
        return CallTensors((), {name: _tensor(value) for name, value in inputs.items()})
    if not isinstance(inputs, Sequence) or isinstance(inputs, str):
        message = f"inputs are given as {type(inputs).__name__}"
        raise RecipeError(Diagnostic("P080", message, help="give a tensor, a list of tensors, or a mapping by name"))
    if any(isinstance(item, Mapping) and "shape" in item for item in inputs):
        message = "descriptions are no inputs"
        raise RecipeError(Diagnostic("P080", message, help="give the tensors of one call: inputs=[tensor]"))
    return CallTensors(tuple(map(_tensor, inputs)))


def _tensor(value: Any) -> Any:
    """Return an array as a tensor in a type that inputs have; anything else stays as it is."""
    import numpy as np
    import torch

    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(np.ascontiguousarray(value, np.float32 if value.dtype == np.float64 else value.dtype))
