"""Measure the first look at large models against its budgets, after checking that what it finds is exact.

    TITRANT_DATA=/path python benchmarks/inspection.py [--runs 3]

A model of seven billion parameters costs no disk here: its weights are a sparse file with a real safetensors header.
Every figure is of whole processes, with one thread and a fresh home; memory is the largest process of a command, its
children included. Digesting the content of the weights is not part of an inspection and is shown apart: a plan needs
it once for a file. Prints one line a budget and exits 1 when one is missed.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TITRANT = [sys.executable, "-m", "titrant"]
WIDTH, INNER, BLOCKS, VOCABULARY = 4096, 11008, 32, 32000
MIB = 1 << 20

MODELS = '''
"""A decoder of seven billion parameters, and a very deep net."""

import torch
from torch import nn
from torch.nn import functional


class Norm(nn.Module):
    """Scale by the root mean square."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Block(nn.Module):
    """Attention and a gated feed-forward net."""

    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)
        self.before, self.between = Norm(width), Norm(width)

    def forward(self, x):
        batch, places, width = x.shape
        y = self.before(x)
        q, k, v = (part(y).view(batch, places, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(seen.transpose(1, 2).reshape(batch, places, width))
        y = self.between(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """Shapes of Llama 7B (Touvron et al. 2023)."""

    def __init__(self, width=4096, blocks=32, heads=32, inner=11008, vocabulary=32000):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, inner) for _ in range(blocks))
        self.norm = Norm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Deep(nn.Module):
    """Many small layers."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.Sequential(*[nn.Linear(8, 8) for _ in range(layers)])

    def forward(self, x):
        return self.layers(x)
'''

DECODER = """\
titrant: 1
name: decoder
task: unlabeled
model:
  factory: models_here:Decoder
  weights: decoder.safetensors
  inputs: [{name: tokens, shape: [batch, 128], dtype: int64}]
"""

DEEP = """\
titrant: 1
name: deep
task: unlabeled
model:
  factory: models_here:Deep
  args: {layers: LAYERS}
  weights: included
  inputs: [{name: x, shape: [batch, 8]}]
"""


def shapes() -> dict[str, tuple[int, ...]]:
    """List the decoder's weights."""
    found: dict[str, tuple[int, ...]] = {"embed.weight": (VOCABULARY, WIDTH)}
    for block in range(BLOCKS):
        found |= {f"blocks.{block}.{name}.weight": (WIDTH, WIDTH) for name in "qkvo"}
        found |= {f"blocks.{block}.{name}.weight": (INNER, WIDTH) for name in ("gate", "up")}
        found[f"blocks.{block}.down.weight"] = (WIDTH, INNER)
        found |= {f"blocks.{block}.{name}.weight": (WIDTH,) for name in ("before", "between")}
    return found | {"norm.weight": (WIDTH,), "head.weight": (VOCABULARY, WIDTH)}


def write_sparse(file: Path) -> None:
    """Write a safetensors file of float16 whose header is real and whose values are a hole."""
    header, end = {}, 0
    for name, shape in shapes().items():
        size = 2
        for one in shape:
            size *= one
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        opened.truncate(8 + len(text) + end)


def measured(command: list[str], folder: Path, home: Path, codes: tuple[int, ...] = (0,)) -> tuple[float, float, float]:
    """Run a command, in a child of its own: wall seconds, processor seconds, and the MiB of its largest process."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        start = time.perf_counter()
        variables = {**os.environ, "TITRANT_HOME": str(home), "OMP_NUM_THREADS": "1", "CI": "true"}
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        spent = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        work, peak = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / MIB
        told = json.dumps([done.returncode, spent, work, peak, done.stderr[-500:]])
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        code, spent, work, peak, errors = json.load(pipe)
    if code not in codes:
        sys.exit(f"{command} exited {code}:\n{errors}")
    return spent, work, peak


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    missed: list[str] = []

    def report(name: str, samples: list[float], limit: float | None, unit: str) -> None:
        median = statistics.median(samples)
        kept = limit is None or median <= limit
        if not kept:
            missed.append(name)
        word = "      " if limit is None else "kept  " if kept else "MISSED"
        budget = "" if limit is None else f"  budget ≤ {limit:g}"
        spread = f"{min(samples):.2f} … {max(samples):.2f}, n={len(samples)}"
        print(f"{word}  {name:<58} {median:8.2f} {unit}  ({spread}){budget}", flush=True)

    exact = subprocess.run([sys.executable, str(Path(__file__).parent / "exact_facts.py")], check=False)
    missed += ["parameters and FLOPs"] if exact.returncode else []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "models_here.py").write_text(MODELS, "utf-8")
        write_sparse(folder / "decoder.safetensors")
        (folder / "decoder.yaml").write_text(DECODER, "utf-8")
        (folder / "deep.yaml").write_text(DEEP.replace("LAYERS", "10000"), "utf-8")
        (folder / "shallow.yaml").write_text(DEEP.replace("LAYERS", "10"), "utf-8")

        def first(*arguments: str) -> Callable[[int], tuple[float, float, float]]:
            # A plan of it may be refused for want of memory or disk, which is found out after all that is timed.
            home = f"home-{arguments[1]}-"
            return lambda run: measured([*TITRANT, *arguments], folder, folder / f"{home}{run}", (0, 3))

        for name, work, limit in (
            ("first inspection of 7 billion parameters, from the header", first("inspect", "decoder.safetensors"), 8),
            ("first inspection of 7 billion parameters, by the factory", first("inspect", "decoder.yaml"), 12),
        ):
            taken = [work(run) for run in range(runs)]
            report(name, [spent for spent, *_ in taken], limit, "s")
            report("  its processor time, whatever else runs", [work for _, work, _ in taken], None, "s")
            report("  its peak memory", [peak for *_, peak in taken], 900, "MiB")
        report("first plan of the same: with the digest of 13.5 GB",
               [first("plan", "decoder.yaml")(run + runs)[0] for run in range(min(runs, 2))], None, "s")  # fmt: skip

        home = folder / "home"
        pairs = []
        for name in ("deep.yaml", "shallow.yaml"):
            report(f"first plan of {name}", [measured([*TITRANT, "plan", name], folder, home)[0]], None, "s")
        for _ in range(runs):
            slow, quick = (
                measured([*TITRANT, "plan", name], folder, home)[0] for name in ("deep.yaml", "shallow.yaml")
            )
            pairs.append(slow - quick)
        report("plan of 10,000 layers over one of 10, facts cached", pairs, 1, "s")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
