"""Say whether a level suits a model that somebody holds, or names, and what becomes of each of its layers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.inspect import bare_recipe, bare_suitability, inspect
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Hardware, TensorSpec
from titrant.schema.recipe.level import LEVEL_NAMES

if TYPE_CHECKING:
    import torch

    from titrant.api.live.model_inputs import ModelInputs
    from titrant.compiler.predict.suitability import Suitability


def check_model(
    model: "torch.nn.Module | str | Path",
    level: str = "auto",
    *,
    args: Mapping[str, Any] | None = None,
    inputs: "ModelInputs | None" = None,
    input_specs: Sequence[Mapping[str, Any]] | None = None,
    hardware: Hardware | None = None,
) -> "Suitability":
    """Say whether a level suits a model on `hardware` (default: this machine), and what becomes of each layer.

    `model` is a live module, or the text that `titrant.inspect` takes: a recipe, an .onnx file, or `module:Name` with
    `args`. `inputs` of a live module are a tensor or array, a sequence of them in the order of the forward, or a
    mapping of its names to them, rows first; `input_specs` say the same as `model.inputs` has it: name, shape, dtype.
    From them FLOPs are counted: the module answers two cases of zeros in evaluation mode, without values unless its
    code reads them. Without them they stay None. The answer is that of the planner's own rules; without a recipe it
    assumes that there are rows to calibrate with. Raises RecipeError for a level, model or input that cannot be,
    StepError X683 when the model cannot answer them.
    """
    if level not in LEVEL_NAMES:
        raise RecipeError(Diagnostic("P080", f"there is no level {level}", help=f"one of {', '.join(LEVEL_NAMES)}"))
    if isinstance(model, (str, Path)):
        if inputs is not None:
            raise RecipeError(Diagnostic("P080", "inputs are of a live module", help="describe them: `input_specs`"))
        asked = inspect(str(model), level=level, args=args, input_specs=input_specs, hardware=hardware).suitability
        assert asked is not None  # a level was asked about
        return asked
    if args is not None:
        raise RecipeError(Diagnostic("P080", "a live module is made already", help="leave out `args`"))
    if inputs is not None and input_specs is not None:
        message = "`inputs` and `input_specs` say the same"
        raise RecipeError(Diagnostic("P080", message, help="leave one of them out"))
    return _live(model, level, inputs, input_specs, hardware)


def _live(
    module: "torch.nn.Module",
    level: str,
    inputs: Any,
    input_specs: Sequence[Mapping[str, Any]] | None,
    hardware: Hardware | None,
) -> "Suitability":
    import torch

    from titrant.compiler.bind.bind import bind
    from titrant.compiler.machine.detect import detect
    from titrant.runtime.backends.torch.call import refuse_empty
    from titrant.runtime.inspect.torch import describe_live
    from titrant.runtime.instruments.refused.inputs import refused_inputs
    from titrant.runtime.store.home import open_home

    if not isinstance(module, torch.nn.Module):
        message = f"a {type(module).__name__} is no model that a level could suit"
        raise RecipeError(Diagnostic("P080", message, help="give a torch module, a recipe, a file or module:Name"))
    refuse_empty(module, values=False)
    # Any factory stands for the module in the recipe: the rules look at the facts, not at its name.
    parsed = bare_recipe("titrant.recipes.models:TabularNet", level, None, input_specs)
    named = (parsed.recipe.model.inputs or ()) if input_specs is not None else ()
    specs = tuple(TensorSpec(spec.name, spec.shape, spec.dtype) for spec in named)
    specs = specs or (() if inputs is None else _specs(module, inputs))
    try:
        facts = describe_live(module, specs)
    except StepError as error:
        raise refused_inputs(error) from None
    return bare_suitability(bind(parsed), facts, level, hardware or detect(open_home().path))


def _specs(module: "torch.nn.Module", inputs: Any) -> tuple[TensorSpec, ...]:
    """Describe the tensors of a call, whose first dimension is the batch, by the names of the forward's arguments."""
    from titrant.runtime.backends.torch.arguments import signature_of

    several = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    arguments = [item.name for item in signature_of(module).inputs] if len(several) > 1 else []
    names = [*arguments, *(f"input_{place}" for place in range(len(arguments), len(several)))]
    given = inputs if isinstance(inputs, Mapping) else dict(zip(names, several, strict=False))
    for name, tensor in given.items():
        shaped = getattr(tensor, "shape", None) is not None and hasattr(tensor, "dtype")
        if not shaped or not len(tensor.shape):
            what = "a tensor without dimensions" if shaped else f"a {type(tensor).__name__}"
            advice = "give tensors or arrays whose first dimension is the batch"
            raise RecipeError(Diagnostic("X372", f"the input {name} is {what}", help=advice))
    return tuple(TensorSpec(name, ("batch", *tensor.shape[1:]), _dtype(tensor)) for name, tensor in given.items())


def _dtype(value: Any) -> str:
    """Return the type in which a model is given a tensor or array: arrays of doubles are handed over as float32."""
    import numpy as np

    double = isinstance(value, np.ndarray) and value.dtype == np.float64
    return "float32" if double else str(value.dtype).removeprefix("torch.")
