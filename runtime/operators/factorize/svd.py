"""Replace matrices and convolutions by two thinner ones each, by their singular values."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, Port, operator
from titrant.runtime.cost.forward import forward_seconds, modelled, speed_of
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.runtime.factorize.layers import (
    Placement,
    assumed,
    full_rank,
    placements,
    with_factors,
)
from titrant.runtime.method import LayerOutlook, Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Work
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import torch

# Of the energy of a layer's answers what is kept where nothing is asked.
ENERGY = 0.99
# Copying the model and answering; a weight's numbers times its full rank that singular values take a second.
_SECONDS, _SVD_RATE = 0.1, 0.8e9
_BATCH, _PLACES = 32, 64


class SvdParams(Params):
    """How much of each layer is kept, and which layers stay whole."""

    energy: float | None = Field(
        None, gt=0, le=1, description=f"share of the squared singular values that is kept; without a rank {ENERGY}"
    )
    rank: int | None = Field(None, ge=1, description="rank of every layer that is factorized, instead of `energy`")
    skip: tuple[str, ...] = Field((), description="module name patterns left as they are")
    rows: int = Field(256, ge=1, description="calibration rows that are used, at most")

    @model_validator(mode="after")
    def _is_one(self) -> "SvdParams":
        if self.energy is not None and self.rank is not None:
            raise ValueError("energy and rank both say what is kept: give one of them")
        return self


def requires(params: SvdParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, and a layer that two thinner ones may be faster than."""
    unmet = missing(hardware, "torch")
    if model is None or _may_be(params, model):
        return unmet
    placed = placements(model.layers, params.rank, params.skip)
    if not placed:
        cause = "factorize.svd takes linear layers and convolutions, and the model has none"
        return (*unmet, Unmet(cause, "take reduction.factorize out"))
    reasons = dict.fromkeys(item.left for item in placed)
    cause = f"factorize.svd pays for none of {len(placed)} layers: {'; '.join(reasons)}"
    highest = max(item.most_rank for item in placed)
    lower = params.rank is not None and highest > 0
    remedy = f"write a rank of at most {highest}" if lower else "take reduction.factorize out"
    return (*unmet, Unmet(cause, remedy))


def _may_be(params: SvdParams, model: ModelFacts) -> tuple[Placement, ...]:
    return tuple(item for item in placements(model.layers, params.rank, params.skip) if not item.left)


def model_after(params: SvdParams, model: ModelFacts) -> ModelFacts:
    """Split the layers in two whose rank is given; of an energy assume half of the rank up to which a layer pays."""
    may_be = _may_be(params, model)
    if params.rank is not None:
        return with_factors(model, {item.name: params.rank for item in may_be})
    return assumed(model, {item.name: max(1, item.most_rank // 2) for item in may_be})


def by_layer(params: SvdParams, model: ModelFacts) -> tuple[LayerOutlook, ...]:
    """Say which layers become two, or may, and why the others stay whole."""
    layers = {layer.name: layer for layer in model.layers}
    return tuple(
        _outlook(params, item, layers[item.name]) for item in placements(model.layers, params.rank, params.skip)
    )


def _outlook(params: SvdParams, placed: Placement, layer: Layer) -> LayerOutlook:
    if placed.left:
        return LayerOutlook(placed.name, "", placed.left)
    full = full_rank(layer)
    if params.rank is not None:
        return LayerOutlook(
            placed.name, f"rank {params.rank} of {full}", f"two int8 products pay up to {placed.most_rank}"
        )
    because = "its singular values decide; above that two int8 products do not pay, and it stays whole"
    return LayerOutlook(placed.name, f"up to rank {placed.most_rank} of {full}", because)


def predict(params: SvdParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Model a pass over the rows with the Gram matrices of each layer, and the singular values of each weight."""
    if model is None:
        return Prediction()
    names = {item.name for item in _may_be(params, model)}
    layers = [layer for layer in model.layers if layer.name in names]
    rows = min(params.rows, work.rows.get("calibration", 0))
    speed = speed_of(hardware, work.threads)
    seconds = _SECONDS + rows / _BATCH * forward_seconds(model, speed, run_cost("torch", "torch"), _BATCH)
    largest = 0
    for layer in layers:
        outputs = layer.weight_shape[0]
        inputs = (layer.parameters or outputs) // outputs
        places = min(_PLACES, max(1, (layer.flops or 0) // (2 * outputs * inputs)))
        seconds += rows * places * 2 * inputs * inputs / speed.flops
        seconds += outputs * inputs * full_rank(layer) / _SVD_RATE
        largest = max(largest, 8 * (2 * inputs * inputs + 4 * outputs * inputs))
    grams = sum(8 * ((layer.parameters or 0) // layer.weight_shape[0]) ** 2 for layer in layers) if rows else 0
    peak = 3 * model.weight_bytes + min(grams, 512 << 20) + largest + _BATCH * (model.activation_bytes or 0)
    made = modelled(hardware, seconds, peak, torch_bytes(model_after(params, model)))
    return made if params.rank is not None else replace(made, bases={"output_bytes": "guess"})


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Put two layers of the recorded ranks in the place of each named one of a freshly built module, in place."""
    from titrant.runtime.factorize.factors import with_layers

    return with_layers(module, record["ranks"])


@operator(
    "factorize.svd",
    version=2,
    family="factorize",
    params=SvdParams,
    inputs={"model": "torch", "calibration": Port(("rows",), optional=True)},
    outputs={"model": "torch", "factors": "value"},
    requires=requires,
    predict=predict,
    model_after=model_after,
    by_layer=by_layer,
    loads=("torch", "titrant.runtime.factorize.factors", "titrant.runtime.backends.torch.module"),
    libraries=("torch",),
    user_code=True,
    method=Method("svd", takes="torch", rank=1, arithmetic=Arithmetic()),
)
def factorize_svd(params: SvdParams, context: Context, *, model: Any, calibration: Any = None) -> dict[str, Any]:
    """Replace linear layers and convolutions by two thinner ones, where those are faster in int8.

    A convolution becomes one of the same kernel to `rank` channels and one of a single place. With rows the singular
    values are those of the weight times what its inputs are (SVD-LLM), so that what is cut is what answers need least.

    Helps when: wide layers are far from full rank, as in large heads and feed-forward blocks; training afterwards wins
                back more.
    Inputs:     model - with linear layers or convolutions in fp32; calibration - rows like those to come
    Outputs:    model - each layer that pays is a torch.nn.Sequential of two; factors - {"layers": [{"name", "rank",
                "full", "most", "energy"}], "left": {layer: why it stays whole}, "whitened", "parameters_before",
                "parameters_after"}. The measurements factorized_layers and left_layers count, parameters_removed is a
                share, and rank.LAYER is what a layer got. Where no layer pays at its rank the model stays as it is
    Fails:      PreconditionError when a weight is NaN or infinite; StepError when the model reads the weights of a
                layer itself
    Cost:       a forward pass over `rows` rows, and the singular values of each weight; memory is the Gram matrices of
                the layers' inputs, at most 512 MiB at once
    """
    from titrant.runtime.backends.torch.module import rewritten
    from titrant.runtime.factorize.factors import check, factorize, first_rows, give
    from titrant.runtime.operators.model.fold import with_plain_weights

    plain = with_plain_weights(model)
    usable = calibration is not None and len(calibration) > 0 and model.recurrence is None
    rows = first_rows(calibration, params.rows) if usable else None
    asked = (ENERGY if params.energy is None else params.energy, params.rank)
    done = factorize(plain, rows, asked, params.skip, context)
    made = model
    if done.factors:
        ranks = {name: len(kept.first) for name, kept in done.factors.items()}
        made = rewritten(plain, "factorize.svd", {"ranks": ranks})
        give(made.module, done.factors, plain.module)
        check(plain, made, rows)
    before, after = (sum(value.numel() for value in item.module.parameters()) for item in (model, made))
    context.measure("factorized_layers", len(done.factors))
    context.measure("left_layers", len(done.left))
    context.measure("parameters_removed", 1 - after / before)
    layers = []
    for name, kept in done.factors.items():
        context.measure(f"rank.{name}", len(kept.first))
        full = min(len(kept.second), kept.first.shape[1])
        most = done.placed[name].most_rank
        layers.append({"name": name, "rank": len(kept.first), "full": full, "most": most, "energy": kept.energy})
    factors = {"layers": layers, "left": dict(done.left), "whitened": done.whitened}
    return {"model": made, "factors": {**factors, "parameters_before": before, "parameters_after": after}}
