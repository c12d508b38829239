"""Linear layers whose weights bitsandbytes holds in 8 or 4 bits: what they keep, and how a module comes by them.

Everything that they keep are tensors, so a model is saved and loaded as any other: the record says how its layers are
built, and the file holds their numbers.
"""

import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - the file defines torch modules

from titrant.runtime.backends.torch.quantized.linear import check_finite, linear_layers, replaced, weighted
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError

if TYPE_CHECKING:
    from titrant.runtime.catalog import Context
    from titrant.runtime.values import TorchModel

# How many scales of blocks share one of their own where they are quantized as well (Dettmers et al. 2023, QLoRA).
NESTED_BLOCK = 256
# Layers that a refusal names, at most.
_NAMED = 3


@cache
def library() -> Any:
    """Import bitsandbytes; nothing is printed, looked for on the network or compiled by it.

    On a processor with bf16 it asks the package `kernels` for code from a hub, and logs that it found none. What it
    would have torch compile when it first runs takes half a minute and a compiler: it runs as written.
    """
    with _offline():
        import bitsandbytes
        from bitsandbytes.backends.default import ops
    for name, function in list(vars(ops).items()):
        if name.endswith("_compute") and hasattr(function, "__wrapped__"):  # the user's code imported it before
            setattr(ops, name, function.__wrapped__)
    return bitsandbytes


@contextmanager
def _offline() -> Iterator[None]:
    compiling, kernels = torch.compile, sys.modules.get("kernels")
    log = logging.getLogger("bitsandbytes")
    level = log.level
    torch.compile = lambda model=None, **_: model or (lambda function: function)  # type: ignore[assignment]
    sys.modules["kernels"] = None  # type: ignore[assignment]
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        torch.compile = compiling
        if kernels is None:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = kernels


class Int8Linear(torch.nn.Module):
    """A linear layer with int8 weights, one scale a row of them; rows of inputs are quantized as they come.

    LLM.int8 (Dettmers et al. 2022): input columns in which some number of the batch reaches `threshold` are multiplied
    in fp32; 0 lets none be. Inputs (..., in_features), answers (..., out_features), both fp32.
    """

    executed_precision = "int8"

    def __init__(self, outputs: int, inputs: int, bias: bool, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.register_buffer("weight", torch.empty(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scales", torch.empty(outputs))
        self.bias = torch.nn.Parameter(torch.empty(outputs)) if bias else None

    @property
    def weight_numbers(self) -> int:
        """How many parameters stand in `weight`."""
        return self.weight.numel()

    def fill(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Quantize a weight (out_features, in_features)."""
        library()
        self.weight, self.scales, _ = torch.ops.bitsandbytes.int8_vectorwise_quant.default(weight.float(), 0.0)
        _give_bias(self, bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply in whole numbers."""
        operations = torch.ops.bitsandbytes
        rows = inputs.reshape(-1, inputs.shape[-1])
        # Outliers are cut out of what is quantized, in place.
        given = rows.clone() if self.threshold else rows
        numbers, scales, outliers = operations.int8_vectorwise_quant.default(given, self.threshold)
        if outliers is not None and outliers.numel():
            answer, _ = operations.int8_mixed_scaled_mm.default(
                rows, numbers, self.weight, scales, self.scales, outliers, self.bias
            )
        else:
            answer = operations.int8_scaled_mm.default(
                numbers, self.weight, scales, self.scales, bias=self.bias, dtype=torch.float32
            )
        return answer.reshape(*inputs.shape[:-1], answer.shape[-1])


class FourBitLinear(torch.nn.Module):
    """A linear layer with weights in 4 bits, one scale a block of them; they are unpacked to fp32 for each product.

    `kind` is nf4 or fp4 (Dettmers et al. 2023, QLoRA). `nested` scales are kept in 8 bits, with a scale of their own
    for each 256. Inputs (..., in_features), answers (..., out_features), both fp32.
    """

    executed_precision = "int4"
    nested_scales: torch.Tensor | None

    def __init__(self, outputs: int, inputs: int, bias: bool, kind: str, block: int, *, nested: bool) -> None:
        super().__init__()
        self.kind, self.block, self.shape = kind, block, (outputs, inputs)
        count = outputs * inputs
        blocks = -(count // -block)
        self.register_buffer("weight", torch.empty(-(count // -2), 1, dtype=torch.uint8))
        self.register_buffer("scales", torch.empty(blocks, dtype=torch.uint8 if nested else torch.float32))
        self.register_buffer("nested_scales", torch.empty(-(blocks // -NESTED_BLOCK)) if nested else None)
        self.register_buffer("nested_mean", torch.empty(()) if nested else None)
        steps = library().functional.create_dynamic_map() if nested else None
        self.register_buffer("nested_steps", steps, persistent=False)
        self.bias = torch.nn.Parameter(torch.empty(outputs)) if bias else None

    @property
    def weight_numbers(self) -> int:
        """How many parameters stand in `weight`."""
        return math.prod(self.shape)

    def fill(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Quantize a weight (out_features, in_features)."""
        made, state = library().functional.quantize_4bit(
            weight.float().contiguous(),
            blocksize=self.block,
            compress_statistics=self.nested_scales is not None,
            quant_type=self.kind,
        )
        self.weight, self.scales = made, state.absmax
        if state.nested:
            self.nested_scales, self.nested_mean = state.state2.absmax, state.offset
        _give_bias(self, bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Unpack the weights and multiply in fp32."""
        operations, (outputs, columns) = torch.ops.bitsandbytes, self.shape
        scales = self.scales
        if self.nested_scales is not None:
            given = (scales, self.nested_scales, self.nested_steps, NESTED_BLOCK, torch.float32)
            scales = operations.dequantize_blockwise.default(*given) + self.nested_mean
        # As one row: for the CPU, version 0.50.2 takes the wrong scale where a row ends within a block.
        flat = operations.dequantize_4bit.default(
            self.weight, scales, self.block, self.kind, (1, outputs * columns), torch.float32
        )
        return torch.nn.functional.linear(inputs, flat.view(outputs, columns), self.bias)


def _give_bias(layer: Int8Linear | FourBitLinear, bias: torch.Tensor | None) -> None:
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias.detach().float().clone(), requires_grad=False)


def with_layers(module: torch.nn.Module, record: Mapping[str, Any]) -> torch.nn.Module:
    """Put empty layers in the places of the linear layers that a record names: those of one weight share their tensors.

    The record holds `layers`, a list of the names of each weight, and what the layers are built with.
    """
    library()
    made: dict[str, torch.nn.Module] = {}
    by_module: dict[int, torch.nn.Module] = {}
    for names in record["layers"]:
        first: Any = None
        for name in names:
            plain: Any = module.get_submodule(name)
            if id(plain) not in by_module:
                layer = _empty(plain, record)
                if first is not None:
                    layer._buffers = {**first._buffers}
                by_module[id(plain)] = layer
            made[name] = by_module[id(plain)]
            first = first if first is not None else made[name]
    return replaced(module, made).eval()


def _empty(plain: Any, record: Mapping[str, Any]) -> torch.nn.Module:
    shape = (plain.out_features, plain.in_features, plain.bias is not None)
    if record["kind"] == "int8":
        return Int8Linear(*shape, record["threshold"])
    return FourBitLinear(*shape, record["kind"], record["block"], nested=record["nested"])


def quantized(
    model: "TorchModel", operator: str, settings: Mapping[str, Any], leave: tuple[str, ...], context: "Context"
) -> "TorchModel":
    """Return a copy with its linear layers in fewer bits; `settings` are those of the record beside `layers`.

    Measures quantized_layers and fp32_layers. Raises PreconditionError X210 where no linear layer in fp32 is left to
    quantize, X290 for a weight with NaN or infinity.
    """
    from titrant.runtime.backends.torch.module import rewritten
    from titrant.runtime.operators.model.fold import with_plain_weights

    model = with_plain_weights(model)
    layers = linear_layers(model.module, leave)
    taken = [layer for layer in layers if not layer.left]
    if not taken:
        # Those that nobody asked to leave come first.
        reasons = [f"{layer.name} ({layer.left})" for layer in sorted(layers, key=lambda layer: layer.name in leave)]
        more = f" and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
        why = ", ".join(reasons[:_NAMED]) + more or "the model has no torch.nn.Linear in fp32"
        message = f"there is nothing to quantize: {why}; embeddings and convolutions stay as they are"
        help = f"{'leave fewer layers, or ' if leave else ''}use quantization.method ort.static or none"
        raise PreconditionError(Diagnostic("X210", message, help=help))
    check_finite(model.module, [layer.name for layer in taken])
    made = rewritten(model, operator, {**settings, "layers": [list(layer.names) for layer in taken]})
    for count, layer in enumerate(taken, 1):
        first: Any = made.module.get_submodule(layer.name)
        for name in layer.names:
            plain: Any = model.module.get_submodule(name)
            other: Any = made.module.get_submodule(name)
            if other is first:
                first.fill(plain.weight.detach(), plain.bias)
            else:
                other._buffers.update(first._buffers)
                _give_bias(other, plain.bias)
        context.progress(count, len(taken), layer.name)
    context.measure("quantized_layers", sum(len(layer.names) for layer in taken))
    context.measure("fp32_layers", sum(1 for _ in weighted(made.module)) - sum(len(layer.names) for layer in taken))
    return replace(made, module=made.module.requires_grad_(False).eval())
