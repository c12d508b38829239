"""Score the units of a group by their weights, or by what the loss would change without them."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.session import insisted_batch
from titrant.runtime.backends.torch.arguments import arguments_of
from titrant.runtime.backends.torch.call import named
from titrant.runtime.backends.torch.losses import LossTerms, check_output, labels_of, loss_of
from titrant.runtime.backends.torch.pruning.attention import NarrowAttention, stacked
from titrant.runtime.backends.torch.pruning.cut import HEADS, layout_of
from titrant.runtime.backends.torch.pruning.groups import Coupled, Member
from titrant.runtime.values import Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

# Rows whose loss is differentiated at once.
_BATCH = 64

WeightValues = Callable[[torch.Tensor], torch.Tensor]


def group_l2(module: torch.nn.Module, group: Coupled) -> np.ndarray:
    """Return the squared L2 norm of every unit's weights in all layers of its group, (units,) in double precision.

    DepGraph's group norm (Fang et al. 2023, equation 4): the sum over the layers of the squares of the weights of a
    unit, those that make it and those that read it. Biases do not count.
    """
    return _summed(module, group, lambda weight: weight.detach().double().square())


def taylor(model: TorchModel, groups: tuple[Coupled, ...], rows: Rows, count: int) -> list[np.ndarray]:
    """Return the first-order Taylor score of every unit of every group, on `count` rows at most.

    Of a unit whose weights are w and their gradients g it is Σ (g·w)², the squares of what the loss would change
    without each, as a mean over batches (Molchanov et al. 2019, importance of a set of parameters). Raises StepError
    X541 for rows without labels, X203 where the loss does not fit the outputs.
    """
    totals = [np.zeros(group.units) for group in groups]
    batches = 0
    for gradients in _gradients(model, rows, count):
        batches += 1
        for place, group in enumerate(groups):
            totals[place] += _summed(model.module, group, partial(_effect, gradients))
    return [total / max(batches, 1) for total in totals]


def _effect(gradients: Mapping[int, torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    gradient = gradients.get(id(weight))
    if gradient is None:
        return torch.zeros_like(weight, dtype=torch.float64)
    return (weight.detach().double() * gradient.double()).square()


def _gradients(model: TorchModel, rows: Rows, count: int) -> Iterator[dict[int, torch.Tensor]]:
    """Yield the gradients of the loss of each batch, {identity of the weight: gradient}."""
    if rows.labels is None and rows.targets is None:
        message = f"importance taylor needs labels, and the {rows.role} rows have none"
        raise StepError(Diagnostic("X541", message, help="write importance: magnitude, or set data.label"))
    labels_of_rows = labels_of(rows)
    numbers = labels_of_rows.is_floating_point()
    module, names = model.module, tuple(name for name, _, _ in model.inputs)
    arguments = arguments_of(module, names)
    weights = [weight for weight in module.parameters() if weight.is_floating_point()]
    frozen = [weight for weight in weights if not weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_(True)
    try:
        # Files are often sorted by class, and batches shall hold several.
        chosen = np.random.default_rng(0).permutation(len(rows))[:count]
        size = insisted_batch(model.inputs) or _BATCH
        for piece in np.split(chosen, range(size, len(chosen), size)):
            if len(piece) < size and insisted_batch(model.inputs):
                break
            tensors = [torch.from_numpy(rows.inputs[name][piece]) for name in names]
            labels = labels_of_rows[piece]
            with torch.enable_grad():
                answer = arguments.call(module, tensors)
                output = next(iter(named(answer, model.outputs[:1]).values()))
                name = "binary_cross_entropy_with_logits" if output.numel() == len(output) else "cross_entropy"
                name = "mse_loss" if numbers else name
                check_output(name, output, labels)
                terms = LossTerms(rows.scored, numbers=numbers, tokens=labels.ndim > 1)
                loss = loss_of(name, terms)(output, labels)
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            pairs = zip(weights, slopes, strict=True)
            yield {id(weight): slope for weight, slope in pairs if slope is not None}
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


def _summed(module: torch.nn.Module, group: Coupled, values: WeightValues) -> np.ndarray:
    """Sum a value of each weight over the weights of every unit."""
    total = torch.zeros(group.units, dtype=torch.float64)
    for member in group.members:
        for by_place in _by_place(module, member, values):
            units = [unit for unit, places in enumerate(member.places) for _ in places]
            places = [place for places in member.places for place in places]
            total.index_add_(0, torch.tensor(units), by_place.cpu()[places])
    return total.numpy()


def _by_place(module: torch.nn.Module, member: Member, values: WeightValues) -> Iterator[torch.Tensor]:
    """Yield the sums of values over everything but the side that a member cuts."""
    layer = module.get_submodule(member.layer)
    if member.side == HEADS:
        assert isinstance(layer, (torch.nn.MultiheadAttention, NarrowAttention))
        count, width = len(member.places), layer.head_dim
        for weight in stacked(layer):  # one projection or three, each with the rows of every head in order
            yield values(weight).reshape(-1, count, width * weight.shape[1]).sum((0, 2))
        read = layer.out_proj.weight
        yield values(read).reshape(len(read), count, -1).sum((0, 2))
        return
    layout = layout_of(layer)
    assert layout is not None
    own = getattr(layer, "weight", None)
    if isinstance(own, torch.Tensor) and "weight" in layout.tensors:
        dimension = layout.tensors["weight"].index(member.side)
        yield values(own).movedim(dimension, 0).reshape(own.shape[dimension], -1).sum(1)


def ranked(scores: np.ndarray) -> list[int]:
    """Return units from the least to the most important, equal ones in their order."""
    return [int(unit) for unit in np.argsort(scores, kind="stable")]
