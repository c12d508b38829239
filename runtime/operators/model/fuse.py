"""Fold batch normalization into the layer before it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, modelled
from titrant.runtime.cost.sizes import folded_bytes, missing, torch_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    import torch
    from torch.overrides import TorchFunctionMode

    from titrant.runtime.values import TorchModel

# Finding out who reads whom, a layer, and copying and keeping the weights.
_LAYER_SECONDS = 0.0005
_COPIED_BYTES_PER_SECOND = 100e6


class FuseParams(Params):
    """Nothing to choose: every pair that can be folded is."""


def requires(params: FuseParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch."""
    return missing(hardware, "torch")


def predict(params: FuseParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN) -> Prediction:
    """Count the weights less three numbers a channel of every normalization: a bias is left."""
    if model is None:
        return Prediction()
    seconds = 2 * BASE_SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / _COPIED_BYTES_PER_SECOND
    size = torch_bytes(model) - model.weight_bytes + folded_bytes(model)
    return modelled(hardware, seconds, 3 * model.weight_bytes, size)


def idle(params: FuseParams, model: ModelFacts) -> bool:
    """Have nothing to do without a batch normalization."""
    return not any(layer.type.startswith("BatchNorm") for layer in model.layers)


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Fold the recorded pairs [layer, normalization] of a freshly built module, in place."""
    return fold(module, record["pairs"])


@operator(
    "model.fuse",
    version=1,
    family="model",
    params=FuseParams,
    inputs={"model": "torch"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.module"),
    libraries=("torch",),
    user_code=True,
    idle=idle,
)
def model_fuse(params: FuseParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Fold every batch normalization into the convolution or linear layer whose only reader it is.

    Helps when: the model runs in torch or as TorchScript; ONNX export and onnxruntime fold on their own.
    Inputs:     model - in eval mode; the running statistics become part of the weights
    Outputs:    model - same answers to rounding, normalizations replaced by identities; the measurement fused_pairs
                counts them, and is 0 where there was nothing to fold
    Fails:      PreconditionError when the forward takes decisions on tensor values, since then no one run shows which
                layer reads which
    Cost:       one forward pass of two zero cases and a copy of the model
    """
    result, pairs = fused_model(model)
    context.measure("fused_pairs", pairs)
    return {"model": result}


def fused_model(model: "TorchModel") -> "tuple[TorchModel, int]":
    """Return a model with every foldable pair folded, and how many there were; the given one stays as it is."""
    from titrant.runtime.backends.torch.call import refuse_decisions, zeros
    from titrant.runtime.backends.torch.determinism import tensor_of
    from titrant.runtime.backends.torch.module import rewritten

    arrays = zeros(model.inputs)
    module = model.module.eval()
    refuse_decisions(module, arrays)
    foldable = pairs(module, {name: tensor_of(array, copy=True) for name, array in arrays.items()})
    if not foldable:
        return model, 0
    return rewritten(model, "model.fuse", {"pairs": [list(pair) for pair in foldable]}), len(foldable)


def pairs(module: "torch.nn.Module", inputs: "Mapping[str, torch.Tensor]") -> list[tuple[str, str]]:
    """Find (layer, normalization) where the normalization alone reads the layer's only answer to some `inputs` by name.

    Seen on one forward pass, so it holds for every module whose path does not depend on values.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    from titrant.runtime.backends.torch.arguments import arguments_of

    watch = _Watch(module)
    try:
        with torch.inference_mode(), watch.counting():
            answer = arguments_of(module, tuple(inputs)).call(module, tuple(inputs.values()))
    finally:
        watch.remove()
    returned = {id(leaf) for leaf in tree_leaves(answer)}
    foldable = []
    for normalization, source in watch.reads.items():
        layer = watch.made.get(source)
        if layer is None or source in returned or watch.uses.get(source) != 1:
            continue
        if watch.calls[layer] == watch.calls[normalization] == 1 and _fits(module, layer, normalization):
            foldable.append((layer, normalization))
    return foldable


def fold(module: "torch.nn.Module", pairs: Iterable[Sequence[str]]) -> "torch.nn.Module":
    """Fold the named pairs in place: the layer takes over, the normalization becomes an identity."""
    import torch
    from torch.nn.utils import fusion

    for layer_name, normalization_name in pairs:
        layer: Any = module.get_submodule(layer_name)
        normalization: Any = module.get_submodule(normalization_name)
        trainable: bool = layer.weight.requires_grad
        folded: torch.nn.Module = (
            fusion.fuse_linear_bn_eval(layer, normalization)
            if isinstance(layer, torch.nn.Linear)
            else fusion.fuse_conv_bn_eval(layer, normalization)
        )
        module.set_submodule(layer_name, folded.requires_grad_(trainable))
        module.set_submodule(normalization_name, torch.nn.Identity().eval())
    return module


class _Watch:
    """Record which tensor each layer makes, which each normalization reads, and how often a tensor is read."""

    def __init__(self, module: "torch.nn.Module") -> None:
        self.made: dict[int, str] = {}
        self.reads: dict[str, int] = {}
        self.uses: dict[int, int] = {}
        self.calls: dict[str, int] = {}
        self._kept: list[Any] = []  # a tensor that is freed gives its id to the next one
        self._hooks = [
            hook
            for name, layer in module.named_modules()
            if _is_normalization(layer) or _is_layer(layer)
            for hook in self._watch(name, layer)
        ]

    def _watch(self, name: str, layer: "torch.nn.Module") -> tuple[Any, ...]:
        def entered(_layer: "torch.nn.Module", inputs: tuple[Any, ...]) -> None:
            self.calls[name] = self.calls.get(name, 0) + 1
            if _is_normalization(layer) and inputs:
                self.reads[name] = id(inputs[0])

        def left(_layer: "torch.nn.Module", _inputs: tuple[Any, ...], output: Any) -> None:
            if not _is_normalization(layer):
                self._kept.append(output)
                self.made[id(output)] = name

        return layer.register_forward_pre_hook(entered), layer.register_forward_hook(left)

    def remove(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()

    def counting(self) -> "TorchFunctionMode":
        """Return the mode under which every call of torch counts the tensors that it reads."""
        from torch.overrides import TorchFunctionMode
        from torch.utils._pytree import tree_leaves

        from titrant.runtime.backends.torch.call import SHAPE_ONLY

        watch = self

        class Counting(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
            ) -> Any:
                if func not in SHAPE_ONLY:
                    for leaf in tree_leaves((args, kwargs)):
                        if id(leaf) in watch.made:
                            watch.uses[id(leaf)] = watch.uses.get(id(leaf), 0) + 1
                return func(*args, **(kwargs or {}))

        return Counting()


def _is_layer(module: "torch.nn.Module") -> bool:
    import torch

    return isinstance(module, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear))


def _is_normalization(module: "torch.nn.Module") -> bool:
    import torch

    return isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d))


def _fits(module: "torch.nn.Module", layer_name: str, normalization_name: str) -> bool:
    """Whether the normalization works on the layer's output channels and has statistics to fold."""
    import torch

    layer: Any = module.get_submodule(layer_name)
    normalization: Any = module.get_submodule(normalization_name)
    if normalization.running_mean is None or _shared(module, layer) or _shared(module, normalization):
        return False
    channels = layer.out_features if isinstance(layer, torch.nn.Linear) else layer.out_channels
    return bool(channels == normalization.num_features)


def _shared(module: "torch.nn.Module", layer: "torch.nn.Module") -> bool:
    """Whether a weight of the layer is also another layer's."""
    own = {id(weight) for weight in layer.parameters()}
    elsewhere = [
        weight
        for other in module.modules()
        if other is not layer
        for weight in other.parameters(recurse=False)
        if id(weight) in own
    ]
    places = sum(submodule is layer for _, submodule in module.named_modules(remove_duplicate=False))
    return bool(elsewhere) or places > 1
