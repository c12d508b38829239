"""Check whether a level suits a model: a live module, or one that `titrant inspect` takes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from titrant.schema.facts import Hardware, ModelFacts

if TYPE_CHECKING:
    import torch

    from titrant.compiler.suit import Suitability


def check_model(
    model: "torch.nn.Module | str",
    level: str = "auto",
    *,
    args: Mapping[str, Any] | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    hardware: Hardware | None = None,
) -> "Suitability":
    """Say whether a level suits a model on `hardware` (default: this machine), and what becomes of each layer.

    `model` is a live module, or the text that `titrant.inspect` takes: a recipe, an .onnx file, or `module:Name` with
    `args` and `inputs`. The answer is that of the planner's own rules; without a recipe it assumes that there are rows
    to calibrate with. Raises RecipeError for a level or model that is not there.
    """
    from titrant.schema.diagnostics import Diagnostic, RecipeError
    from titrant.verbs.inspect import LEVELS, inspect

    if level not in LEVELS:
        raise RecipeError(Diagnostic("P080", f"there is no level {level}", help=f"one of {', '.join(LEVELS)}"))
    if isinstance(model, str):
        found = inspect(model, level=level, args=args, inputs=inputs, hardware=hardware).suitability
        assert found is not None  # a level was asked about
        return found
    if args is not None or inputs is not None:
        raise RecipeError(Diagnostic("P080", "a live module is made already", help="leave out `args` and `inputs`"))
    return _live(model, level, hardware)


def _live(module: "torch.nn.Module", level: str, hardware: Hardware | None) -> "Suitability":
    from titrant.compiler.bind import bind
    from titrant.compiler.hardware import detect
    from titrant.runtime.execution.home import open_home
    from titrant.verbs.inspect import bare_recipe, bare_suitability

    # Any factory stands for the module in the recipe: the rules look at the facts, not at its name.
    parsed = bare_recipe("titrant.recipes.models:TabularNet", level, None, None)
    return bare_suitability(bind(parsed), live_facts(module), level, hardware or detect(open_home().path))


def live_facts(module: "torch.nn.Module") -> ModelFacts:
    """Describe a live module's layers and weights; what it takes and answers stays unknown."""
    from titrant.runtime.inspecting.layers import list_layers, model_bytes
    from titrant.runtime.instruments.counts import count_parameters
    from titrant.schema.canonical import plain, sha256

    counts, layers = count_parameters(module), list_layers(module, {})
    return ModelFacts(
        source="factory",
        digest=sha256(plain(layers)),
        parameters=counts.total,
        trainable=counts.trainable,
        weight_bytes=model_bytes(module),
        layers=layers,
        inputs=(),
        outputs=(),
    )
