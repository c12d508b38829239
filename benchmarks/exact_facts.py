"""Compare the parameters and FLOPs that `titrant inspect` states with other ways of counting.

    TITRANT_DATA=/path python benchmarks/exact_facts.py

Models: those of the shipped recipes, ResNet-20, a Llama, and with TITRANT_DATA also the files there. Parameters are
compared with a sum by hand and with the numbers that the weights file has; FLOPs with a sum by hand, torch's own
counter, and for published files the shapes that onnxruntime really computes. Every torch model is also exported, and
its file compared with the module. Prints one line a figure and exits 1 when one differs at all.
"""

import math
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx  # noqa: TID253 - the benchmark counts with these libraries
import torch  # noqa: TID253
from torch.utils.flop_counter import FlopCounterMode  # noqa: TID253

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "models"), str(Path(__file__).parent)]

# stories260K (Karpathy, tinyllamas): width, inner, blocks, heads, heads of key and value, words, and places shown.
WIDTH, INNER, BLOCKS, HEADS, SHARED, WORDS, PLACES = 64, 172, 5, 8, 4, 512, 128
KEYS = WIDTH // HEADS * SHARED
LLAMA_PARAMETERS = (
    WORDS * WIDTH + BLOCKS * (2 * WIDTH + 2 * WIDTH * WIDTH + 2 * WIDTH * KEYS + 3 * WIDTH * INNER) + WIDTH
)
LLAMA_FLOPS = (
    2
    * PLACES
    * (BLOCKS * (2 * WIDTH * WIDTH + 2 * WIDTH * KEYS + 3 * WIDTH * INNER + 2 * PLACES * WIDTH) + WIDTH * WORDS)
)
# What stories260K's file holds beside its parameters: sines and cosines of 512 places for half a head.
LLAMA_EXTRA = 2 * 512 * WIDTH // HEADS // 2


@dataclass(frozen=True)
class Figure:
    """One quantity of one model, as titrant states it and as another method counts it."""

    model: str
    what: str
    found: int | None
    expected: int

    @property
    def line(self) -> str:
        """Write it as one line."""
        word = "kept  " if self.found == self.expected else "MISSED"
        found = "unknown" if self.found is None else f"{self.found:,}"
        return f"{word}  {self.model:<28} {self.what:<40} {found:>15}  = {self.expected:,}"


def resnet_flops() -> int:
    """Count ResNet-20 of He et al. 2015 by its table: three stages of six convolutions, and a linear layer."""
    stages = [(32, 16, 16), (16, 16, 32), (8, 32, 64)]
    flops = 32 * 32 * 16 * 3 * 9 + 64 * 10
    for side, before, width in stages:
        flops += side * side * 9 * (before * width + 5 * width * width)
    return 2 * flops


def resnet_parameters() -> int:
    """Count ResNet-20's weights, and scale and bias of each channel's normalization."""
    convolutions = 3 * 16 * 9 + sum(
        9 * (before * wide + 5 * wide * wide) for before, wide in ((16, 16), (16, 32), (32, 64))
    )
    return convolutions + 2 * (16 + 6 * (16 + 32 + 64)) + 64 * 10 + 10


@dataclass(frozen=True)
class Case:
    """A torch model: its factory and arguments, the inputs of a case, and both sums by hand."""

    factory: str
    args: dict[str, Any]
    inputs: tuple[dict[str, Any], ...]
    parameters: int
    flops: int


def _input(name: str, shape: tuple[int, ...], dtype: str = "float32") -> dict[str, Any]:
    return {"name": name, "shape": ["batch", *shape], "dtype": dtype}


MODELS = "titrant.recipes.models"
DIGITS = (64 * 9 + 64 * 64 * 9 + 64 * 128 * 9 + 128 * 128 * 9 + 2 * (64 + 64 + 128 + 128) + 1290,
          2 * (64 * (64 * 9 + 64 * 64 * 9) + 16 * (64 * 128 * 9 + 128 * 128 * 9) + 1280))  # fmt: skip
TABULAR = 2 * (30 * 128 + 128 * 64 + 64 * 2)
CASES = {
    "TabularNet": Case(f"{MODELS}:TabularNet", {"features": 30, "classes": 2}, (_input("x", (30,)),),
                       31 * 128 + 129 * 64 + 65 * 2, TABULAR),
    "DigitsNet": Case(f"{MODELS}:DigitsNet", {}, (_input("x", (1, 8, 8)),), *DIGITS),
    "SmallCnn": Case(f"{MODELS}:SmallCnn", {}, (_input("x", (1, 28, 28)),),
                     9 * (32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 258,
                     2 * (9 * (784 * 32 + 196 * 32 * 64 + 49 * 64 * 128) + 256)),
    "ResNet-20": Case("resnet20:ResNet20", {}, (_input("x", (3, 32, 32)),), resnet_parameters(), resnet_flops()),
    "Llama 260K": Case("llama:Llama", {}, (_input("x", (PLACES,), "int64"),), LLAMA_PARAMETERS, LLAMA_FLOPS),
}  # fmt: skip
# The shipped recipes, and the model of each.
RECIPES = {"breast_cancer": "TabularNet", "breast_cancer_critical": "TabularNet", "digits_cnn": "DigitsNet"}


def torch_figures(name: str, case: Case) -> Iterator[Figure]:
    """Compare a factory with a count by hand and by torch, and the exported file with the factory."""
    import titrant
    from titrant.runtime.backends.torch.factory import build

    stated = titrant.inspect(case.factory, args=case.args, input_specs=case.inputs).model
    yield Figure(name, "parameters, against a sum by hand", stated.parameters, case.parameters)
    yield Figure(name, "FLOPs, against a sum by hand", stated.flops, case.flops)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counting:
        build(case.factory, case.args).eval()(*_zeros(case))
    yield Figure(name, "FLOPs, against torch's counter", stated.flops, counting.get_total_flops())
    module = build(case.factory, case.args).eval()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
        torch.onnx.export(module, _zeros(case), f"{name}.onnx", dynamo=False, opset_version=17, input_names=["x"],
                          output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}})  # fmt: skip
    exported = titrant.inspect(f"{name}.onnx").model
    folded = sum(part.num_features for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d))
    yield Figure(name, "exported: parameters, less folded scales", exported.parameters, case.parameters - folded)
    yield Figure(name, "exported: FLOPs", exported.flops, case.flops)


def _zeros(case: Case) -> tuple[torch.Tensor, ...]:
    return tuple(torch.zeros(1, *one["shape"][1:], dtype=getattr(torch, one["dtype"])) for one in case.inputs)


def recipe_figures() -> Iterator[Figure]:
    """Compare what is stated of the shipped recipes with the models that they name."""
    import titrant

    for recipe, name in RECIPES.items():
        shutil.copy(ROOT / "recipes" / f"{recipe}.yaml", f"{recipe}.yaml")
        stated = titrant.inspect(f"{recipe}.yaml").model
        yield Figure(f"{recipe}.yaml", "parameters, against a sum by hand", stated.parameters, CASES[name].parameters)
        yield Figure(f"{recipe}.yaml", "FLOPs, against a sum by hand", stated.flops, CASES[name].flops)


def file_figures(data: Path) -> Iterator[Figure]:
    """Compare models with published files: their weights' numbers, and the shapes that onnxruntime computes."""
    import titrant

    def stated_of(name: str) -> int:
        case = CASES[name]
        return titrant.inspect(case.factory, args=case.args, input_specs=case.inputs).model.parameters

    state = torch.load(data / "resnet20_cifar10" / "resnet20-12fca82f.th", weights_only=True, map_location="cpu")
    yield Figure("ResNet-20", "parameters, against its weights file", stated_of("ResNet-20"),
                 _numbers(state["state_dict"]))  # fmt: skip
    floats = ((data / "stories260K" / "stories260K.bin").stat().st_size - 28) // 4
    yield Figure("Llama 260K", "parameters, against its weights file", stated_of("Llama 260K"), floats - LLAMA_EXTRA)
    for name in ("slim", "RFB"):
        file = data / "ultralight_face" / f"version-{name}-320.onnx"
        stated = titrant.inspect(str(file)).model
        state = torch.load(file.with_suffix(".pth"), weights_only=True, map_location="cpu")
        yield Figure(file.name, "parameters, against its weights file", stated.parameters, _numbers(state))
        yield Figure(file.name, "FLOPs, against onnxruntime's shapes", stated.flops, convolution_flops(file))


def _numbers(state: dict[str, torch.Tensor]) -> int:
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(tensor.numel() for name, tensor in state.items() if not name.endswith(statistics))


def convolution_flops(file: Path) -> int:
    """Run a graph whose only products are convolutions, and count them by what comes out of each."""
    import numpy as np
    import onnxruntime

    model = onnx.load(file)
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"MatMul", "Gemm", "ConvTranspose", "LSTM", "GRU", "Einsum"}, kinds
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in nodes)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    answers = session.run(None, {given.name: np.zeros(given.shape, np.float32)})
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return sum(2 * one.size * math.prod(weights[node.input[1]][1:]) for one, node in zip(answers, nodes, strict=True))


def figures(data: Path | None) -> Iterator[Figure]:
    """Yield every figure; works in a folder of its own, whose modules the factories are in."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["TITRANT_HOME"] = str(Path(place) / "home")
        sys.path.insert(0, place)
        try:
            shutil.copy(ROOT / "tests" / "models" / "resnet20.py", "resnet20.py")
            shutil.copy(Path(__file__).parent / "llama.py", "llama.py")
            yield from recipe_figures()
            for name, case in CASES.items():
                yield from torch_figures(name, case)
            if data is not None:
                yield from file_figures(data)
        finally:
            os.chdir(here)


def main() -> None:
    """Print every figure, and say how many differ."""
    warnings.simplefilter("ignore")
    missed = 0
    for figure in figures(Path(os.environ["TITRANT_DATA"]) if "TITRANT_DATA" in os.environ else None):
        print(figure.line, flush=True)
        missed += figure.found != figure.expected
    print(f"{missed} figures differ" if missed else "every figure is exact")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
