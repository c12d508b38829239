"""Say whether a level suits a model that somebody holds, or names, and what becomes of each of its layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from titrant.api.inspect import bare_recipe, bare_suitability, inspect
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import Hardware, TensorSpec
from titrant.schema.recipe.recipe import LEVEL_NAMES

if TYPE_CHECKING:
    import torch

    from titrant.compiler.predict.suitability import Suitability


def check_model(
    model: "torch.nn.Module | str",
    level: str = "auto",
    *,
    args: Mapping[str, Any] | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    example: "Sequence[torch.Tensor] | None" = None,
    hardware: Hardware | None = None,
) -> "Suitability":
    """Say whether a level suits a model on `hardware` (default: this machine), and what becomes of each layer.

    `model` is a live module, or the text that `titrant.inspect` takes: a recipe, an .onnx file, or `module:Name` with
    `args`. `inputs` are as `model.inputs` has them: name, shape, dtype; for a live module an `example`, the tensors of
    one call with the batch first, says the same. From them FLOPs are counted: the module answers two cases of zeros in
    evaluation mode, without values unless its code reads them. Without them they stay None. The answer is that of the
    planner's own rules; without a recipe it assumes that there are rows to calibrate with.
    Raises RecipeError for a level, model or input that cannot be, StepError when the model cannot answer the inputs.
    """
    if level not in LEVEL_NAMES:
        raise RecipeError(Diagnostic("P080", f"there is no level {level}", help=f"one of {', '.join(LEVEL_NAMES)}"))
    if isinstance(model, str):
        if example is not None:
            raise RecipeError(Diagnostic("P080", "an example is of a live module", help="name the `inputs`"))
        suitability = inspect(model, level=level, args=args, inputs=inputs, hardware=hardware).suitability
        assert suitability is not None  # a level was asked about
        return suitability
    if args is not None:
        raise RecipeError(Diagnostic("P080", "a live module is made already", help="leave out `args`"))
    if inputs is not None and example is not None:
        raise RecipeError(Diagnostic("P080", "an example and `inputs` say the same", help="leave one of them out"))
    return _live(model, level, inputs, example, hardware)


def _live(
    module: "torch.nn.Module",
    level: str,
    inputs: Sequence[Mapping[str, Any]] | None,
    example: "Sequence[torch.Tensor] | None",
    hardware: Hardware | None,
) -> "Suitability":
    from titrant.compiler.bind.bind import bind
    from titrant.compiler.machine.detect import detect
    from titrant.runtime.inspect.torch import describe_live
    from titrant.runtime.store.home import open_home

    # Any factory stands for the module in the recipe: the rules look at the facts, not at its name.
    parsed = bare_recipe("titrant.recipes.models:TabularNet", level, None, inputs)
    named = (parsed.recipe.model.inputs or ()) if inputs is not None else ()
    specs = tuple(TensorSpec(spec.name, spec.shape, spec.dtype) for spec in named)
    facts = describe_live(module, specs or _specs(module, example))
    return bare_suitability(bind(parsed), facts, level, hardware or detect(open_home().path))


def _specs(module: "torch.nn.Module", example: "Sequence[torch.Tensor] | None") -> tuple[TensorSpec, ...]:
    """Describe the tensors of a call, whose first dimension is the batch, by the names of the forward's arguments."""
    import torch

    from titrant.runtime.backends.torch.arguments import signature_of

    if isinstance(example, torch.Tensor):
        raise RecipeError(Diagnostic("P080", "an example is the tensors of a call", help="write `example=[tensor]`"))
    given = tuple(example or ())
    for place, tensor in enumerate(given):
        if not isinstance(tensor, torch.Tensor) or not tensor.ndim:
            what = "a tensor without dimensions" if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            problem = f"place {place} of the example holds {what}"
            raise RecipeError(Diagnostic("P080", problem, help="give tensors whose first dimension is the batch"))
    arguments = [item.name for item in signature_of(module).inputs] if len(given) > 1 else []
    names = [*arguments, *(f"input_{place}" for place in range(len(arguments), len(given)))]
    return tuple(
        TensorSpec(name, ("batch", *tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in zip(names, given, strict=False)
    )
