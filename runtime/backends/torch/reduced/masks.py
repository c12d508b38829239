"""Set weights to zero by published scores, and count what is zero; shapes stay as they are."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch  # noqa: TID253 - its very subject

from titrant.runtime.catalog import Context
from titrant.runtime.values import TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.values.text import covered

Scope = Literal["global", "layer"]
CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


@dataclass
class Masking:
    """What became of a model: the zeros and all weights of each masked layer, and why others were left."""

    zeros: dict[str, tuple[int, int]] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def count(self, name: str, weight: torch.Tensor) -> None:
        """Count a layer's zeros as they are now."""
        self.zeros[name] = int((weight == 0).sum()), weight.numel()

    def value(self) -> dict[str, Any]:
        """Return {"layers": [{"name", "zeros", "total"}]}, and which layers were left where some were."""
        layers = [{"name": name, "zeros": zeros, "total": total} for name, (zeros, total) in self.zeros.items()]
        left = [{"name": name, "because": because} for name, because in self.left.items()]
        return {"layers": layers} | ({"left": left} if left else {})


def weights_of(module: torch.nn.Module, skip: Sequence[str] = ()) -> dict[str, torch.nn.Parameter]:
    """Return the matrices and kernels of a module's layers by the layer's name, those of several with the parameter's.

    Tables of embeddings are left out, also where a product reads the same one, and what `skip` covers: a layer by any
    of its names, the module itself by its class, or a parameter, also where a layer that is not skipped shares it. Else
    a weight that several layers share is the first one's.
    """
    seen = {
        id(tensor)
        for name, part in module.named_modules(remove_duplicate=False)
        for key, tensor in part.named_parameters(recurse=False)
        if isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag))
        or covered(name or type(module).__name__, skip)
        or covered(_joined(name, key), skip)
    }
    weights: dict[str, torch.nn.Parameter] = {}
    for name, part in module.named_modules():
        own = [(key, item) for key, item in part.named_parameters(recurse=False) if item.ndim > 1]
        for key, tensor in own:
            if id(tensor) not in seen and tensor.is_floating_point():
                weights[name if len(own) == 1 and name else _joined(name, key)] = tensor
            seen.add(id(tensor))
    return weights


def _joined(name: str, key: str) -> str:
    return ".".join(filter(None, (name, key)))


def lowest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return a mask, of the shape of `scores`, of the `count` lowest along the last dimension; of ties the first."""
    order = scores.argsort(dim=-1, stable=True)
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order[..., :count], True)


def magnitude_masks(weights: Sequence[torch.Tensor], sparsity: float, scope: Scope) -> list[torch.Tensor]:
    """Mark the share `sparsity` of weights that are nearest to zero, of each tensor or of all together.

    Magnitude pruning (Han et al. 2015). The count is rounded to the nearest.
    """
    flat = [weight.detach().abs().reshape(-1) for weight in weights]
    if scope == "global":
        together = torch.cat([item.float() for item in flat])
        marked = lowest(together, round(sparsity * together.numel())).split([item.numel() for item in flat])
    else:
        marked = tuple(lowest(item, round(sparsity * item.numel())) for item in flat)
    return [mask.reshape(weight.shape) for mask, weight in zip(marked, weights, strict=True)]


def n_m_mask(weight: torch.Tensor, n: int, m: int) -> torch.Tensor | None:
    """Mark all but the `n` largest of every `m` weights that follow each other along the inputs, dimension 1.

    None where the inputs are no multiple of `m`. Mishra et al. 2021 (2:4); of a kernel the inputs at one place.
    """
    if weight.shape[1] % m:
        return None
    grouped = weight.detach().abs().movedim(1, -1).reshape(-1, m)
    moved = weight.movedim(1, -1).shape
    return lowest(grouped, m - n).reshape(moved).movedim(-1, 1)


def wanda_mask(weight: torch.Tensor, norms: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Mark the share of each output's weights whose score |W| · ‖x‖₂ is lowest (Sun et al. 2024, Wanda).

    `norms` has the shape of the weight, or (1, inputs): the L2 norm of each input over all cases and places. The count
    is rounded down, as the authors do.
    """
    scores = (weight.detach().abs() * norms).reshape(len(weight), -1)
    return lowest(scores, int(sparsity * scores.shape[1])).reshape(weight.shape)


def masked(model: TorchModel) -> TorchModel:
    """Return a copy of a model whose weights may be set to zero."""
    return replace(model, module=copy.deepcopy(model.module).eval())


@torch.no_grad()
def mask(weights: Mapping[str, torch.Tensor], masks: Iterable[torch.Tensor], masking: Masking) -> None:
    """Set what is marked to zero, in place, and count the zeros."""
    for (name, weight), marked in zip(weights.items(), masks, strict=True):
        weight.masked_fill_(marked, 0)
        masking.count(name, weight)


def check_any(weights: Mapping[str, Any], skip: Sequence[str]) -> None:
    """Raise PreconditionError X551 where there is no layer to mask."""
    if not weights:
        besides = " besides those that are skipped" if skip else ""
        message = f"the model has no matrix or kernel of a layer to set to zero{besides}"
        raise PreconditionError(Diagnostic("X551", message, help="take reduction.pruning out, or change its skip"))


def measured(model: TorchModel, masking: Masking, context: Context) -> dict[str, Any]:
    """Measure the share of all parameters that masks hold at zero, and return the operator's outputs."""
    zeros = sum(count for count, _ in masking.zeros.values())
    parameters = sum(tensor.numel() for tensor in model.module.parameters())
    context.measure("weights_masked", zeros / parameters)
    return {"model": model, "masked": masking.value()}
