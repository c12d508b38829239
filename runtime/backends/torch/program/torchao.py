"""Quantize linear layers by torchao and export the model: its tensors fit no safetensors file.

What torchao prints when it is imported, of kernels that it cannot load, is kept off the terminal.
"""

import copy
from collections.abc import Collection
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.call import example_arrays
from titrant.runtime.backends.torch.determinism import fixed_settings
from titrant.runtime.backends.torch.program.export import border_of, exported_program, save_program
from titrant.runtime.backends.torch.program.load import quiet
from titrant.runtime.backends.torch.script import TRACED_ROWS
from titrant.runtime.catalog import Context
from titrant.runtime.values import ExportedModel, Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError

NAMESPACE = "torchao"


def quantized(
    model: TorchModel, example: Rows, config: str, layers: Collection[str], context: Context, *, device: str = "cpu"
) -> tuple[ExportedModel, int, int]:
    """Return the written file, how many layers are quantized, and how many others have weights.

    `config` names a class of torchao.quantization, which is called without arguments, `layers` the modules that are
    quantized. Raises PreconditionError X210 where there are none, X213 where the device is not there, X280 as export
    does.
    """
    if device != "cpu" and not torch.cuda.is_available():
        message = f"torchao has no kernels of {config} on the CPU, and torch sees no CUDA device"
        raise PreconditionError(Diagnostic("X213", message, help="use quantization.method ort.static"))
    if not layers:
        help = "use quantization.method ort.static, or skip fewer layers"
        raise PreconditionError(Diagnostic("X210", "the model has no linear layer in fp32 to quantize", help=help))
    module = model.module
    if "" in layers:  # a module that is one layer cannot have itself replaced in itself
        module, layers = torch.nn.Sequential(module), ("0",)
    arrays = example_arrays(model, example, TRACED_ROWS)
    with fixed_settings(context.threads, context.seed):
        ready = _converted(module, layers, config, device)
        program, specs = exported_program(ready, model.outputs, arrays, model.inputs, device=device)
        plain = decomposed(program)
    others = sum(
        name not in layers and any(value.ndim > 1 for value in layer.parameters(recurse=False))
        for name, layer in module.named_modules()
    )
    return save_program(plain, border_of(model, specs), context.scratch), len(layers), others


def _converted(module: torch.nn.Module, layers: Collection[str], config: str, device: str) -> torch.nn.Module:
    """Quantize a copy, and hold what its weights are made of as plain tensors."""
    with quiet():
        from torchao import quantization
        from torchao.utils import unwrap_tensor_subclass

        made = copy.deepcopy(module).eval().requires_grad_(False).to(device)
        quantization.quantize_(made, getattr(quantization, config)(), filter_fn=lambda _, name: name in layers)
        result: torch.nn.Module = unwrap_tensor_subclass(made)
        return result


def decomposed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Write torchao's own operations as torch's, so that the file is loaded without torchao."""
    own = {node.target for node in program.graph.nodes if getattr(node.target, "namespace", "") == NAMESPACE}
    if not own:
        return program
    from torch._inductor.decomposition import decompositions

    table: dict[Any, Any] = {operation: decompositions[operation] for operation in own}
    with quiet():
        return program.run_decompositions(table)
