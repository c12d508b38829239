"""Export a module by torch.export and keep it as `model.pt2`: the same bytes every time, no paths and no rows.

The file's inputs and outputs are in its own extra file titrant.json, as in a TorchScript file.
"""

import copy
import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends import recurrent
from titrant.runtime.backends.session import Spec, check_parity
from titrant.runtime.backends.torch.call import call, example_arrays
from titrant.runtime.backends.torch.determinism import fixed_settings, plain_attention, tensor_of
from titrant.runtime.backends.torch.program.load import open_exported, quiet
from titrant.runtime.backends.torch.script import TRACED_ROWS, compared, flat, rounding
from titrant.runtime.backends.torch.session import open_session
from titrant.runtime.backends.torch.weights import not_finite
from titrant.runtime.catalog import Context
from titrant.runtime.user_code import describe, said_by
from titrant.runtime.values import ExportedModel, Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError

# The archive inside is named after the file, so the name is part of the bytes.
NAME = "model.pt2"
# What torch writes of every node and a reader does not need: where in the source it was, on this machine.
_SOURCES = ("stack_trace", "torch_fn", "source_fn_stack", "from_node")
_PROGRAM = "models/model.json"
# The writer adds these itself.
_WRITTEN = (".data/version", ".data/serialization_id", "version", "byteorder")


def exported_program(
    module: torch.nn.Module,
    outputs: tuple[str, ...],
    arrays: Mapping[str, np.ndarray],
    specs: tuple[Spec, ...],
    *,
    device: str = "cpu",
) -> tuple[torch.export.ExportedProgram, tuple[Spec, ...]]:
    """Export a module in eval mode on example inputs; return the program and its inputs as it takes them.

    Free dimensions stay free. A model that works with one batch size only is exported for a batch of one row, and its
    inputs say so. Raises PreconditionError X280 where torch.export cannot follow the forward: it decides on values.
    """
    with plain_attention(), torch.no_grad(), quiet():
        answer = call(module.eval(), arrays, device)
        ready = copy.deepcopy(flat(module, outputs, answer, tuple(arrays))).requires_grad_(False)
        program = _exported(ready, arrays, specs, device)
        if _is_free(program, specs):
            return program, specs
        single = {name: array[:1] if array.ndim else array for name, array in arrays.items()}
        fixed = tuple((name, (1, *shape[1:]) if shape else shape, dtype) for name, shape, dtype in specs)
        return _exported(ready, single, fixed, device), fixed


def _exported(
    module: torch.nn.Module, arrays: Mapping[str, np.ndarray], specs: tuple[Spec, ...], device: str
) -> torch.export.ExportedProgram:
    inputs = tuple(tensor_of(array, copy=True).to(device) for array in arrays.values())
    shapes = [
        {place: torch.export.Dim.AUTO for place, size in enumerate(shape) if isinstance(size, str)}
        for _, shape, _ in specs
    ]
    several = any(item.kind is item.VAR_POSITIONAL for item in _parameters(module))
    try:
        return torch.export.export(module, inputs, dynamic_shapes=(tuple(shapes),) if several else tuple(shapes))
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise _refused(error) from None


def _parameters(module: torch.nn.Module) -> list[Any]:
    import inspect

    return list(inspect.signature(module.forward).parameters.values())


def _refused(error: Exception) -> PreconditionError:
    from torch._dynamo.exc import UserError
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    decides = isinstance(error, UserError | GuardOnDataDependentSymNode)
    why = "its forward decides on values that it computes" if decides else describe(error)
    advice = (
        "choose with torch.where or torch.cond, or use export torchscript, whose scripted form keeps both ways"
        if decides
        else "use export onnx or torchscript, or write the forward in operations that torch.export follows"
    )
    message = f"torch.export cannot follow the model: {why}"
    return PreconditionError(Diagnostic("X280", message, help=advice, said=said_by(error)))


def _is_free(program: torch.export.ExportedProgram, specs: tuple[Spec, ...]) -> bool:
    """Whether every batch that is free in the model is free in the program: torch may have fixed it silently."""
    from torch.fx.experimental.symbolic_shapes import is_concrete_int

    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    taken = [nodes[name].meta["val"] for name in program.graph_signature.user_inputs if isinstance(name, str)]
    return all(
        not is_concrete_int(tensor.shape[0])
        for tensor, (_, shape, _) in zip(taken, specs, strict=True)
        if shape and isinstance(shape[0], str)
    )


def save_program(program: torch.export.ExportedProgram, border: Mapping[str, Any], folder: Path) -> ExportedModel:
    """Write `model.pt2` into a folder with `border` (inputs, outputs, recurrence) in its extra file titrant.json."""
    program.example_inputs = None  # rows of somebody's data
    raw = folder / "raw.pt2"
    with quiet():
        torch.export.save(program, raw, extra_files={"titrant.json": json.dumps(border, sort_keys=True)})
    normalize(raw, folder / NAME)
    raw.unlink()
    return ExportedModel(folder / NAME)


def border_of(model: TorchModel, specs: tuple[Spec, ...]) -> dict[str, Any]:
    """Say what a model's file takes and gives, for its titrant.json."""
    said: dict[str, Any] = {"inputs": specs, "outputs": model.outputs}
    return said if model.recurrence is None else {**said, "recurrence": recurrent.written(model.recurrence)}


def normalize(source: Path, target: Path) -> None:
    """Copy a torch.export file without what its nodes say of the source they come from; named after `target`."""
    records = read_records(source)
    records[_PROGRAM] = _without_sources(records[_PROGRAM])
    write_records(records, target)


def read_records(source: Path) -> dict[str, bytes]:
    """Return the records of an archive of torch's, without those that its writer adds; RuntimeError if it is none."""
    reader = torch._C.PyTorchFileReader(str(source))
    return {name: reader.get_record(name) for name in reader.get_all_records() if name not in _WRITTEN}


def write_records(records: Mapping[str, bytes], target: Path) -> None:
    """Write an archive of torch's; its bytes follow from the records and the file's name."""
    writer = torch._C.PyTorchFileWriter(str(target))
    for name in sorted(records):
        writer.write_record(name, records[name], len(records[name]))
    writer.write_end_of_file()


def _without_sources(program: bytes) -> bytes:
    def cleared(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: cleared(item) for key, item in value.items()}
            if isinstance(said := kept.get("metadata"), dict):
                kept["metadata"] = {key: item for key, item in said.items() if key not in _SOURCES}
            return kept
        return [cleared(item) for item in value] if isinstance(value, list) else value

    return json.dumps(cleared(json.loads(program)), separators=(",", ":")).encode()


def export(
    model: TorchModel, example: Rows, tolerance: float, rows: int, context: Context
) -> tuple[ExportedModel, dict[str, Any]]:
    """Return the written file and its parity over `rows` example rows, of which one is answered alone too."""
    with fixed_settings(context.threads, context.seed):
        arrays = example_arrays(model, example, TRACED_ROWS)
        program, specs = exported_program(model.module, model.outputs, arrays, model.inputs)
    made = save_program(program, border_of(model, specs), context.scratch)
    opened = open_exported(made, threads=context.threads)
    own = open_session(model, threads=context.threads)
    parity = compared(model, own, opened, example, min(rows, len(example)))
    return made, check_parity(
        parity, max(tolerance, rounding(model.module)), "torch.export", partial(not_finite, model.module)
    )


def save_exported(value: ExportedModel, folder: Path) -> None:
    """Copy the file into a folder under its fixed name."""
    if value.path != folder / NAME:
        shutil.copyfile(value.path, folder / NAME)
