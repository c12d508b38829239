"""Set `titrant.layers` beside torch.profiler, torchinfo and fvcore on the same networks: times, FLOPs, parameters.

    python benchmarks/instruments/layers_peers.py [SECONDS] [small]

With `small` only the last table is made: what the rows of networks under a few milliseconds add up to in each engine,
one case and sixteen at once, the digits CNN and, where TITRANT_DATA names the data sets, those of small_nets.

torchinfo and fvcore are used where they are installed (pip install torchinfo fvcore, in an environment of their own),
and left out elsewhere. Times are CPU time of one thread: each layer's of `titrant.layers`, in two profiles, beside
torch.profiler's self CPU time of the operations in the same modules. Prints a table a network, and exits 1 where
FLOPs or parameters differ from a count by hand, or the rows of a profile are more than 10 % off a batch.
"""

import importlib.util
import itertools
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch  # noqa: TID253 - the benchmark profiles with it

import titrant
from titrant.runtime.backends.profile import undisturbed

ENGINES = ("torch", "onnxruntime", "openvino")
RUNS = 30
# How far rows may be off a batch.
APART = 0.1


class Residual(torch.nn.Module):
    """Two convolutions with normalization, and a sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = torch.nn.BatchNorm2d(width)
        self.conv2 = torch.nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = torch.nn.BatchNorm2d(width)
        self.act = torch.nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer (batch, width, height, width)."""
        return self.act(x + self.norm2(self.conv2(self.act(self.norm1(self.conv1(x))))))


class Attending(torch.nn.Module):
    """A block of a transformer, written by hand."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)
        self.act = torch.nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer (batch, places, width)."""
        rows, places, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(rows, places, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, places, width))
        return x + self.down(self.act(self.up(self.norm2(x))))


class Flat(torch.nn.Module):
    """Two blocks of a transformer, and a head on the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Sequential(Attending(64, 4), Attending(64, 4))
        self.head = torch.nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer (batch, 10)."""
        return self.head(self.blocks(x).mean(1))


@dataclass(frozen=True)
class Network:
    """A network, a batch for it, and its parameters and FLOPs counted by hand."""

    name: str
    make: Callable[[], torch.nn.Module]
    batch: torch.Tensor
    parameters: int
    flops: int


def networks() -> Iterator[Network]:
    """Yield a perceptron, a residual network and a transformer."""
    perceptron = torch.nn.Sequential
    sizes = (256, 512, 512, 10)
    pairs = list(itertools.pairwise(sizes))
    yield Network(
        "perceptron",
        lambda: perceptron(*(part for a, b in pairs for part in (torch.nn.Linear(a, b), torch.nn.ReLU()))),
        torch.randn(32, 256), sum(a * b + b for a, b in pairs), 2 * 32 * sum(a * b for a, b in pairs),
    )  # fmt: skip
    rows, side, width = 4, 32, 32
    stem, conv = 3 * width * 9, width * width * 9
    yield Network(
        "residual",
        lambda: torch.nn.Sequential(
            torch.nn.Conv2d(3, width, 3, padding=1), *(Residual(width) for _ in range(4)),
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 10),
        ),
        torch.randn(rows, 3, side, side),
        stem + width + 8 * (conv + 2 * width) + width * 10 + 10,
        2 * rows * (side * side * (stem + 8 * conv) + width * 10),
    )  # fmt: skip
    rows, places, width = 4, 96, 64
    block = 12 * width * width
    yield Network(
        "transformer", Flat, torch.randn(rows, places, width),
        2 * (block + 4 * width + 9 * width) + width * 10 + 10,
        2 * rows * (2 * (places * block + 2 * places * places * width) + width * 10),
    )  # fmt: skip


def peers(network: Network, module: torch.nn.Module) -> dict[str, tuple[int | None, int | None]]:
    """Return {library: (parameters, FLOPs)}; what counts multiply-adds is doubled."""
    counts: dict[str, tuple[int | None, int | None]] = {"by hand": (network.parameters, network.flops)}
    try:
        import torchinfo

        found = torchinfo.summary(module, input_data=network.batch, verbose=0)
        counts["torchinfo"] = (found.total_params, 2 * found.total_mult_adds)
    except ImportError:
        pass
    try:
        from fvcore.nn import FlopCountAnalysis, parameter_count

        analysis = (
            FlopCountAnalysis(module, network.batch).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        )
        counts["fvcore"] = (parameter_count(module)[""], int(2 * analysis.total()))
    except ImportError:
        pass
    return counts


def profiler_seconds(network: Network, module: torch.nn.Module) -> dict[str, float]:
    """Return {module: CPU seconds of a batch} by torch.profiler, of the modules that mark themselves.

    torch.profiler has no rows for modules: each is marked by `record_function`, which is what has to be written today.
    """
    marks = []
    parts = {name: part for name, part in module.named_modules() if name and not [*part.children()]}
    for name, part in parts.items():

        def enter(part: torch.nn.Module, _: object, name: str = name) -> None:
            part._mark = torch.profiler.record_function(f"layer {name}")
            part._mark.__enter__()

        def leave(part: torch.nn.Module, *_: object) -> None:
            part._mark.__exit__(None, None, None)

        marks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        with torch.inference_mode():
            for _ in range(3):
                module(network.batch)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                for _ in range(RUNS):
                    module(network.batch)
    finally:
        for mark in marks:
            mark.remove()
    taken: dict[str, list[float]] = {}
    for event in profile.events():
        if event.name.startswith("layer "):
            taken.setdefault(event.name.removeprefix("layer "), []).append(event.cpu_time_total * 1e-6)
    # The same statistic as titrant's; the table of torch.profiler has means, which a busy machine spoils.
    return {name: undisturbed(values) * len(values) / RUNS for name, values in taken.items()}


def small_networks() -> Iterator[tuple[str, torch.nn.Module, tuple[int, ...]]]:
    """Yield name, module and the shape of a case of networks that answer one in less than a few milliseconds."""
    from titrant.recipes.models import DigitsNet

    yield "digits CNN", DigitsNet(10), (1, 8, 8)
    file = Path(os.environ.get("TITRANT_DATA", "")) / "small_nets" / "nets.py"
    if not file.is_file():
        print("small_nets are left out: TITRANT_DATA names no folder that has them")
        return
    loaded = importlib.util.spec_from_file_location("nets", file)
    assert loaded is not None
    assert loaded.loader is not None
    nets = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(nets)
    yield "tabular", nets.Tabular(), (108,)
    yield "depthwise", nets.Depthwise(), (1, 28, 28)
    yield "encoder", nets.Encoder(), (1, 28, 28)


def add_up(seconds: float) -> int:
    """Print what rows add up to in each engine, and return how many are off by more than a tenth."""
    print(f"\n{'rows add up to':14}{'cases':>6}" + "".join(f"{engine:>24}" for engine in ENGINES))
    wrong = 0
    for name, module, shape in small_networks():
        for cases in (1, 16):
            cells = []
            for engine in ENGINES:
                profile = titrant.layers(module.eval(), torch.rand(cases, *shape), engine=engine, seconds=seconds)
                wrong += abs(profile.added_up - 1) > APART
                cells.append(f"{profile.added_up:.1%} of {profile.cpu_seconds * 1e6:,.0f} µs")
            print(f"{name:14}{cases:>6}" + "".join(f"{cell:>24}" for cell in cells), flush=True)
    return wrong


def main() -> int:
    """Compare, print, and return 1 where counts differ or times do not add up."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    if sys.argv[2:] == ["small"]:
        return 1 if add_up(seconds) else 0
    wrong = 0
    for network in networks():
        torch.manual_seed(0)
        module = network.make().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        print(f"\n{network.name}: {len(network.batch)} rows")
        for library, (parameters, flops) in peers(network, module).items():
            print(f"  {library:28}{parameters:>12,} parameters{flops or 0:>16,} FLOPs")
        for engine in ENGINES:
            profile = titrant.layers(module, network.batch, engine=engine, seconds=seconds)
            exact = profile.flops == network.flops and (engine != "torch" or profile.parameters == network.parameters)
            close = abs(profile.added_up - 1) <= APART
            wrong += not (exact and close)
            added = profile.overhead_seconds / profile.cpu_seconds
            counts = f"{profile.parameters:>12,} parameters{profile.flops or 0:>16,} FLOPs"
            print(
                f"  titrant.layers, {engine:12}{counts}   "
                f"rows add up to {profile.added_up:.1%}, profile adds {added:.1%}"
                f"{'' if exact and close else '   WRONG'}"
            )
        _times(network, module, seconds)
    return 1 if add_up(seconds) or wrong else 0


def _times(network: Network, module: torch.nn.Module, seconds: float) -> None:
    """Print the layers that take longest beside torch.profiler's figures."""
    first, second = (titrant.layers(module, network.batch, seconds=seconds) for _ in range(2))
    again = {layer.name: layer.time for layer in second.layers}
    theirs = profiler_seconds(network, module)
    ratios = []
    print(f"  {'layer':24}{'titrant':>10}{'again':>10}{'torch.profiler':>16}")
    for layer in first.slowest(6):
        if layer.name in theirs:
            ratios.append(theirs[layer.name] / layer.time)
            print(f"  {layer.name:24}{layer.time * 1e6:>8.1f} µs{again[layer.name] * 1e6:>8.1f} µs"
                  f"{theirs[layer.name] * 1e6:>13.1f} µs")  # fmt: skip
    print(f"  torch.profiler / titrant, median: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    raise SystemExit(main())
