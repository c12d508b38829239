"""The `model:` section of a starter recipe."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.schema.write import flow
from titrant.starter.known import Starter, refuse, trains

# What a free size of an ONNX input becomes until somebody knows better: pixels, places.
FREE_PIXELS, _FREE_PLACES = 224, 128


def model_lines(starter: Starter) -> Iterator[str]:
    """Yield the lines of the section."""
    yield "model:"
    if starter.onnx is not None:
        yield from _onnx(starter, starter.onnx)
        return
    yield f"  factory: {starter.model}"
    args = _args(starter)
    free = [one["name"] for one in starter.arguments or () if one["name"] not in args]
    if args:
        yield f"  args: {flow(args)}" + ("  # auto: from the data" if "auto" in args.values() else "")
    if free:
        yield f"  # it also takes {', '.join(free)}"
    if starter.weights is not None:
        yield f"  weights: {flow(starter.weights)}"
    elif not trains(starter):
        yield "  weights: included  # ? or the path of a .safetensors or .pt file; included: the factory loads its own"
    if starter.inputs is not None:
        yield f"  inputs: {flow(list(starter.inputs))}"


def _args(starter: Starter) -> dict[str, Any]:
    """Return the factory's arguments: those given, and `auto` for what the data says."""
    args = dict(starter.args)
    labelled = starter.data is not None and starter.data["label"] is not None
    for one in starter.arguments or ():
        name = one["name"]
        if name in args:
            continue
        if (name == "features" and one["required"] and starter.data) or (name == "classes" and labelled):
            args[name] = "auto"
        elif one["required"]:
            example = json.dumps({**args, name: 8})
            refuse(f"{starter.model} needs a value for `{name}`", f"give its value, such as --args '{example}'")
    return args


def _onnx(starter: Starter, facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"  onnx: {flow(starter.model)}"
    yield f"  # {facts['parameters']:,} parameters in {len(facts['layers']):,} nodes; {'; '.join(facts['notes'])}"
    outputs = "; ".join(f"{one['name']} {_shape(one['shape'])}" for one in facts["outputs"])
    yield f"  # it answers with {outputs}"
    yield "  inputs:"
    for one in facts["inputs"]:
        sizes, guessed = fixed_sizes(one["shape"])
        shape = ", ".join(map(str, sizes))
        line = f"    - {{name: {flow(one['name'])}, shape: [{shape}], dtype: {one['dtype']}}}"
        yield line + (f"  # ? the file leaves {guessed} free: write the size that you serve" if guessed else "")


def fixed_sizes(shape: Sequence[int | str]) -> tuple[list[int | str], str]:
    """Fill in what the file leaves free; returns the names of those sizes too."""
    sizes: list[int | str] = ["batch"]
    guessed = []
    for place, size in enumerate(shape[1:], 1):
        if isinstance(size, int):
            sizes.append(size)
            continue
        guessed.append(size)
        sizes.append((3 if place == 1 else FREE_PIXELS) if len(shape) == 4 else _FREE_PLACES)
    return sizes, ", ".join(guessed)


def _shape(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"
