"""Quantize a torch.export program by PT2E with the quantizer for x86, and compile it."""

import inspect
from collections.abc import Collection
from operator import attrgetter
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.session import checked, taken
from titrant.runtime.backends.torch.determinism import fixed_settings, tensor_of
from titrant.runtime.backends.torch.program.compiled import compiled
from titrant.runtime.backends.torch.program.load import load_program, quiet
from titrant.runtime.backends.torch.program.parity import Expected, apart, program_answers, tried_batches
from titrant.runtime.backends.torch.session import Border
from titrant.runtime.catalog import Context
from titrant.runtime.values import CompiledModel, ExportedModel, Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.values.frozen import dataclass

# Rows that a package is tried on, and how far fp32 sums in another order may lie apart, relative to the largest answer.
HELD_ROWS, ROUNDING = 8, 1e-4
# So many times what int8 changed a package may differ: in a deep network two ways to round part, and lie as far from
# one another as from fp32. What was compiled wrongly was 25 times that off, and more.
_PARTED = 4
_HELP = "torch compiles this network wrongly here: use quantization.method ort.static or openvino.ptq, or another torch"
_PRODUCTS = (torch.ops.aten.linear.default, torch.ops.aten.conv2d.default)
_WEIGHTS = ("quantized_decomposed.dequantize_per_channel",)


@dataclass(frozen=True)
class CalibrationRows:
    """How many rows are looked at, how many at once, and which modules keep their precision."""

    rows: int
    batch: int
    leave: tuple[str, ...]


@dataclass(frozen=True)
class QuantizedPackage:
    """A compiled package, how many of its layers have int8 weights, and how far off it answers from its program."""

    model: CompiledModel
    layers: int
    parity: float


def quantized(model: ExportedModel, calibration: Rows, params: CalibrationRows, context: Context) -> QuantizedPackage:
    """Quantize a program, compile it, and hold the package against the program in int8 on a few calibration rows.

    The kernels round as the program does but for a number here and there that lies between two: they may move the
    answers by a few times what int8 itself did. Raises PreconditionError X210 where the quantizer finds no layer,
    StepError X282 where the compiler fails, X627 where the package answers otherwise.
    """
    original, border = load_program(model)
    with fixed_settings(context.threads, context.seed, deterministic=False):
        batches = tried_batches(border, calibration, HELD_ROWS)
        plain = program_answers(original, border, batches, context.threads)
        program = _converted(original, border, calibration, params)
        layers = sum(str(node.target).startswith(_WEIGHTS) for node in program.graph.nodes)
        if not layers:
            message = "the quantizer for x86 finds no layer in the program to quantize"
            raise PreconditionError(Diagnostic("X210", message, help="use quantization.method ort.static"))
        answers = program_answers(program, border, batches, context.threads)
        moved = apart(plain, answers)
        expected = Expected(batches, answers, max(ROUNDING, _PARTED * moved), "is four times what int8 changed", _HELP)
        package, parity = compiled(program, border, expected, context.scratch, context.threads)
        return QuantizedPackage(package, layers, parity)


def _converted(
    program: torch.export.ExportedProgram, border: Border, calibration: Rows, params: CalibrationRows
) -> torch.export.ExportedProgram:
    with quiet(), torch.no_grad():
        from torchao.quantization.pt2e import move_exported_model_to_eval
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        module = program.module()
        _part(module)
        prepared = prepare_pt2e(module, _quantizer(params.leave))
        for inputs in _batches(border, calibration, params):
            prepared(*inputs)
        module = convert_pt2e(prepared)
        move_exported_model_to_eval(module)
        return torch.export.export(module, inputs, dynamic_shapes=_free(border, module))


def _part(module: Any) -> None:
    """Give each product that reads a weight of another one a copy: inductor multiplies int8 weights of one reader only.

    Those of several it unpacks, and multiplies in fp32.
    """
    for node in list(module.graph.nodes):
        products = [reader for reader in node.users if node.op == "get_attr" and reader.target in _PRODUCTS]
        readers = [product for product in products if product.args[1] is node]
        for place, reader in enumerate(readers[1:], 1):
            name = f"{node.target}_{place}".replace(".", "_")
            weight = attrgetter(node.target)(module).detach().clone()
            module.register_parameter(name, torch.nn.Parameter(weight, requires_grad=False))
            with module.graph.inserting_before(reader):
                own = module.graph.get_attr(name)
            own.meta = dict(node.meta)
            reader.replace_input_with(node, own)
    module.recompile()


def _quantizer(leave: Collection[str]) -> Any:
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    for name in leave:
        quantizer.set_module_name_qconfig(name, None)
    return quantizer


def _batches(border: Border, calibration: Rows, params: CalibrationRows) -> list[tuple[torch.Tensor, ...]]:
    """Cut the rows into whole batches of the size that the program takes, the last one filled up from the first."""
    fixed = [shape[0] for _, shape, _ in border.inputs if shape and isinstance(shape[0], int)]
    size = int(fixed[0]) if fixed else max(2, params.batch)
    count = min(params.rows, len(calibration))
    batches = []
    for start in range(0, count, size):
        places = np.arange(start, start + size) % len(calibration)
        arrays = {name: taken(calibration, name)[places if shape else places[0]] for name, shape, _ in border.inputs}
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        batches.append(tuple(tensor_of(array, copy=True) for array in checked(border.inputs, arrays).values()))
    return batches


def _free(border: Border, module: torch.nn.Module) -> tuple[Any, ...]:
    shapes = tuple(
        {place: torch.export.Dim.AUTO for place, size in enumerate(shape) if isinstance(size, str)}
        for _, shape, _ in border.inputs
    )
    kinds = [item.kind for item in inspect.signature(module.forward).parameters.values()]
    return (shapes,) if inspect.Parameter.VAR_POSITIONAL in kinds else shapes
