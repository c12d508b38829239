"""MLX: weights for a module that somebody writes in MLX, judged here by putting them back into the torch module."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from titrant.runtime.backends.backend import Backend, ExecutedLayer
from titrant.runtime.backends.model_kind import ModelKind, RunCost
from titrant.runtime.backends.stamp import SAFETENSORS
from titrant.schema.cost import Unmet
from titrant.schema.facts import Hardware


def _save(value: Any, folder: Path) -> None:
    from titrant.runtime.backends.mlx.weights import save_mlx

    save_mlx(value, folder)


def _load(file: Path) -> Any:
    from titrant.runtime.backends.mlx.weights import MlxModel

    return MlxModel(file)


def _weights_into(file: Path, live: Any) -> Any:
    from titrant.runtime.backends.mlx.weights import MlxModel, described, tensors_of
    from titrant.runtime.backends.torch.module import with_tensors

    model = MlxModel(file)
    said = described(model)
    return with_tensors(live, tensors_of(model, said), said["tied"])


def _tensors(file: Path) -> Sequence[tuple[str, Any]]:
    from safetensors.numpy import load_file

    return sorted(load_file(file).items())


def _open(model: Any, *, threads: int, device: str = "cpu") -> Any:
    from titrant.runtime.backends.mlx.weights import in_torch
    from titrant.runtime.backends.torch.session import open_session

    return open_session(in_torch(model), threads=threads, device=device)


def _executed(model: Any, *, threads: int = 1, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    from titrant.runtime.backends.mlx.weights import layers_of

    return layers_of(model, layers)


def _device_unmet(device: str, hardware: Hardware) -> Unmet | None:
    if device == "cpu":
        return None
    return Unmet("weights for MLX are judged on the CPU", "write target.device: cpu; MLX itself computes on Metal")


BACKEND = Backend(
    name="mlx",
    packages={"mlx": "mlx.core"},
    kinds={
        "mlx": ModelKind(
            name="mlx",
            title="weights for MLX",
            label="MLX",
            file="model.safetensors",
            save=_save,
            load=_load,
            tensors=_tensors,
            format="mlx",
            converts={"torch": "export.mlx"},
            user_code=True,
            weights_into=_weights_into,
            weights_for="MLX",
            stamp=SAFETENSORS,
        )
    },
    # What answers here is the torch module: its own costs.
    costs={
        "mlx": RunCost(
            reached=0.75,
            call_seconds=150e-6,
            layer_seconds=5e-6,
            convolution_seconds=100e-6,
            passes=3.0,
            held=2.5,
            launches=4.0,
            gpu_passes=3.0,
            open_seconds=0.02,
            open_layer_seconds=0.0005,
            open_byte_seconds=8e-9,
            open_copies=2,
        )
    },
    open=_open,
    executed=_executed,
    device_unmet=_device_unmet,
    loads={"mlx.core": 0.2},
)
