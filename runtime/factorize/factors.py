"""Low-rank factors of the weights of a live module, best for the inputs that its layers get on calibration rows.

Wang et al. 2024 (SVD-LLM): with S the Cholesky factor of the Gram matrix X Xᵀ of a layer's inputs, the singular values
of W S are what is lost of the answers W X: the first r of them are kept, U_r Σ_r (V_rᵀ S⁻¹). Without rows S is 1.
"""

import copy
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.call import call, example_arrays, zeros
from titrant.runtime.backends.torch.determinism import fixed_settings, plain_attention
from titrant.runtime.backends.torch.quantized.linear import check_finite, replaced
from titrant.runtime.factorize.layers import FACTORIZED, Placement, placements, rank_left
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Layer
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.catalog import Context
    from titrant.runtime.values import Rows, TorchModel

# Rows answered at once while inputs are watched, and places of a convolution that are looked at in each of them.
_BATCH, _PLACES = 32, 64
# Of the mean of a Gram matrix's diagonal, added to it: directions that few rows show are not thrown away.
DAMPING = 1e-3
# Gram matrices that are held at once; layers beyond take another pass over the rows.
_GRAM_BYTES = 512 << 20


@dataclass(frozen=True)
class Factors:
    """Two matrices whose product stands for a weight of (outputs, inputs), and the share of energy that they keep.

    `first` is (rank, inputs), `second` (outputs, rank); energy is that of the squared singular values, whitened where
    there were rows.
    """

    first: torch.Tensor
    second: torch.Tensor
    energy: float


@dataclass(frozen=True)
class Factorized:
    """What became of a model: the factors by layer, and why each layer that is left stays whole."""

    factors: Mapping[str, Factors]
    placed: Mapping[str, Placement]
    left: Mapping[str, str]
    whitened: bool


def spectrum(
    weight: torch.Tensor, gram: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return U, the singular values, Vᵀ and S of a weight (outputs, inputs) in fp64.

    `gram` (inputs, inputs) is the sum of x xᵀ over its inputs x; None leaves S out.
    """
    matrix = weight.double()
    factor = None
    if gram is not None:
        diagonal = gram.diagonal()
        damping = DAMPING * float(diagonal.mean()) or 1.0  # inputs that are all zero
        factor = torch.linalg.cholesky(gram + damping * torch.eye(len(gram), dtype=gram.dtype))
        matrix = matrix @ factor
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left, values, right, factor


def rank_for(values: torch.Tensor, energy: float) -> int:
    """Return the lowest rank whose squared singular values are at least a share of all, 1 where all are 0."""
    squares = values.square()
    kept = squares.cumsum(0) / squares.sum().clamp(min=1e-300)
    return min(int((kept < energy - 1e-12).sum()) + 1, len(values))


def factors_of(parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None], rank: int) -> Factors:
    """Cut what `spectrum` returned at a rank; the singular values go in equal parts to both sides."""
    left, values, right, factor = parts
    root = values[:rank].sqrt()
    first = root[:, None] * right[:rank]
    if factor is not None:
        # first S⁻¹, solved as Sᵀ X = firstᵀ.
        first = torch.linalg.solve_triangular(factor.T, first.T, upper=True).T
    squares = values.square()
    energy = float(squares[:rank].sum() / squares.sum()) if float(squares.sum()) else 1.0
    return Factors(first.float().contiguous(), (left[:, :rank] * root).float().contiguous(), energy)


def factorize(
    model: "TorchModel",
    rows: "Rows | None",
    asked: tuple[float, int | None],
    skip: Collection[str],
    context: "Context",
) -> Factorized:
    """Find the factors of every layer that they pay for; `asked` is the energy to keep, and a rank instead of it.

    Raises PreconditionError X290 for weights that are not finite, StepError X221 where the model cannot answer rows.
    """
    energy, rank = asked
    module = copy.deepcopy(model.module).eval()
    with fixed_settings(context.threads, context.seed), plain_attention():
        layers = _layers(module, model, rows)
        placed = {item.name: item for item in placements(layers, rank, tuple(skip))}
        left = {name: item.left for name, item in placed.items() if item.left}
        names = [name for name in placed if name not in left]
        check_finite(module, names)
        by_name = {layer.name: layer for layer in layers}
        factors: dict[str, Factors] = {}
        for done, part in enumerate(parts := _parts(module, names)):
            grams = {} if rows is None else _grams(module, model, rows, part)
            for name in part:
                weight = module.get_parameter(f"{name}.weight" if name else "weight").detach().flatten(1)
                decomposed = spectrum(weight, grams.get(name))
                chosen = rank if rank is not None else rank_for(decomposed[1], energy)
                reason = rank_left(by_name[name], placed[name].most_rank, chosen)
                if reason:
                    left[name] = reason
                else:
                    factors[name] = factors_of(decomposed, chosen)
            context.progress(done + 1, len(parts), "singular values")
    ordered = {name: left[name] for name in placed if name in left}
    return Factorized(factors, placed, ordered, rows is not None)


def first_rows(rows: "Rows", most: int) -> "Rows":
    """Return at most `most` rows, the first."""
    return replace(rows, inputs={name: array[:most] for name, array in rows.inputs.items()}, ids=rows.ids[:most])


def with_layers(module: torch.nn.Module, ranks: Mapping[str, int]) -> torch.nn.Module:
    """Put two layers in the place of each named one, in place, their numbers still to be given."""
    made = {}
    for name, rank in ranks.items():
        layer: Any = module.get_submodule(name)
        made[name] = _two(layer, rank)
    return replaced(module, made)


def give(module: torch.nn.Module, factors: Mapping[str, Factors], original: torch.nn.Module) -> None:
    """Let the two layers of each name hold its factors, and the second the original's bias."""
    with torch.no_grad():
        for name, two_matrices in factors.items():
            two: Any = module.get_submodule(name)
            first, second = two
            first.weight.copy_(two_matrices.first.reshape(first.weight.shape))
            second.weight.copy_(two_matrices.second.reshape(second.weight.shape))
            if second.bias is not None:
                second.bias.copy_(original.get_parameter(f"{name}.bias" if name else "bias"))


def _two(layer: Any, rank: int) -> torch.nn.Sequential:
    dtype, biased = layer.weight.dtype, layer.bias is not None
    empty: Any = torch.nn.utils.skip_init
    if type(layer) is torch.nn.Linear:
        first = empty(torch.nn.Linear, layer.in_features, rank, bias=False, dtype=dtype)
        second = empty(torch.nn.Linear, rank, layer.out_features, bias=biased, dtype=dtype)
    else:
        first = empty(
            type(layer), layer.in_channels, rank, layer.kernel_size, stride=layer.stride, padding=layer.padding,
            dilation=layer.dilation, padding_mode=layer.padding_mode, bias=False, dtype=dtype,
        )  # fmt: skip
        second = empty(type(layer), rank, layer.out_channels, 1, bias=biased, dtype=dtype)
    made = torch.nn.Sequential(first, second).requires_grad_(layer.weight.requires_grad)
    return made.train(layer.training)


def _layers(module: torch.nn.Module, model: "TorchModel", rows: "Rows | None") -> tuple[Layer, ...]:
    """Describe every layer that may be factorized, with the FLOPs of one case as one call of the model shows them."""
    arrays = zeros(model.inputs) if rows is None else example_arrays(model, rows, 2)
    cases = max((len(array) for array in arrays.values() if array.ndim), default=1)
    counted: dict[str, int] = {}
    named = _own_layers(module)

    def count(name: str) -> Any:
        def left(layer: Any, _inputs: tuple[Any, ...], output: torch.Tensor) -> None:
            outputs = output.numel() // layer.weight.shape[0]
            counted[name] = counted.get(name, 0) + 2 * outputs * layer.weight.numel() // cases

        return left

    hooks = [layer.register_forward_hook(count(name)) for name, layer in named.items()]
    try:
        with torch.inference_mode():
            call(module, arrays)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(_described(module, name, layer, counted.get(name)) for name, layer in named.items())


def _own_layers(module: torch.nn.Module) -> dict[str, Any]:
    kinds = tuple(getattr(torch.nn, name) for name in FACTORIZED)
    return {name: layer for name, layer in module.named_modules() if type(layer) in kinds}


def _described(module: torch.nn.Module, name: str, layer: Any, flops: int | None) -> Layer:
    weight, count = layer.weight, sum(value.numel() for value in layer.parameters(recurse=False))
    return Layer(
        name=name,
        type=type(layer).__name__,
        parameters=count,
        weight_bytes=4 * count,
        weight_shape=tuple(weight.shape),
        flops=flops,
        trainable=count if weight.requires_grad else 0,
        dtype=str(weight.dtype).removeprefix("torch."),
        groups=getattr(layer, "groups", 1),
        shared_with="another" if _holders(module, weight) > 1 else "",
    )


def _holders(module: torch.nn.Module, weight: torch.Tensor) -> int:
    """Count the places in which a weight stands."""
    return sum(value is weight for _, value in module.named_parameters(remove_duplicate=False))


def _parts(module: torch.nn.Module, names: Collection[str]) -> list[list[str]]:
    """Divide layers so that the Gram matrices of each part are held at once."""
    parts: list[list[str]] = []
    held = math.inf
    for name in names:
        weight = module.get_parameter(f"{name}.weight" if name else "weight")
        size = 8 * math.prod(weight.shape[1:]) ** 2
        if held + size > _GRAM_BYTES:
            parts.append([])
            held = 0
        parts[-1].append(name)
        held += size
    return parts


def _grams(
    module: torch.nn.Module, model: "TorchModel", rows: "Rows", names: Collection[str]
) -> dict[str, torch.Tensor]:
    """Return the Gram matrix (inputs, inputs) of what each layer is given on all rows, in fp64."""
    grams: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        def entered(layer: Any, inputs: tuple[Any, ...]) -> None:
            for flat in _inputs(layer, inputs[0].detach()):
                product = (flat.T @ flat).double()
                grams[name] = grams[name] + product if name in grams else product

        return entered

    hooks = [module.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        with torch.inference_mode():
            for start in range(0, len(rows), _BATCH):
                end = min(start + _BATCH, len(rows))
                inputs = {name: array[start:end] for name, array in rows.inputs.items()}
                part = replace(rows, inputs=inputs, ids=rows.ids[start:end])
                call(module, example_arrays(model, part, end - start))
    finally:
        for hook in hooks:
            hook.remove()
    return grams


def _inputs(layer: Any, given: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield what a layer multiplies by its weight, as rows (places, inputs); of a convolution some places of a case."""
    if type(layer) is torch.nn.Linear:
        yield given.reshape(-1, given.shape[-1])
        return
    size = math.prod(layer.weight.shape[1:])
    patches = torch.eye(size).reshape(size, *layer.weight.shape[1:])
    cases = given if given.ndim == layer.weight.ndim else given[None]
    for case in cases.split(4):
        seen = layer._conv_forward(case, patches, None).flatten(2)  # (cases, inputs, places)
        step = max(1, seen.shape[2] // _PLACES)
        yield seen[:, :, ::step].transpose(1, 2).reshape(-1, size)


def check(model: "TorchModel", made: "TorchModel", rows: "Rows | None") -> None:
    """Raise StepError X560 where a model with factors cannot be called as the one that it was made of is."""
    arrays = zeros(model.inputs) if rows is None else example_arrays(model, rows, 2)
    try:
        with torch.inference_mode():
            call(made.module, arrays)
    except (StepError, AttributeError) as error:
        message = f"the model cannot be called with factors in the place of its layers: {_said(error)}"
        advice = "it reads a layer's weight itself: name the layer under reduction.factorize.skip"
        raise StepError(Diagnostic("X560", message, help=advice)) from None


def _said(error: Exception) -> str:
    return error.diagnostics[0].message if isinstance(error, StepError) else str(error)
