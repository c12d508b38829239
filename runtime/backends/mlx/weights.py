"""Write a module's weights as MLX lays them out, plain or quantized, and put them back into the torch module.

Names stay those of the torch module's layers, so that an MLX module whose attributes are named alike loads them with
`load_weights`. A convolution's weight has its channels last, (out, height, width, in), and a transposed one is
(out, height, width, in) too; what torch counts in `num_batches_tracked` MLX does not have. A quantized layer has
`weight` (packed in uint32, least significant first), `scales` and `biases` a group of 64, as `mlx.nn.QuantizedLinear`
and `QuantizedEmbedding` do: value = scale · number + bias.
"""

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.values import TorchModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import torch

    from titrant.runtime.backends.backend import ExecutedLayer

NAME = "model.safetensors"
GROUP = 64
# What of the file's description is MLX's: how each weight was laid out, and which layers are quantized.
_LAYOUT, _QUANTIZED = "layout", "quantized"
_CHANNELS_LAST, _TRANSPOSED = "channels_last", "transposed"
_DROPPED = "num_batches_tracked"


@dataclass(frozen=True)
class MlxModel:
    """A file of weights in MLX's layout; its metadata say which torch module they are of."""

    kind = "mlx"
    path: Path


def write(model: TorchModel, target: Path, *, bits: int | None = None, layers: Collection[str] = ()) -> MlxModel:
    """Write a module's weights, those of `layers` quantized to `bits` in groups of 64; the same bytes every time."""
    import torch
    from safetensors.torch import save_file

    from titrant.runtime.backends.torch.module import DESCRIPTION, description_of

    tensors, description = description_of(model)
    # Of a weight that two layers share the first alone is written.
    written = sorted(layer for layer in layers if f"{layer}.weight".lstrip(".") in tensors)
    layout = _layouts(model.module)
    laid_out: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        if part == _DROPPED:
            continue
        if layer in written and part == "weight":
            laid_out |= {f"{layer}.{key}".lstrip("."): value for key, value in quantized(tensor, bits or 8).items()}
        else:
            laid_out[name] = _permuted(tensor, layout.get(name, ""), back=False)
    said = {**description, _LAYOUT: layout, _QUANTIZED: {"bits": bits, "group_size": GROUP, "layers": written}}
    save_file(laid_out, str(target), metadata={DESCRIPTION: canonical_json(said)})
    return MlxModel(target)


def quantized(weight: "torch.Tensor", bits: int) -> "dict[str, torch.Tensor]":
    """Quantize a weight (rows, a multiple of 64) as MLX does: packed numbers, and a scale and bias a group."""
    import mlx.core as mx
    import numpy as np
    import torch

    packed, scales, biases = mx.quantize(mx.array(weight.float().numpy()), group_size=GROUP, bits=bits)
    return {
        "weight": torch.from_numpy(np.array(packed)),
        "scales": torch.from_numpy(np.array(scales)),
        "biases": torch.from_numpy(np.array(biases)),
    }


def dequantized(parts: "Mapping[str, torch.Tensor]", bits: int) -> "torch.Tensor":
    """Return the weight that MLX's own kernels multiply with, in fp32."""
    import mlx.core as mx
    import numpy as np
    import torch

    packed, scales, biases = (mx.array(parts[name].numpy()) for name in ("weight", "scales", "biases"))
    return torch.from_numpy(np.array(mx.dequantize(packed, scales, biases, group_size=GROUP, bits=bits)))


def in_torch(model: MlxModel) -> TorchModel:
    """Build the torch module anew and give it the file's weights, unpacked and in torch's layout.

    Raises StepError X212 for a file that holds no such weights, X214 where module and weights do not fit.
    """
    from titrant.runtime.backends.torch.module import built

    said = described(model)
    return built(said, tensors_of(model, said))


def tensors_of(model: MlxModel, said: Mapping[str, Any]) -> "dict[str, torch.Tensor]":
    """Return a file's weights as torch has them, by the names of the module's state; `said` is its description."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(model.path))
    except (OSError, SafetensorError) as error:
        raise _unreadable(model, type(error).__name__) from None
    about = said[_QUANTIZED]
    for layer in about["layers"]:
        names = {part: f"{layer}.{part}".lstrip(".") for part in ("weight", "scales", "biases")}
        weight = dequantized({part: tensors.pop(name) for part, name in names.items()}, about["bits"])
        tensors[names["weight"]] = weight
    return {name: _permuted(tensor, said[_LAYOUT].get(name, ""), back=True) for name, tensor in tensors.items()}


def described(model: MlxModel) -> dict[str, Any]:
    """Return what the file says of its module and of its layout; StepError X212 where it says nothing."""
    from safetensors import SafetensorError, safe_open

    from titrant.runtime.backends.torch.module import DESCRIPTION

    try:
        with safe_open(model.path, framework="np") as opened:
            said = dict(json.loads((opened.metadata() or {})[DESCRIPTION]))
        if {_LAYOUT, _QUANTIZED} <= {*said}:
            return said
        why = "it is not in MLX's layout"
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        why = type(error).__name__
    raise _unreadable(model, why)


def _unreadable(model: MlxModel, why: str) -> StepError:
    message = f"mlx cannot load {model.path.name}: {why}"
    return StepError(Diagnostic("X212", message, help="make the model again from its recipe"))


def layers_of(model: MlxModel, names: Collection[str] = ()) -> "tuple[ExecutedLayer, ...]":
    """Return each layer with weights in the precision that the file gives it: what an MLX module of it computes in.

    `names` are those of the original's layers.
    """
    from titrant.runtime.backends.backend import ExecutedLayer
    from titrant.runtime.backends.torch.executed import executed

    said = described(model)
    about = said[_QUANTIZED]
    written = {f"{layer}.weight" for layer in about["layers"]}
    packed = {*about["layers"], *(name.rpartition(".")[0] for name, first in said["tied"].items() if first in written)}
    return tuple(
        ExecutedLayer(layer.name, layer.node, f"int{about['bits']}", f"Quantized{layer.engine_op}")
        if layer.node in packed or "" in packed  # the whole module is one layer
        else layer
        for layer in executed(in_torch(model), layers=names)
    )


def quantizable(module: "torch.nn.Module") -> tuple[str, ...]:
    """Name the linear layers and embeddings in floating point whose rows are whole groups of 64."""
    import torch

    return tuple(
        name
        for name, layer in module.named_modules()
        if type(layer) in (torch.nn.Linear, torch.nn.Embedding)
        and layer.weight.is_floating_point()
        and layer.weight.shape[1] % GROUP == 0
    )


def _layouts(module: "torch.nn.Module") -> dict[str, str]:
    """Return how each convolution's weight is laid out otherwise than in torch."""
    from torch import nn

    plain, transposed = (nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    layouts: dict[str, str] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, (*plain, *transposed)):
            layouts[f"{name}.weight".lstrip(".")] = _TRANSPOSED if isinstance(layer, transposed) else _CHANNELS_LAST
    return layouts


def _permuted(tensor: "torch.Tensor", layout: str, *, back: bool) -> "torch.Tensor":
    if not layout:
        return tensor
    places = range(tensor.ndim)
    if layout == _TRANSPOSED:  # torch has (in, out, …)
        order = (places[-1], 0, *places[1:-1]) if back else (1, *places[2:], 0)
    else:
        order = (0, places[-1], *places[1:-1]) if back else (0, *places[2:], 1)
    return tensor.permute(order).contiguous()


def save_mlx(value: MlxModel, folder: Path) -> None:
    """Copy the file into a folder under its fixed name."""
    if value.path != folder / NAME:
        shutil.copyfile(value.path, folder / NAME)
