"""Profile a live module or a file layer by layer: time, memory, parameters, FLOPs, and in which precision each runs."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends import backend
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError

if TYPE_CHECKING:
    import torch

    from titrant.api.live.model_inputs import ModelInputs
    from titrant.runtime.instruments.layers.figures import LayerProfile
    from titrant.runtime.values import Rows


def layers(
    model: "torch.nn.Module | str | Path",
    inputs: "ModelInputs",
    *,
    engine: str | None = None,
    batch: int | None = None,
    threads: int = 1,
    device: "torch.device | str | None" = None,
    seconds: float = 1.0,
) -> "LayerProfile":
    """Time every layer of a model on one batch, and count its parameters, FLOPs and bytes.

    `model` is a live module, which stays as it is and is looked at in evaluation mode, or the path of an .onnx,
    TorchScript or torch.export file, or an OpenVINO IR (.xml). `inputs` are arrays or tensors by name, or one, or a
    sequence of them in the order of the forward's arguments; the first dimension is the batch. `batch` repeats or cuts
    them to that many rows. `engine` runs it, by default torch a module and a file the engine it is made for; for
    another engine it is converted first, and its layers are still called as the model calls them. `device` is where a
    module lies, or "cpu". Raises RecipeError X681 for what is no model here or cannot be taken apart, X671 for numbers,
    X675 for a module without weights yet, X702 for a file that is not there, X372 for inputs that do not show what it
    takes, StepError X680 for an engine that tells nothing of its layers, X220 for a device that is not there, X683 for
    inputs that it cannot answer, X674 for a forward that forks, and what the conversion raises.
    """
    from titrant.runtime.instruments.layers.count import count_parts, named_layers
    from titrant.runtime.instruments.layers.profile import profile_layers
    from titrant.runtime.instruments.refused.inputs import refused_inputs
    from titrant.runtime.instruments.refused.numbers import check_above, check_whole

    check_whole("threads", threads, 1)
    check_above("seconds", seconds, 0, "seconds")
    if batch is not None:
        check_whole("batch", batch, 1)
    with tempfile.TemporaryDirectory(prefix="titrant-layers-") as folder:
        original, rows = _opened(model, inputs, batch, Path(folder))
        chosen = engine or backend.engines_of(original.kind)[0]
        value = _converted(original, rows, chosen, Path(folder))
        kinds = {} if value is original else named_layers(count_parts(original, rows.inputs))
        try:
            return profile_layers(
                value,
                rows.inputs,
                engine=chosen,
                title=Path(model).name if isinstance(model, (str, os.PathLike)) else type(model).__name__,
                threads=threads,
                device=_device_of(model) if device is None else str(device),
                layers=tuple(kinds),
                kinds=kinds,
                seconds=seconds,
            )
        except StepError as error:
            said = error.diagnostics[0]
            if said.code != "X220":
                raise refused_inputs(error) from None
            raise StepError(replace(said, help="leave the device out, or give another")) from None


def _opened(model: Any, inputs: Any, batch: int | None, scratch: Path) -> "tuple[Any, Rows]":
    """Return a model as engines take it, and the rows that it is run on."""
    import torch

    from titrant.api.export import example_rows

    if isinstance(model, (str, os.PathLike)):
        return _opened_file(Path(model), inputs, batch, scratch)
    if not isinstance(model, torch.nn.Module):
        message = f"a {type(model).__name__} is no model whose layers can be timed"
        advice = "give a torch.nn.Module, or an .onnx, .pt2, TorchScript or .xml file"
        raise RecipeError(Diagnostic("X681", message, help=advice))
    _check_module(model)
    rows = _resized(example_rows(model, inputs), batch)
    from titrant.api.live.values import live_model

    return live_model(model, rows.inputs), rows


def _check_module(module: "torch.nn.Module") -> None:
    """Refuse what has no weights yet, RecipeError X675, or runs as one layer, X681."""
    import torch

    from titrant.runtime.backends.torch.call import refuse_empty

    refuse_empty(module)
    if isinstance(module, torch.jit.ScriptModule):
        message = "a scripted module runs as one: torch calls no hooks inside it"
        advice = "give the module that was scripted, or its layers in another engine: engine='onnxruntime'"
    elif hasattr(module, "_orig_mod"):
        message = "a compiled module runs as one: what torch.compile made of it has no layers"
        advice = "give the module itself, as it was before torch.compile: model._orig_mod"
    else:
        return
    raise RecipeError(Diagnostic("X681", message, help=advice))


def _opened_file(path: Path, inputs: Any, batch: int | None, scratch: Path) -> "tuple[Any, Rows]":
    """Return a file as its engine takes it; RecipeError X232 for one that holds no model."""
    from titrant.api.live.files import file_model
    from titrant.api.live.values import live_rows
    from titrant.runtime.backends.session import open_session

    shown = live_rows("inputs", inputs).inputs if isinstance(inputs, Mapping) else None
    value, _ = file_model("model", path, shown, scratch / "file")
    with open_session(backend.engines_of(value.kind)[0], value, threads=1) as session:
        names = session.input_names
    named = inputs if isinstance(inputs, Mapping) else _by_place(names, inputs)
    return value, _resized(live_rows("inputs", named), batch)


def _by_place(names: tuple[str, ...], inputs: Any) -> dict[str, Any]:
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if len(given) != len(names):
        message = f"the file takes {', '.join(names)}, and {len(given)} inputs are given"
        raise RecipeError(Diagnostic("X372", message, help='give them by name: {"x": array}'))
    return dict(zip(names, given, strict=True))


def _resized(rows: "Rows", batch: int | None) -> "Rows":
    """Return as many rows as a batch has, beginning anew where there are fewer; RecipeError X372 for none."""
    import numpy as np

    if not len(rows):
        raise RecipeError(Diagnostic("X372", "the inputs have no rows", help="give one row or more"))
    return rows if batch is None else rows.some(np.arange(batch) % len(rows))


def _converted(value: Any, rows: "Rows", engine: str, scratch: Path) -> Any:
    """Return a model in a form that an engine runs: itself, or what the shortest conversion makes of it.

    RecipeError X681 for an engine that is not there, or that nothing here converts it for.
    """
    from titrant.api.apply import apply
    from titrant.runtime import catalog

    if engine not in backend.names():
        advice = f"one of {', '.join(backend.names())}"
        raise RecipeError(Diagnostic("X681", f"there is no engine {engine}", help=advice))
    ways: list[tuple[tuple[str, str], ...]] = [
        way for kind in backend.get(engine).costs if (way := backend.conversion(value.kind, kind)) is not None
    ]
    if not ways:
        message = f"nothing here makes a file for {engine} of {backend.kinds()[value.kind].title}"
        raise RecipeError(
            Diagnostic("X681", message, help=f"leave `engine` out, or name one of {_engines(value.kind)}")
        )
    for place, (operator, _) in enumerate(sorted(ways, key=len)[0]):
        folder = scratch / f"{place}"
        folder.mkdir()
        given = {"model": value} | ({"example": rows} if "example" in catalog.get(operator).inputs else {})
        value = apply(operator, given, scratch=folder).outputs["model"]
    return value


def _engines(kind: str) -> str:
    return ", ".join(
        name
        for name in backend.names()
        if any(backend.conversion(kind, other) is not None for other in backend.get(name).costs)
    )


def _device_of(model: Any) -> str:
    """Return the device that a module lies on, "cpu" for a file."""
    parameter = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    return "cpu" if parameter is None or parameter.device.type == "meta" else str(parameter.device)
