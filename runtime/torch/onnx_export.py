"""Export a module to an ONNX file and compare the two."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.catalog import Context
from titrant.runtime.engines import onnxruntime_engine
from titrant.runtime.onnx.graph_file import read, write
from titrant.runtime.operators.export_onnx import HIGHEST_OPSET, LOWEST_OPSET, ExportOnnxParams
from titrant.runtime.torch.decisions import refuse_decisions
from titrant.runtime.torch.examples import example_arrays
from titrant.runtime.torch.flat import flat
from titrant.runtime.torch.layout import tensor_of
from titrant.runtime.torch.parity import check, compare
from titrant.runtime.torch.plain_attention import plain_attention
from titrant.runtime.torch.quiet_export import quiet_export
from titrant.runtime.torch.script_export import TRACED_ROWS, answers
from titrant.runtime.torch.settled import settled
from titrant.runtime.values import OnnxModel, Rows, TorchModel
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.first_line import first_line

# Where the search for the lowest operator set that can express a model begins.
DEFAULT_OPSET = 17
OTHERWISE = "use another operation in the model, or format torchscript"


def export(
    model: TorchModel, example: Rows, params: ExportOnnxParams, context: Context
) -> tuple[OnnxModel, int, dict[str, Any]]:
    """Return the written file, its operator set, and its parity over `params.rows` example rows."""
    _check_opset(params.opset)
    arrays = example_arrays(model, example, TRACED_ROWS)
    raw = context.scratch / "raw.onnx"
    with settled(context.threads, context.seed), plain_attention():
        answer = refuse_decisions(model.module.eval(), arrays.values())
        ready = replace(model, module=flat(model.module, model.outputs, answer))
        opset = _write(ready, tuple(tensor_of(array) for array in arrays.values()), params.opset, raw)
    exported = write(read(raw), context.scratch / "model.onnx")
    raw.unlink()
    compared = example_arrays(model, example, min(params.rows, len(example)))
    with onnxruntime_engine.open_session(exported, threads=context.threads) as session:
        given = session.run(compared)
    return exported, opset, check(compare(answers(model, compared, context.threads), given), params.tolerance, "ONNX")


def _write(model: TorchModel, inputs: tuple[torch.Tensor, ...], asked: int | None, path: Path) -> int:
    """Write in the operator set asked for, else in the lowest from 17 that has every operation; return which."""
    candidates = range(DEFAULT_OPSET, HIGHEST_OPSET + 1) if asked is None else (asked,)
    for opset in candidates:
        try:
            _export(model, inputs, opset, path)
        except torch.onnx.errors.UnsupportedOperatorError as error:
            unsupported = error
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            raise _refused(error, OTHERWISE) from error
        else:
            return opset
    later = asked is not None and asked < HIGHEST_OPSET
    raise _refused(unsupported, f"use export opset {HIGHEST_OPSET}, or another operation" if later else OTHERWISE)


def _export(model: TorchModel, inputs: tuple[torch.Tensor, ...], opset: int, path: Path) -> None:
    names = [name for name, _, _ in model.inputs]
    free = [name for name, shape, _ in model.inputs if shape and isinstance(shape[0], str)]
    axes = {name: {0: "batch"} for name in (*free, *(model.outputs if free else ()))}
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


def _refused(error: BaseException, advice: str) -> StepError:
    # What follows asks for contributions to torch.
    reason = first_line(error).partition(". Please feel free")[0]
    return StepError(Diagnostic("X207", f"the model cannot be exported to ONNX: {reason}", help=advice))


def _check_opset(opset: int | None) -> None:
    if opset is not None and not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        raise StepError(
            Diagnostic(
                "X219",
                f"opset {opset} cannot be written: torch {torch.__version__} writes {LOWEST_OPSET} to {HIGHEST_OPSET}",
                help=f"set opset to a number from {LOWEST_OPSET} to {HIGHEST_OPSET}, or leave it out",
            )
        )
