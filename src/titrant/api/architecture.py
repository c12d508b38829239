"""Draw a model's architecture: what `titrant inspect --out` writes, and the same of a live module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.inspect import inspect
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    import torch

    from titrant.runtime.instruments.architecture.architecture import Architecture
    from titrant.runtime.instruments.architecture.readers.torch_module import CallTensors


def architecture(
    model: "torch.nn.Module | str | Path",
    inputs: "torch.Tensor | Sequence[Any] | Mapping[str, Any] | None" = None,
    *,
    args: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> "Architecture":
    """Return a model's layers, and how data flows through them; its `save` writes a picture (.svg) or a page (.html).

    `model` is a live module, the path of a file, or the text that `titrant.inspect` takes: a recipe, a file, or
    `module:Name` with `args`.
    `inputs` of a live module are a tensor, the tensors of one call in their order, or a mapping of the names of its
    forward's arguments; of a text they are descriptions, as `model.inputs` has them. The module is called once with
    tensors of these shapes that hold no values, or with the tensors themselves where its code reads values, in
    evaluation mode and without gradients, and stays as it is. Without inputs it is drawn in the order in which its
    parts are registered, without data flow.
    Raises RecipeError for a model or input that cannot be, StepError X156 when the module cannot answer the inputs.
    """
    if isinstance(model, (str, Path)):
        specs: Any = inputs
        drawn = inspect(str(model), args=args, inputs=specs, trust=trust, drawn=True).architecture
        assert drawn is not None
        return drawn
    import torch

    from titrant.runtime.instruments.architecture.architecture import Architecture
    from titrant.runtime.instruments.architecture.readers.torch_module import of_module

    if not isinstance(model, torch.nn.Module):
        message = f"a {type(model).__name__} has no architecture that titrant draws"
        raise RecipeError(Diagnostic("P080", message, help="give a torch module, a file, a recipe or module:Name"))
    if args is not None:
        raise RecipeError(Diagnostic("P080", "a live module is made already", help="leave out `args`"))
    return Architecture(of_module(type(model).__name__, model, _call(inputs)))


def _call(inputs: "torch.Tensor | Sequence[Any] | Mapping[str, Any] | None") -> "CallTensors | None":
    import torch

    from titrant.runtime.instruments.architecture.readers.torch_module import CallTensors

    if inputs is None:
        return None
    if isinstance(inputs, torch.Tensor):
        return CallTensors((inputs,))
    if isinstance(inputs, Mapping):
        return CallTensors((), dict(inputs))
    if not isinstance(inputs, Sequence) or isinstance(inputs, str):
        message = f"inputs are given as {type(inputs).__name__}"
        raise RecipeError(Diagnostic("P080", message, help="give a tensor, a list of tensors, or a mapping by name"))
    if any(isinstance(item, Mapping) and "shape" in item for item in inputs):
        message = "descriptions of inputs are of a model that is named"
        raise RecipeError(Diagnostic("P080", message, help="give the tensors of one call: inputs=[tensor]"))
    return CallTensors(tuple(inputs))
