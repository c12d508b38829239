"""Take the weakest hidden neurons out of a chain of linear layers, for good."""

from dataclasses import replace

from pydantic import Field

from titrant.runtime.catalog import Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet
from titrant.schema.plan import Prediction


class ToyPruneParams(Params):
    """How much is taken out."""

    sparsity: float = Field(0.5, ge=0, lt=1, description="fraction of the hidden neurons that is removed")


def requires(params, hardware, model):
    """Need torch and a linear layer."""
    unmet = missing(hardware, "torch")
    if model is None or any(layer.type == "Linear" for layer in model.layers):
        return unmet
    return (*unmet, Unmet("prune.toy needs linear layers", "take reduction.pruning out"))


def kept_of(count, sparsity):
    """Return how many of some neurons are kept."""
    return max(1, round(count * (1 - sparsity)))


def model_after(params, model):
    """Shrink the linear layers: all but the last lose outputs, all but the first inputs."""
    linear = [layer for layer in model.layers if layer.type == "Linear"]
    layers = tuple(
        smaller(layer, layer is not linear[0], layer is not linear[-1], params.sparsity) if layer in linear else layer
        for layer in model.layers
    )
    lost = sum(layer.parameters for layer in model.layers) - sum(layer.parameters for layer in layers)
    return replace(
        model,
        layers=layers,
        parameters=model.parameters - lost,
        trainable=model.trainable - lost,
        weight_bytes=model.weight_bytes - 4 * lost,
        flops=sum(layer.flops or 0 for layer in layers),
    )


def smaller(layer, inputs, outputs, sparsity):
    """Return a linear layer's facts with fewer inputs, outputs or both."""
    high, wide = layer.weight_shape
    rows, columns = kept_of(high, sparsity) if outputs else high, kept_of(wide, sparsity) if inputs else wide
    count = rows * columns + rows
    return replace(
        layer, parameters=count, weight_bytes=4 * count, weight_shape=(rows, columns), flops=2 * rows * columns
    )


def predict(params, hardware, model, work=NOTHING_KNOWN):
    """Count what is left."""
    if model is None:
        return Prediction()
    return modelled(hardware, 0.02, 2 * model.weight_bytes, torch_bytes(model_after(params, model)))


def rewrite(module, record):
    """Make the recorded layers smaller, in place."""
    import torch

    for name, (rows, columns) in record["kept"].items():
        layer = module.get_submodule(name)
        new = torch.nn.Linear(len(columns), len(rows), bias=layer.bias is not None)
        with torch.no_grad():
            new.weight.copy_(layer.weight[rows][:, columns])
            if layer.bias is not None:
                new.bias.copy_(layer.bias[rows])
        module.set_submodule(name, new)
    return module


@operator(
    "prune.toy",
    version=1,
    family="prune",
    params=ToyPruneParams,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    model_after=model_after,
    loads=("torch", "titrant.runtime.backends.torch.module"),
    libraries=("torch",),
    user_code=True,
    method=Method("toy", takes="torch", rank=1, arithmetic=Arithmetic()),
)
def prune_toy(params, context, *, model):
    """Remove the hidden neurons whose weights are smallest.

    Helps when: never; it is a toy.
    Inputs:     model - a chain of linear layers, each read by the next alone
    Outputs:    model - the same chain, narrower; the rewrite record says what was kept
    Fails:      never
    Cost:       one pass over the weights
    """
    import torch

    from titrant.runtime.backends.torch.module import rewritten

    linear = [(name, layer) for name, layer in model.module.named_modules() if isinstance(layer, torch.nn.Linear)]
    kept, columns = {}, None
    for place, (name, layer) in enumerate(linear):
        columns = columns if columns is not None else list(range(layer.in_features))
        rows = list(range(layer.out_features))
        if place < len(linear) - 1:
            strongest = layer.weight.detach().double().abs().sum(1).argsort(descending=True, stable=True)
            rows = sorted(strongest[: kept_of(layer.out_features, params.sparsity)].tolist())
        kept[name] = [rows, columns]
        columns = rows
    context.measure("kept_neurons", sum(len(rows) for rows, _ in kept.values()))
    return {"model": rewritten(model, "prune.toy", {"kept": kept})}
