"""Export a model to an ONNX file and compare the file's answers with the module's."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, modelled, speed_of
from titrant.runtime.cost.sizes import missing, onnx_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import torch

    from titrant.runtime.backends.torch.program.traceable import Traceable
    from titrant.runtime.values import ExportedModel, OnnxModel, Rows, TorchModel, TorchScriptModel

# The operator sets that torch's tracing exporter writes; the lowest in which quantization has a scale a channel.
LOWEST_OPSET, HIGHEST_OPSET = 13, 20
# Where the search for the lowest operator set that can express a model begins, and where it does for one with layer
# normalization: before, that is nine nodes, which int8 would round one by one.
DEFAULT_OPSET, NORMALIZING_OPSET = 14, 17
OTHERWISE = "use another operation in the model, or format torchscript"
OF_FILE = "write the file from a trace in eval mode where it is scripted, or keep it in torch: target.engine torch"

# What torch's exporter, and a forward that it traces, may raise beside the exporter's own errors; it asserts as well.
_FAILURES = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, LookupError, ArithmeticError)

# Tracing, checking and opening a graph: at all, and for each layer; writing, folding and comparing the weights.
_SECONDS, _LAYER_SECONDS = 0.1, 0.004
_WRITTEN_BYTES_PER_SECOND = 40e6
_TRACER_BYTES = 25 << 20
# Batches of activations that are held while the example rows are traced and answered twice.
_HELD = 2.6


class ExportOnnxParams(Params):
    """The operator set, and how far answers may move."""

    opset: int | None = Field(
        None,
        ge=1,
        description="ONNX operator set; none: the lowest from 14 that holds the model, a layer norm as one node",
    )
    tolerance: float = Field(
        1e-4, gt=0, description="largest difference to the torch answers, relative to the largest answer"
    )
    rows: int = Field(32, ge=1, description="example rows that are compared, at most")


def requires(params: ExportOnnxParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch to export, onnx to check, onnxruntime to compare, and an operator set that can be written."""
    unmet = missing(hardware, "torch", "onnx", "onnxruntime")
    if params.opset is None or LOWEST_OPSET <= params.opset <= HIGHEST_OPSET:
        return unmet
    remedy = f"set it to a number from {LOWEST_OPSET} to {HIGHEST_OPSET}, or leave it out"
    return (*unmet, Unmet(f"ONNX opset {params.opset} is not one that torch writes", remedy))


def predict(
    params: ExportOnnxParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights and add what a graph spends on names."""
    if model is None:
        return Prediction()
    speed = speed_of(hardware, work.threads)
    rows = min(params.rows, work.rows.get("example", params.rows))
    answers = forward_seconds(model, speed, run_cost("torch", "torch"), rows) + forward_seconds(
        model, speed, run_cost("onnxruntime", "onnx"), rows
    )
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _WRITTEN_BYTES_PER_SECOND + answers
    size = onnx_bytes(model)
    peak = 5 * size + int(_HELD * (model.activation_bytes or 0) * rows) + _TRACER_BYTES
    return modelled(hardware, seconds, peak, size)


@operator(
    "export.onnx",
    version=6,
    family="export",
    params=ExportOnnxParams,
    inputs={"model": ("torch", "torchscript", "exported"), "example": "rows"},
    outputs={"model": "onnx", "parity": "value"},
    requires=requires,
    predict=predict,
    loads=("torch.onnx", "onnx", "onnxruntime", "titrant.runtime.backends.torch.script"),
    costless=("tolerance",),
    libraries=("torch", "onnx", "onnxruntime"),
    user_code=True,
)
def export_onnx(params: ExportOnnxParams, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Trace the model into an ONNX file with a free batch size, and compare the file's answers with the module's.

    A TorchScript file is converted as it is, so that branches of a scripted one stay branches; a torch.export program
    is traced. Layers keep the names that they have in the file.

    Helps when: the model shall run without Python, or in an engine that is faster than eager torch.
    Inputs:     model - a module without branches on tensor values, a TorchScript or a torch.export file; example - rows
                whose arrays it takes by name
    Outputs:    model - one file, above 2 GB with its weights in another beside it, named inputs and outputs, batch
                normalization folded, the same bytes every time; parity - largest absolute and relative difference over
                the example rows
    Fails:      StepError when the operator set is not one that can be written (names the range), when an operation has
                no ONNX form, or when answers differ beyond `tolerance`;
                PreconditionError when the forward takes decisions on tensor values, and for a program with branches
    Cost:       one traced forward pass and one forward pass in either engine; peak memory is four times the weights
    """
    from titrant.runtime.operators.model.fold import with_plain_weights

    if model.kind == "torch":
        exported, opset, parity = export(with_plain_weights(model), example, params, context)
    else:
        exported, opset, parity = export_file(model, example, params, context)
    context.measure("opset", opset)
    context.measure("parity_relative", parity["relative"])
    return {"model": exported, "parity": parity}


def export(
    model: "TorchModel", example: "Rows", params: ExportOnnxParams, context: Context
) -> "tuple[OnnxModel, int, dict[str, Any]]":
    """Return the written file, its operator set, and its parity over `params.rows` example rows."""
    from titrant.runtime.backends.onnxruntime import session as onnxruntime_session
    from titrant.runtime.backends.onnxruntime.compact.shape_values import fold_sizes
    from titrant.runtime.backends.onnxruntime.graph import note_recurrence, read, write
    from titrant.runtime.backends.session import check_parity, measure_parity
    from titrant.runtime.backends.torch.call import example_arrays, refuse_decisions
    from titrant.runtime.backends.torch.determinism import fixed_settings, plain_attention, tensor_of
    from titrant.runtime.backends.torch.program.weight_names import unwrap_names
    from titrant.runtime.backends.torch.script import TRACED_ROWS, Flat, answers, flat, rounding
    from titrant.runtime.backends.torch.weights import not_finite

    _check_opset(params.opset)
    arrays = example_arrays(model, example, TRACED_ROWS)
    raw = context.scratch / "raw" / "raw.onnx"  # above 2 GB torch puts every weight into a file beside it
    raw.parent.mkdir()
    with fixed_settings(context.threads, context.seed), plain_attention():
        with _watched() as normalizes:
            answer = refuse_decisions(model.module.eval(), arrays)
        lowest = NORMALIZING_OPSET if normalizes() else DEFAULT_OPSET
        ready = replace(model, module=flat(model.module, model.outputs, answer, tuple(arrays)))
        opsets = range(lowest, HIGHEST_OPSET + 1) if params.opset is None else range(params.opset, params.opset + 1)
        opset = _write(ready, tuple(tensor_of(array, copy=True) for array in arrays.values()), opsets, raw)
    graph = read(raw)
    fold_sizes(graph)
    if isinstance(ready.module, Flat):
        unwrap_names(graph)
    if model.recurrence is not None:
        note_recurrence(graph, model.recurrence)
    exported = write(graph, context.scratch / "model.onnx")
    shutil.rmtree(raw.parent)
    compared = example_arrays(model, example, min(params.rows, len(example)))
    with onnxruntime_session.open_session(exported, threads=context.threads) as session:
        given = session.run(compared)
    parity = measure_parity(answers(model, compared, context.threads), given)
    tolerance = max(params.tolerance, rounding(model.module))
    return exported, opset, check_parity(parity, tolerance, "ONNX", partial(not_finite, model.module))


def export_file(
    model: "TorchScriptModel | ExportedModel", example: "Rows", params: ExportOnnxParams, context: Context
) -> "tuple[OnnxModel, int, dict[str, Any]]":
    """Return what `export` does, of a file of torch's: a script's branches stay branches, a program is traced."""
    from titrant.runtime.backends.onnxruntime import session as onnxruntime_session
    from titrant.runtime.backends.onnxruntime.compact.shape_values import fold_sizes
    from titrant.runtime.backends.onnxruntime.graph import note_recurrence, read, write
    from titrant.runtime.backends.session import check_parity
    from titrant.runtime.backends.torch import BACKEND
    from titrant.runtime.backends.torch.call import example_arrays
    from titrant.runtime.backends.torch.determinism import fixed_settings, tensor_of
    from titrant.runtime.backends.torch.program.scope_names import name_scopes
    from titrant.runtime.backends.torch.program.traceable import traceable
    from titrant.runtime.backends.torch.program.weight_names import name_weights
    from titrant.runtime.backends.torch.script import TRACED_ROWS, compared

    ready = traceable(model)
    arrays = example_arrays(ready, example, TRACED_ROWS)
    raw = context.scratch / "raw" / "raw.onnx"
    raw.parent.mkdir()
    lowest = NORMALIZING_OPSET if ready.normalizes else DEFAULT_OPSET
    opsets = range(lowest, HIGHEST_OPSET + 1) if params.opset is None else range(params.opset, params.opset + 1)
    with fixed_settings(context.threads, context.seed):
        opset = _write(ready, tuple(tensor_of(array, copy=True) for array in arrays.values()), opsets, raw, OF_FILE)
    graph = read(raw)
    fold_sizes(graph)
    name_weights(graph, ready.tensors)
    name_scopes(graph, ready.tensors)
    if ready.recurrence is not None:
        note_recurrence(graph, ready.recurrence)
    exported = write(graph, context.scratch / "model.onnx")
    shutil.rmtree(raw.parent)
    own = BACKEND.open(model, threads=context.threads)
    opened = onnxruntime_session.open_session(exported, threads=context.threads)
    parity = compared(ready, own, opened, example, min(params.rows, len(example)))
    return exported, opset, check_parity(parity, params.tolerance, "ONNX")


def _check_opset(opset: int | None) -> None:
    import torch

    if opset is not None and not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        raise StepError(
            Diagnostic(
                "X219",
                f"opset {opset} cannot be written: torch {torch.__version__} writes {LOWEST_OPSET} to {HIGHEST_OPSET}",
                help=f"set opset to a number from {LOWEST_OPSET} to {HIGHEST_OPSET}, or leave it out",
            )
        )


@contextmanager
def _watched() -> "Iterator[Callable[[], bool]]":
    """Watch a forward pass; what is yielded tells whether it normalized layers."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        normalizes = False

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.normalizes = self.normalizes or func in (torch.nn.functional.layer_norm, torch.layer_norm)
            return func(*args, **(kwargs or {}))

    with Watch() as watch:
        yield lambda: watch.normalizes


def _write(
    model: "TorchModel | Traceable",
    inputs: "tuple[torch.Tensor, ...]",
    opsets: range,
    path: Path,
    advice: str = OTHERWISE,
) -> int:
    """Write in the lowest of some operator sets that has every operation; return which."""
    import torch

    for opset in opsets:
        try:
            _export(model, inputs, opset, path)
        except torch.onnx.errors.UnsupportedOperatorError as error:
            unsupported = error
        except (torch.onnx.errors.OnnxExporterError, *_FAILURES) as error:
            raise _refused(error, *_cause(model.module, advice)) from error
        else:
            return opset
    later = opsets.stop <= HIGHEST_OPSET
    raise _refused(unsupported, f"use export opset {HIGHEST_OPSET}, or another operation" if later else advice)


def _export(model: "TorchModel | Traceable", inputs: "tuple[torch.Tensor, ...]", opset: int, path: Path) -> None:
    import torch

    names = [name for name, _, _ in model.inputs]
    if both := sorted({*names} & {*model.outputs}):
        message = f"an input and an output of the model are both named {both[0]}, and ONNX has one value of a name"
        raise StepError(Diagnostic("X207", message, help="let the forward answer with another name"))
    feeds = {} if model.recurrence is None else model.recurrence.feeds
    places = {
        name: [place for place, size in enumerate(shape) if isinstance(size, str)] for name, shape, _ in model.inputs
    }
    free = any(0 in places[name] for name in names if name not in feeds.values())
    places |= {name: places[feeds[name]] if name in feeds else [0] * free for name in model.outputs}
    axes = {name: dict.fromkeys(axis, "batch") for name, axis in places.items() if axis}
    with quiet_export(), torch.no_grad():
        torch.onnx.export(
            model.module,
            inputs,
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=names,
            output_names=list(model.outputs),
            dynamic_axes=axes,
            verbose=False,
        )


def _cause(module: Any, advice: str) -> tuple[str, str]:
    """Return what help there is where torch cannot write a module, and what it cannot write if that is known."""
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = (
        name for name, part in module.named_modules() if isinstance(part, _BatchNorm) and part.running_mean is None
    )
    if name := next(norms, ""):
        return (
            "train it with track_running_stats=True: then a case is answered the same in any company",
            f"{name} normalizes by the statistics of the batch that it answers, for which ONNX has no operation",
        )
    return advice, ""


def _refused(error: BaseException, advice: str, cause: str = "") -> StepError:
    import torch

    from titrant.runtime.user_code import describe, said_by

    # What follows asks for contributions to torch.
    reason, said = cause or first_line(error).partition(". Please feel free")[0], ""
    if not cause and not isinstance(error, torch.onnx.errors.OnnxExporterError):
        # The forward ran on rows, and its own code, or the tracer, may name values of them.
        reason, said = describe(error), said_by(error)
    return StepError(Diagnostic("X207", f"the model cannot be exported to ONNX: {reason}", help=advice, said=said))


@contextmanager
def quiet_export() -> Iterator[None]:
    """Silence warnings, log lines and standard output.

    The exporter warns that it is not the newest one (which takes 3 to 21 s), and for an operation that an operator set
    lacks it prints the whole graph from C++, past sys.stdout.
    """
    import logging

    level = logging.root.manager.disable
    logging.disable(max(level, logging.WARNING))
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
        logging.disable(level)
