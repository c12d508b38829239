"""Which layers two thinner ones pay for, up to which rank, and the facts of a model that has them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import run_cost
from titrant.runtime.backends.model_kind import RunCost
from titrant.runtime.cost.forward import Speed, forward_seconds, is_convolution
from titrant.schema.facts import Layer, ModelFacts
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import covered

# What is factorized, as torch modules are called; an attention layer reads the weights of its products itself.
FACTORIZED = ("Linear", "Conv1d", "Conv2d", "Conv3d")
# The int8 method whose kernels are the measure, at one case: the layers of a file in fp32 gain by fewer ranks already.
_INT8 = catalog.get("quantize.ort_static").method
assert _INT8 is not None
# Nothing but the layer decides, so that a recipe factorizes the same layers on every machine: a small server.
_MACHINE = Speed(120e9, 240e9, 30e9, measured=False, instructions=("avx2", "avx512_vnni", "avx512f"))
# What has to be gained: 0.05 is noise, and gains came out up to 0.1 lower where pairs were measured (onnxruntime 1.31).
_MARGIN = 0.15
# Channels that an int8 kernel computes at once, of a product and of a convolution: fewer are no faster.
_BLOCK, _CONVOLUTION_BLOCK = 16, 32
_MATRIX = 2


@dataclass(frozen=True)
class Placement:
    """What is known of one layer before its weights are: the highest rank that pays, and why it is left; "" if not."""

    name: str
    most_rank: int
    left: str = ""


def full_rank(layer: Layer) -> int:
    """Return the rank that a layer's weight, as a matrix of outputs by inputs, has at most."""
    return min(layer.weight_shape[0], math.prod(layer.weight_shape[1:]))


def pair(layer: Layer, rank: int) -> tuple[Layer, Layer]:
    """Return the facts of the two layers in a layer's place: to `rank` channels without a bias, and from there on.

    Of a convolution the second has a kernel of one place.
    """
    outputs, *inner = layer.weight_shape
    elements = math.prod(layer.weight_shape)
    shapes = ((rank, *inner), (outputs, rank, *(1 for _ in inner[1:])))
    counts = (math.prod(shapes[0]), math.prod(shapes[1]) + max(layer.parameters - elements, 0))
    made = []
    for place, (shape, count) in enumerate(zip(shapes, counts, strict=True)):
        made.append(
            replace(
                layer,
                name=f"{layer.name}.{place}" if layer.name else str(place),
                parameters=count,
                weight_bytes=4 * count,
                weight_shape=shape,
                flops=None if layer.flops is None else layer.flops * math.prod(shape) // elements,
                trainable=count if layer.trainable else 0,
            )
        )
    return made[0], made[1]


def most_rank(layer: Layer) -> int:
    """Return the highest rank at which two int8 layers are smaller and clearly faster than one; 0: none."""
    outputs, inner = layer.weight_shape[0], math.prod(layer.weight_shape[1:])
    # Multiplications follow the weights: each is used once at every place.
    high = (outputs * inner - 1) // (outputs + inner)
    if not layer.flops or high < 1:
        return 0
    limit = (1 - _MARGIN) * _seconds((layer,))
    low = 0
    while low < high:  # two layers take the longer the higher their rank
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _seconds(pair(layer, _kernel(middle, layer))) <= limit else (low, middle - 1)
    return low


def _kernel(rank: int, layer: Layer) -> int:
    block = _CONVOLUTION_BLOCK if is_convolution(layer) else _BLOCK
    return min(-(-rank // block) * block, full_rank(layer))


def _seconds(layers: Sequence[Layer]) -> float:
    assert _INT8 is not None
    held = sum(layer.weight_bytes for layer in layers)
    model = ModelFacts("factory", "", 0, 0, held, tuple(layers), (), ())
    return forward_seconds(model, _MACHINE, _cost(), 1, _INT8.arithmetic) if _INT8.arithmetic else math.inf


@cache
def _cost() -> RunCost:
    """Return what a model of the measure's format costs, but for the call."""
    assert _INT8 is not None
    return replace(run_cost(_INT8.engine, backend.kind_of_format(_INT8.format).name), call_seconds=0.0)


def placements(layers: Iterable[Layer], rank: int | None, skip: Sequence[str]) -> tuple[Placement, ...]:
    """Say of every layer of a type that is factorized whether it can be, in order; `rank` None: it is still open."""
    layers = tuple(layers)
    tied = _tied(layers)
    highest: dict[tuple[object, ...], int] = {}
    placed = []
    for layer in layers:
        if layer.type not in FACTORIZED or len(layer.weight_shape) < _MATRIX:
            continue
        kind = (layer.type, layer.weight_shape, layer.flops, layer.parameters)
        if kind not in highest:
            highest[kind] = most_rank(layer) if layer.groups == 1 else 0
        placed.append(Placement(layer.name, highest[kind], _left(layer, highest[kind], rank, skip, tied)))
    return tuple(placed)


def _tied(layers: Sequence[Layer]) -> frozenset[str]:
    """Name the layers whose weights others multiply by too: the first of a shape counts them, the others do not."""
    tied: set[str] = set()
    holders: dict[tuple[int, ...], str] = {}
    for layer in layers:
        if len(layer.weight_shape) < _MATRIX:
            continue
        if layer.parameters < math.prod(layer.weight_shape):
            tied |= {layer.name, holders.get(layer.weight_shape, layer.name)}
        else:
            holders.setdefault(layer.weight_shape, layer.name)
    return frozenset(tied)


def _left(layer: Layer, most: int, rank: int | None, skip: Sequence[str], tied: frozenset[str]) -> str:
    pattern = next((pattern for pattern in skip if covered(layer.name, (pattern,))), None)
    if pattern is not None:
        return f"skip has {pattern}"
    if layer.unread or layer.flops is None:
        return "it is not called as a layer"
    if layer.groups > 1:
        return f"its {layer.groups} groups are products of their own"
    if layer.name in tied or layer.shared_with:
        return "another layer has the same weight"
    if layer.dtype not in ("", "float32"):
        return f"its weight is {layer.dtype}"
    return rank_left(layer, most, rank)


def rank_left(layer: Layer, most: int, rank: int | None) -> str:
    """Say why a layer that could be factorized is left at a rank, None where that is still open; "" where it is not."""
    full = full_rank(layer)
    if rank is not None and rank >= full:
        return f"its full rank is {full}: at {rank} there is nothing to do"
    if most < 1:
        return "one int8 product is as fast as two at any rank"
    if rank is not None and rank > most:
        return f"two int8 products pay up to rank {most} of {full}, and this would be {rank}"
    return ""


def with_factors(model: ModelFacts, ranks: Mapping[str, int]) -> ModelFacts:
    """Return the facts of a model in which the named layers are two each."""
    layers: list[Layer] = []
    for layer in model.layers:
        layers += pair(layer, ranks[layer.name]) if layer.name in ranks else (layer,)
    return _recounted(model, layers, len(ranks))


def assumed(model: ModelFacts, ranks: Mapping[str, int]) -> ModelFacts:
    """Return facts in which the named layers have the size of two, each still under its one name.

    So they are while only their weights can tell which rank they get, and whether they stay whole.
    """
    layers = []
    for layer in model.layers:
        if layer.name not in ranks:
            layers.append(layer)
            continue
        first, second = pair(layer, ranks[layer.name])
        made = replace(
            layer,
            parameters=first.parameters + second.parameters,
            weight_bytes=first.weight_bytes + second.weight_bytes,
            trainable=first.trainable + second.trainable,
            flops=(first.flops or 0) + (second.flops or 0),
        )
        layers.append(made)
    return _recounted(model, layers, len(ranks))


def _recounted(model: ModelFacts, layers: Sequence[Layer], added: int) -> ModelFacts:
    def saved(count: str) -> int:
        return sum(getattr(layer, count) or 0 for layer in model.layers) - sum(
            getattr(layer, count) or 0 for layer in layers
        )

    return replace(
        model,
        layers=tuple(layers),
        parameters=model.parameters - saved("parameters"),
        trainable=model.trainable - saved("trainable"),
        weight_bytes=model.weight_bytes - saved("weight_bytes"),
        flops=None if model.flops is None else model.flops - saved("flops"),
        operations=model.operations + added if model.operations else 0,
        exported_nodes=model.exported_nodes + added if model.exported_nodes else 0,
        activation_ranges=model.activation_ranges + added if model.activation_ranges else 0,
    )
