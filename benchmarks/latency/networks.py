"""The networks of the latency benchmark: those that constants were fitted to, and those that check them."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - it builds torch modules
from torch import nn  # noqa: TID253

from titrant.schema.facts import ModelFacts, TensorSpec
from titrant.schema.values.frozen import dataclass

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = Path(os.environ["TITRANT_DATA"])
sys.path[:0] = [
    str(HERE.parent), str(HERE.parent / "quantization"), str(ROOT / "tests" / "models"), str(DATA / "small_nets"),
]  # fmt: skip


@dataclass(frozen=True)
class Network:
    """How to build a network, and its inputs by name: the shape of one case, and whole numbers below `words`, or 0."""

    build: Callable[[], nn.Module]
    inputs: Mapping[str, tuple[tuple[int, ...], int]]

    def rows(self, count: int) -> dict[str, np.ndarray]:
        """Draw rows: normal numbers, or words."""
        generator = np.random.default_rng(0)
        return {
            name: generator.integers(1, words, (count, *shape)) if words
            else generator.standard_normal((count, *shape), dtype=np.float32)
            for name, (shape, words) in self.inputs.items()
        }  # fmt: skip

    def specs(self) -> tuple[TensorSpec, ...]:
        """Return the inputs as facts hold them."""
        return tuple(
            TensorSpec(name, ("batch", *shape), "int64" if words else "float32")
            for name, (shape, words) in self.inputs.items()
        )

    def facts(self, module: nn.Module) -> ModelFacts:
        """Inspect the network as a plan does."""
        from titrant.runtime.inspect.torch import describe_live

        return describe_live(module, self.specs())


def _made(module: str, name: str, *args: Any, **settings: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import importlib

        torch.manual_seed(0)
        made: nn.Module = getattr(importlib.import_module(module), name)(*args, **settings)
        return made.eval()

    return build


def _numbers(*shape: int) -> tuple[tuple[int, ...], int]:
    return shape, 0


FITTED = {
    "tabular": Network(_made("nets", "Tabular"), {"row": _numbers(108)}),
    "depthwise": Network(_made("nets", "Depthwise"), {"image": _numbers(1, 28, 28)}),
    "encoder": Network(_made("nets", "Encoder"), {"image": _numbers(1, 28, 28)}),
    "digits": Network(_made("titrant.recipes.models", "DigitsNet"), {"image": _numbers(1, 8, 8)}),
    "small_cnn": Network(_made("titrant.recipes.models", "SmallCnn"), {"image": _numbers(1, 28, 28)}),
    "resnet20": Network(_made("resnet20", "ResNet20"), {"image": _numbers(3, 32, 32)}),
    "rows_lstm": Network(_made("trained_nets", "RowsLstm"), {"image": _numbers(1, 28, 28)}),
    "two_halves": Network(
        _made("trained_nets", "TwoHalves"), {"top": _numbers(1, 14, 28), "bottom": _numbers(1, 14, 28)}
    ),
    "attending": Network(_made("fitted_nets", "Attending"), {"series": _numbers(100, 16)}),
    "gated": Network(_made("fitted_nets", "Gated"), {"image": _numbers(3, 48, 48)}),
    "mixer": Network(_made("fitted_nets", "Mixer"), {"patches": _numbers(49, 96)}),
    "pooled": Network(_made("fitted_nets", "Pooled"), {"image": _numbers(1, 64, 64)}),
    "recurring": Network(_made("fitted_nets", "Recurring"), {"series": _numbers(40, 12)}),
    "highway": Network(_made("fitted_nets", "Highway"), {"row": _numbers(40)}),
    "rotary": Network(_made("fitted_nets", "Rotary"), {"series": _numbers(48, 20)}),
}
UNSEEN = {
    "vit": Network(_made("unseen_nets", "Vit"), {"image": _numbers(3, 32, 32)}),
    "bert": Network(_made("unseen_nets", "Bert"), {"tokens": ((64,), 4000)}),
    "gpt": Network(_made("unseen_nets", "Gpt"), {"tokens": ((96,), 256)}),
    "unet": Network(_made("unseen_nets", "UNet"), {"image": _numbers(1, 64, 64)}),
    "mobilenet_v2": Network(_made("unseen_nets", "MobileNetV2"), {"image": _numbers(3, 96, 96)}),
    "bottlenecks": Network(_made("unseen_nets", "Bottlenecks"), {"image": _numbers(3, 32, 32)}),
    "tagger": Network(_made("unseen_nets", "Tagger"), {"tokens": ((30,), 3000)}),
    "tabnet": Network(_made("unseen_nets", "TabNet"), {"row": _numbers(54)}),
    "dlrm": Network(_made("unseen_nets", "Dlrm"), {"dense": _numbers(13), "codes": ((8,), 5000)}),
    "ecg": Network(_made("unseen_nets", "Ecg"), {"signal": _numbers(2, 500)}),
    "image_and_row": Network(_made("unseen_nets", "ImageAndRow"), {"image": _numbers(3, 40, 40), "row": _numbers(30)}),
    "decoder": Network(_made("trained_nets", "Decoder"), {"tokens": ((64,), 65)}),
    "llama": Network(_made("next_word", "NextWord"), {"tokens": ((64,), 512)}),
}
NETWORKS = {**FITTED, **UNSEEN}
