"""Hold weights that a layer computes from others, as weight normalization does, as they come out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, modelled
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import TorchModel

_COPIED_BYTES_PER_SECOND = 100e6
# What computes a weight before each call, and torch's function that holds the weight instead.
_REMOVE = {"WeightNorm": "remove_weight_norm", "SpectralNorm": "remove_spectral_norm"}


class FoldParams(Params):
    """Nothing to choose: every weight that is computed is held."""


def requires(params: FoldParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch."""
    return missing(hardware, "torch")


def predict(params: FoldParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Count the weights, and a copy of them."""
    if model is None:
        return Prediction()
    seconds = 2 * BASE_SECONDS + model.weight_bytes / _COPIED_BYTES_PER_SECOND
    return modelled(hardware, seconds, 2 * model.weight_bytes, torch_bytes(model))


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Let every layer of a freshly built module that computes its weights hold them, in place."""
    import torch
    from torch.nn.utils import parametrize

    with torch.no_grad():
        for part in list(module.modules()):
            if parametrize.is_parametrized(part):
                _hold(part)
            for hook in _hooks(part):
                remove = getattr(torch.nn.utils, _REMOVE[type(hook).__name__])
                remove(part, hook.name)
                _forget(part)
    return module


def _hold(part: "torch.nn.Module") -> None:
    """Let a parametrized part hold its weights; torch's own way takes them out of a class that copies share."""
    import torch

    values = {name: getattr(part, name).detach().clone() for name in part._modules["parametrizations"]._modules}  # type: ignore[union-attr]
    # torch made the class, of the part's own and nothing else.
    part.__class__ = type(part).__bases__[0]
    del part._modules["parametrizations"]
    for name, value in values.items():
        part.register_parameter(name, torch.nn.Parameter(value))


def _forget(part: "torch.nn.Module") -> None:
    """Take out what spectral normalization asks of a state that is loaded: torch does not find it in its wrapper."""
    for hooks in (part._load_state_dict_pre_hooks, part._state_dict_hooks):
        for key, hook in list(hooks.items()):
            if type(getattr(hook, "hook", hook)).__name__.startswith("SpectralNorm"):
                del hooks[key]


def _hooks(part: "torch.nn.Module") -> list[Any]:
    """List what computes a weight before each call, as torch did before it had parametrizations."""
    return [hook for hook in part._forward_pre_hooks.values() if type(hook).__name__ in _REMOVE]


@operator(
    "model.fold",
    version=1,
    family="model",
    params=FoldParams,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.module"),
    libraries=("torch",),
    user_code=True,
)
def model_fold(params: FoldParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Hold weights that are computed from others, by weight, spectral or any other parametrization, as they come out.

    Helps when: a trained module that was normalized so runs in torch: it would compute the same weights on each call.
                What quantizes a live module does it by itself, and graphs are folded as they are exported.
    Inputs:     model - any module, in eval mode
    Outputs:    model - same answers to rounding; the measurement folded_layers counts the layers that changed
    Fails:      never of itself
    Cost:       a copy of the model
    """
    made = with_plain_weights(model)
    context.measure("folded_layers", len(computed(model.module)))
    return {"model": made}


def computed(module: "torch.nn.Module") -> tuple[str, ...]:
    """Name the layers that compute a weight from others."""
    from torch.nn.utils import parametrize

    return tuple(name for name, part in module.named_modules() if parametrize.is_parametrized(part) or _hooks(part))


def with_plain_weights(model: "TorchModel") -> "TorchModel":
    """Return a model whose layers hold their weights: the same one where they do."""
    from titrant.runtime.backends.torch.module import rewritten

    names = computed(model.module)
    for name in names:
        part = model.module.get_submodule(name)
        for hook in _hooks(part):  # what was computed last cannot be copied with its gradient, and is not read again
            setattr(part, hook.name, getattr(part, hook.name).detach())
    return rewritten(model, "model.fold", {}) if names else model
