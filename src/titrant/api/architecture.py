"""Draw a model's architecture: what `titrant inspect --out` writes, and the same of a live module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    import torch

    from titrant.api.inspect import Inspected
    from titrant.runtime.instruments.architecture.architecture import Architecture


def architecture(
    model: "torch.nn.Module | str",
    inputs: "Sequence[torch.Tensor] | Sequence[Mapping[str, Any]] | torch.Tensor | None" = None,
    *,
    args: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> "Architecture":
    """Return a model's layers, and how data flows through them; its `save` writes a picture (.svg) or a page (.html).

    `model` is a live module, or the text that `titrant.inspect` takes: a recipe, a file, or `module:Name` with `args`.
    `inputs` are the tensors of one call, of a live module, or descriptions as `model.inputs` has them. A live module
    is called once with them, in evaluation mode and without gradients; without inputs it is drawn in the order in
    which its parts are registered, without data flow.
    Raises RecipeError for a model or input that cannot be, StepError when the module cannot answer the inputs.
    """
    if isinstance(model, str):
        from titrant.api.inspect import inspect

        specs = [dict(spec) for spec in inputs] if inputs is not None else None  # type: ignore[call-overload, union-attr]
        drawn = inspect(model, args=args, inputs=specs, trust=trust, drawn=True).architecture
        assert drawn is not None
        return drawn
    raise NotImplementedError


def save_inspected(inspected: "Inspected", file: Path) -> Path:
    """Write what was found out of a model as a page or a picture; as `Inspected.save`."""
    from titrant.runtime.instruments.architecture.page import save

    if inspected.architecture is None:
        message = f"{inspected.subject} was inspected without its architecture"
        raise RecipeError(Diagnostic("X664", message, help="write titrant.inspect(…, drawn=True)"))
    return save(inspected.architecture, file)
