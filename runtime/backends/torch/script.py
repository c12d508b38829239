"""Trace or script a module into TorchScript, kept as `model.pt`: the same bytes every time, no paths of this machine.

The file's inputs, outputs and the names of its layers are in its own extra file titrant.json.
"""

import json
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.jit import _trace  # noqa: TID253 - its very subject
from torch.jit._trace import TracingCheckError  # noqa: TID253 - its very subject
from torch.jit.frontend import FrontendError  # noqa: TID253 - its very subject

from titrant.runtime.backends import recurrent
from titrant.runtime.backends.session import PiecewiseSession, check_parity, insisted_batch, measure_parity, worse
from titrant.runtime.backends.torch.arguments import Arguments, arguments_of, signature_of, takes_more
from titrant.runtime.backends.torch.call import Bordered, example_arrays, named, refuse_decisions
from titrant.runtime.backends.torch.determinism import fixed_settings, plain_attention, tensor_of
from titrant.runtime.backends.torch.executed import names_of_calls
from titrant.runtime.backends.torch.session import Border, open_session
from titrant.runtime.backends.torch.weights import not_finite
from titrant.runtime.catalog import Context
from titrant.runtime.user_code import describe, said_by
from titrant.runtime.values import Rows, TorchModel, TorchScriptModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError

# Of 16-bit numbers, which sums round by themselves: an encoder of two layers was .7 of one apart.
_ROUNDINGS = 4
# The archive inside is named after the file, so the name is part of the bytes.
NAME = "model.pt"
# Rows of the example that is traced: not one, which would hide what depends on the batch size.
TRACED_ROWS = 2
# torch numbers the classes of a process, so a second trace of one module is called otherwise than the first.
MANGLED = re.compile(rb"___torch_mangle_(\d+)")
# Stack traces of where each line was traced; loading works without them.
DEBUG = ".debug_pkl"
# Where the archive's version stands: in the second from version 10 on, which GELU, among others, asks for.
VERSIONS = ("version", ".data/version")
# The writer adds these itself.
WRITTEN = (*VERSIONS, ".data/serialization_id")


def save_script(script: torch.jit.ScriptModule, model: TorchModel | Border, folder: Path) -> TorchScriptModel:
    """Write `model.pt` into a folder; its extra file titrant.json has the inputs, outputs and names of the layers."""
    layers = names_of_calls(script.inlined_graph)
    said: dict[str, Any] = {"inputs": model.inputs, "outputs": model.outputs, "layers": layers}
    if model.recurrence is not None:
        said["recurrence"] = recurrent.written(model.recurrence)
    raw, path = folder / "raw.pt", folder / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers its .pt2 archives by now
        torch.jit.save(script, str(raw), _extra_files={"titrant.json": json.dumps(said, sort_keys=True)})
    normalize(raw, path)
    raw.unlink()
    return TorchScriptModel(path)


def normalize(source: Path, target: Path) -> None:
    """Copy a TorchScript file without debug records and with its classes numbered from 0.

    Class names stand in code as text and in pickles as newline-terminated globals, so a plain replacement is exact.
    The archive is named after `target`.
    """
    reader = torch._C.PyTorchFileReader(str(source))
    records = {name: reader.get_record(name) for name in reader.get_all_records() if not name.endswith(DEBUG)}
    code = [name.encode() for name in records] + [data for name, data in records.items() if _names_classes(name)]
    numbers = sorted({int(number) for text in code for number in MANGLED.findall(text)})
    renamed = {b"%d" % number: b"___torch_mangle_%d" % place for place, number in enumerate(numbers)}

    def rename(text: bytes) -> bytes:
        return MANGLED.sub(lambda match: renamed[match[1]], text)

    writer = torch._C.PyTorchFileWriter(str(target))
    writer.set_min_version(int(next(records[name] for name in VERSIONS if name in records)))
    for name in sorted(set(records) - set(WRITTEN)):
        data = rename(records[name]) if _names_classes(name) else records[name]
        writer.write_record(rename(name.encode()).decode(), data, len(data))
    writer.write_end_of_file()


def _names_classes(record: str) -> bool:
    return record.endswith((".py", ".pkl"))


def traced(
    module: torch.nn.Module, outputs: tuple[str, ...], arrays: Mapping[str, np.ndarray]
) -> torch.jit.ScriptModule:
    """Trace on example inputs, check the trace against the module, and freeze: weights become constants.

    Raises PreconditionError X206 when the forward takes decisions on tensor values and StepError X207 when it cannot be
    traced or the trace answers otherwise. Branches on shapes are taken as the example has them.
    """
    inputs = tuple(tensor_of(array, copy=True) for array in arrays.values())
    try:
        with plain_attention(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            answer = refuse_decisions(module.eval(), arrays)
            ready = flat(module, outputs, answer, tuple(arrays))
            with _readable(module):
                script = torch.jit.trace(ready, inputs, check_trace=True)  # type: ignore[no-untyped-call]
            frozen: torch.jit.ScriptModule = torch.jit.freeze(script)
            return frozen
    except (RuntimeError, TracingCheckError) as error:
        raise StepError(
            Diagnostic(
                "X207",
                f"the model cannot be traced: {describe(error)}",
                help="return tensors or tuples of tensors, and use no random numbers in eval mode",
                said=said_by(error),
            )
        ) from None


class Flat(torch.nn.Module):
    """A module that takes its inputs by place, and whose answer is cut down to its named outputs, in order."""

    def __init__(self, module: torch.nn.Module, outputs: tuple[str, ...], arguments: Arguments) -> None:
        super().__init__()
        self.module = module
        self.outputs = outputs
        self.arguments = arguments

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Answer a batch."""
        tensors = tuple(named(self.arguments.call(self.module, inputs), self.outputs).values())
        return tensors[0] if len(tensors) == 1 else tensors


def flat(module: torch.nn.Module, outputs: tuple[str, ...], answer: Any, inputs: tuple[str, ...]) -> torch.nn.Module:
    """Wrap a module in eval mode whose `answer` to some batch has another form than a trace can hold.

    So is one whose forward does not begin with `inputs`, in this order, has a name beyond ASCII, or arguments besides
    them: torch's exporter would pass their defaults by place, as inputs. Others are left bare, as the wrapper makes
    every name in the file longer.
    """
    arguments = arguments_of(module, inputs)
    fits = isinstance(answer, torch.Tensor) or (isinstance(answer, tuple) and len(answer) == len(outputs))
    bare = fits and arguments.in_order and _is_plain(module) and not takes_more(module, inputs)
    return module.eval() if bare else Flat(module, outputs, arguments).eval()


def _is_plain(module: torch.nn.Module) -> bool:
    """Whether the forward's names are ASCII: torch writes others into a TorchScript file, and cannot read them."""
    return all(item.name.isascii() for item in signature_of(module).inputs)


@contextmanager
def _readable(module: torch.nn.Module) -> Iterator[None]:
    """Let a trace name no value after the forward's variables where one of them goes beyond ASCII."""
    if _is_plain(module):
        yield
        return
    by_variable = _trace._create_interpreter_name_lookup_fn
    _trace._create_interpreter_name_lookup_fn = lambda _: lambda _: ""  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        _trace._create_interpreter_name_lookup_fn = by_variable


def export(
    model: TorchModel, example: Rows, tolerance: float, rows: int, context: Context
) -> tuple[TorchScriptModel, dict[str, Any]]:
    """Return the written file and its parity over `rows` example rows, of which the first is answered alone too.

    A forward that decides on values is scripted, so that both ways are in the file; any other is traced.
    """
    arrays = example_arrays(model, example, TRACED_ROWS)
    with fixed_settings(context.threads, context.seed):
        try:
            script = traced(model.module, model.outputs, arrays)
        except PreconditionError as refused:
            script, places = scripted(model.module, tuple(arrays), refused)
            model = replace(model, inputs=tuple(model.inputs[place] for place in places))
    exported = save_script(script, model, context.scratch)
    opened = open_session(exported, threads=context.threads)
    own = open_session(model, threads=context.threads)
    parity = compared(model, own, opened, example, min(rows, len(example)))
    return exported, check_parity(
        parity, max(tolerance, rounding(model.module)), "TorchScript", partial(not_finite, model.module)
    )


def scripted(
    module: torch.nn.Module, inputs: tuple[str, ...], refused: PreconditionError
) -> tuple[torch.jit.ScriptModule, tuple[int, ...]]:
    """Compile a module's own source into TorchScript and freeze it; also return which input stands at each place.

    Raises PreconditionError X284, with what `refused` says of the trace, for source that TorchScript does not read.
    """
    arguments = arguments_of(module, inputs)
    try:
        with plain_attention(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            if arguments.keywords:
                raise RuntimeError("inputs that stand behind a gap in the forward's arguments")
            frozen: torch.jit.ScriptModule = torch.jit.freeze(torch.jit.script(module.eval()))
            return frozen, arguments.positions
    except (FrontendError, RuntimeError, TypeError, ValueError, OSError, AttributeError) as error:
        because = refused.diagnostics[0].message
        reason = next((line.strip() for line in str(error).splitlines() if line.strip(" :^~")), type(error).__name__)
        raise PreconditionError(
            Diagnostic(
                "X284",
                f"{because}, and TorchScript does not read the forward's source: {describe(error)}",
                help="annotate the types of its arguments and lists, keep its source in a file, use no *args, **kwargs "
                "and libraries but torch in it; or choose with torch.where or a mask",
                said=reason,
            )
        ) from None


def rounding(module: torch.nn.Module) -> float:
    """Return how far two orders of the same sums may lie apart: a few roundings of 16-bit weights, 0 for wider ones."""
    floats = (tensor for tensor in module.parameters() if tensor.is_floating_point())
    kinds = {tensor.dtype for tensor in floats if tensor.element_size() == 2}
    return max((_ROUNDINGS * torch.finfo(kind).eps for kind in kinds), default=0.0)


def compared(model: Bordered, session: Any, opened: Any, example: Rows, rows: int) -> dict[str, Any]:
    """Return how far a file's answers to example rows, and to the first of them alone, are from a model's.

    The `session` of the model and that of the file, `opened`, are closed. One row alone shows a branch on the batch
    size that a trace fixed, where the model takes any batch.
    """
    arrays = example_arrays(model, example, rows)
    size = opened.fixed_batch if insisted_batch(recurrent.stateless(model.inputs, model.recurrence)) is None else None
    with (
        session as own,
        opened if size is None else PiecewiseSession(opened, size) as other,
    ):
        parity = measure_parity(own.run(arrays), other.run(arrays))
        free = all(isinstance(shape[0], str) for _, shape, _ in model.inputs if shape)
        if model.recurrence is None and free and rows > 1:
            alone = {name: array[:1] if array.ndim else array for name, array in arrays.items()}
            single = measure_parity(own.run(alone), other.run(alone))
            parity |= {key: worse(parity[key], single[key]) for key in ("absolute", "relative")}
            parity = {**{key: single[key] for key in single if key not in parity}, **parity}
    return parity


def answers(
    model: TorchModel | TorchScriptModel, arrays: Mapping[str, np.ndarray], threads: int
) -> dict[str, np.ndarray]:
    """Answer one batch in torch."""
    with open_session(model, threads=threads) as session:
        return session.run(arrays)


def save_torchscript(value: TorchScriptModel, folder: Path) -> None:
    """Copy the file into a folder under its fixed name."""
    if value.path != folder / NAME:
        shutil.copyfile(value.path, folder / NAME)
