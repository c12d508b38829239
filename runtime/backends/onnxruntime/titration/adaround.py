"""Choose for each weight whether it is rounded up or down so that a layer's answers, not its weights, stay the nearest.

Nagel et al. 2020 (Up or down? Adaptive rounding for post-training quantization): with h(V) = clip(sigmoid(V) (ζ - γ) +
γ, 0, 1) a weight is s (clip(floor(W / s) + z + h(V)) - z), and V is trained to lessen ‖W x - Ŵ x̂‖² + λ Σ (1 - |2 h(V) -
1|^β), with β annealed so that every h ends at 0 or 1. x̂ is what a layer reads when all before it are rounded, x what it
read before. Both terms are means here, the first relative to that of rounding to the nearest, so that one λ fits all
layers. What follows a layer is not part of it.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import onnx  # noqa: TID253 - its very subject
import torch  # noqa: TID253 - its very subject
from onnx import numpy_helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.calibration import Feeds, session_giving
from titrant.runtime.backends.onnxruntime.nbits import Grid, Rounding, grid_of
from titrant.runtime.backends.onnxruntime.normalize import constants_of
from titrant.runtime.backends.torch.determinism import fixed_settings
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.catalog import Context

# The paper's stretch of the sigmoid, its share of steps without regularization and its first and last β.
_ZETA, _GAMMA, _WARM, _BETAS = 1.1, -0.1, 0.2, (20.0, 2.0)
# Steps for each layer, vectors in each, the rate of Adam, and the weight of the regularization.
_STEPS, _BATCH, _RATE, _WEIGHT = 600, 64, 2e-2, 0.5
# Vectors of a layer's input that are kept.
SAMPLED = 2048


@dataclass(frozen=True)
class Error:
    """Mean squared errors of a layer's answers, of the numbers that were chosen and of the nearest."""

    chosen: float
    nearest: float

    @property
    def left(self) -> float:
        """Return which share of the error of the nearest numbers is left: 1 where these make none."""
        return self.chosen / self.nearest if self.nearest else 1.0


def adaround(
    model: onnx.ModelProto, products: Collection[str], how: Rounding, feeds: Feeds, context: "Context"
) -> tuple[dict[str, np.ndarray], dict[str, Error]]:
    """Return whole numbers (out, in) for the weights of some MatMul nodes, by weight, and their errors by node.

    One layer after the other, in the order of the graph; `feeds` gives the batches, as often as it is called. A weight
    that several nodes read is chosen for the first.
    """
    current = onnx.ModelProto()
    current.CopyFrom(model)
    numbers: dict[str, np.ndarray] = {}
    errors: dict[str, Error] = {}
    read, before, now = "", np.empty(0), np.empty(0)
    with fixed_settings(context.threads, context.seed):
        for node in [each for each in model.graph.node if each.name in products]:
            tensor, name = constants_of(current)[node.input[1]], node.input[1]
            if name in numbers:
                continue
            if node.input[0] != read:  # query, key and value read one tensor
                read = node.input[0]
                before, now = (_vectors(graph, read, feeds, context) for graph in (model, current))
            weight = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
            grid = grid_of(weight, how)
            numbers[name], errors[node.name] = choose(weight, grid, before, now, context)
            rounded = (grid.scales * (numbers[name] - grid.zeros)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(rounded.T), name))
            context.progress(len(errors), len(products), "rounding")
    return numbers, errors


def _vectors(model: onnx.ModelProto, tensor: str, feeds: Feeds, context: "Context") -> np.ndarray:
    """Return vectors (places, in) that lie along the last axis of a tensor, evenly out of all batches."""
    session = session_giving(model, [tensor], context)
    batches = [*feeds()]
    kept = []
    for feed in batches:
        [array] = session.run([tensor], {name: feed[name] for name in (item.name for item in session.get_inputs())})
        flat = array.reshape(-1, array.shape[-1])
        count = min(len(flat), max(1, SAMPLED // len(batches)))
        kept.append(flat[np.linspace(0, len(flat) - 1, count).astype(int)])
    return np.concatenate(kept)


def choose(
    weight: np.ndarray, grid: Grid, before: np.ndarray, now: np.ndarray, context: "Context"
) -> tuple[np.ndarray, Error]:
    """Return whole numbers (out, in) for a weight (out, in), with the errors of its answers.

    `before` and `now` (vectors, in) are what it read in fp32 and what it reads after the layers before it are rounded.
    Where training does not lessen the error the nearest stay.
    """
    scales, zeros = torch.from_numpy(grid.scales), torch.from_numpy(grid.zeros)
    steps = torch.from_numpy(weight) / scales + zeros
    lower = steps.floor().clamp(0, grid.top)
    nearest = (steps + 0.5).floor().clamp(0, grid.top)
    read, expected = torch.from_numpy(now), torch.from_numpy(before) @ torch.from_numpy(weight).T

    def error(numbers: torch.Tensor) -> float:
        return float((read @ (scales * (numbers - zeros)).T - expected).square().mean())

    plain = error(nearest)
    if plain == 0:
        return nearest.numpy().astype(np.uint8), Error(plain, plain)
    rest = ((steps - lower).clamp(0, 1) - _GAMMA) / (_ZETA - _GAMMA)
    logits = torch.log(rest / (1 - rest)).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=_RATE)
    for step in range(_STEPS):
        some = torch.from_numpy(context.generator.integers(0, len(read), _BATCH))
        up = (torch.sigmoid(logits) * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)
        numbers = (lower + up).clamp(0, grid.top)
        loss = (read[some] @ (scales * (numbers - zeros)).T - expected[some]).square().mean() / plain
        share = (step / _STEPS - _WARM) / (1 - _WARM)
        if share > 0:
            beta = _BETAS[1] + 0.5 * (_BETAS[0] - _BETAS[1]) * (1 + float(np.cos(np.pi * share)))
            loss = loss + _WEIGHT * (1 - (2 * up - 1).abs().pow(beta)).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    trained = (lower + (logits.detach() > 0)).clamp(0, grid.top)
    least = error(trained)
    kept, least = (trained, least) if least < plain else (nearest, plain)
    return kept.numpy().astype(np.uint8), Error(least, plain)
