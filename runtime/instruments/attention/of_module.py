"""Capture the attention of a live module, whoever computes it: torch's layers, fused kernels, or code of one's own."""

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.call import refuse_empty
from titrant.runtime.instruments.attention.fused import FUSED, UNREAD, fused_weights
from titrant.runtime.instruments.calls.overhear import ForwardInputs, overhear, tensors_of
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

_PRODUCTS = ("aten::bmm", "aten::baddbmm", "aten::matmul", "aten::mm", "aten::addmm")
_SOFTMAX = ("aten::_softmax", "aten::_safe_softmax", "aten::softmax")
# What leaves scores scores: scaling, masks, caps, formats and shapes.
_PASSES = frozenset(
    f"aten::{name}"
    for name in (
        "_to_copy", "_unsafe_view", "add", "add_", "alias", "clamp", "clamp_", "clone", "contiguous", "detach", "div",
        "div_", "expand", "masked_fill", "masked_fill_", "mul", "mul_", "permute", "reshape", "slice", "sub", "sub_",
        "tanh", "transpose", "unsqueeze", "squeeze", "view", "where", "copy_",
    )
)  # fmt: skip
# What modules call the number of their heads.
_HEADS = ("num_heads", "n_heads", "nhead", "n_head", "heads", "num_attention_heads", "h")
_SEQUENCES = 2


def capture(module: torch.nn.Module, inputs: ForwardInputs) -> list[tuple[str, np.ndarray, bool]]:
    """Call a module once and return (layer, weights, whether fused) in the order in which attention is computed.

    Weights are (batch, heads, queries, keys), float32.

    A fused kernel (`scaled_dot_product_attention`) gives no weights: they are computed from its queries and keys, as
    softmax(q k^T scale + mask), each query head with the key head of its group, without dropout. Everywhere else the
    weights are what softmax gives of a product of two computed tensors. Raises what `overhear` does.
    """
    refuse_empty(module)
    listener = _Listener(module)
    overhear(module, inputs, operated=listener.operated)
    return listener.maps


class _Listener:
    """Follows scores from the product that makes them to the softmax."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.maps: list[tuple[str, np.ndarray, bool]] = []
        self._module = getattr(module, "_orig_mod", module)
        self._parameters = {tensor.untyped_storage().data_ptr() for tensor in self._module.parameters()}
        self._scores: dict[int, weakref.ref[torch.Tensor]] = {}
        self._calls: dict[str, int] = {}

    def operated(self, layer: str, operation: str, operands: Mapping[str, Any], answer: Any) -> None:
        """Take note of an operation that makes, passes on or weighs scores."""
        if operation.startswith(FUSED):
            weights = fused_weights(operation, operands)
            if weights is not None:
                self._keep(layer, weights, fused=True)
        elif operation in UNREAD:
            message = f"{layer or 'the model'} computes attention over packed sequences, in {operation}"
            raise StepError(Diagnostic("X685", message, help="give it padded inputs, one sequence a row"))
        elif operation in _PRODUCTS:
            if not any(self._is_held(tensor) for tensor in tensors_of(operands)):
                self._mark(answer)
        elif operation in _PASSES:
            if any(self._is_score(tensor) for tensor in tensors_of(operands)):
                self._mark(answer)
        elif operation in _SOFTMAX and self._is_score(operands.get("self")):
            scores, along = operands["self"], operands.get("dim")
            if along in (-1, scores.ndim - 1):
                self._keep(layer, answer, fused=False)

    def _is_held(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._parameters

    def _mark(self, answer: Any) -> None:
        if isinstance(answer, torch.Tensor) and answer.ndim >= _SEQUENCES and answer.is_floating_point():
            self._scores[id(answer)] = weakref.ref(answer)

    def _is_score(self, tensor: Any) -> bool:
        kept = self._scores.get(id(tensor))
        return kept is not None and kept() is tensor

    def _keep(self, layer: str, weights: torch.Tensor, *, fused: bool) -> None:
        name = layer or getattr(self._module, "original_name", type(self._module).__name__)
        self._calls[name] = self._calls.get(name, 0) + 1
        if self._calls[name] > 1:
            name = f"{name}#{self._calls[name]}"
        shaped = self._by_head(layer, weights.detach().float())
        self.maps.append((name, shaped.cpu().numpy().copy(), fused))

    def _by_head(self, layer: str, weights: torch.Tensor) -> torch.Tensor:
        """Return (batch, heads, queries, keys); heads that lie in the batch are known by the layer's own number."""
        if weights.ndim >= 4:
            return weights.reshape(-1, *weights.shape[-3:])
        if weights.ndim == _SEQUENCES:
            return weights[None, None]
        heads = self._heads(layer)
        if heads and weights.shape[0] % heads == 0:
            return weights.reshape(-1, heads, *weights.shape[1:])
        return weights[:, None]

    def _heads(self, layer: str) -> int:
        """Return how many heads a layer, or the nearest above it that says so, has; 0 where none does."""
        at = layer
        while True:
            part = self._module.get_submodule(at) if at else self._module
            for name in _HEADS:
                number = getattr(part, name, None)
                if isinstance(number, int) and not isinstance(number, bool) and number > 0:
                    return number
            if not at:
                return 0
            at = at.rpartition(".")[0]
