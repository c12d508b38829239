"""What titrant is measured on when there is much of everything: recipes, lines, layers, steps, stored results."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALL = (ROOT / "recipes" / "breast_cancer.yaml").read_text("utf-8")
NET = """\
from torch import nn


class Deep(nn.Module):
    def __init__(self, layers: int):
        super().__init__()
        self.first = nn.Linear(30, 4)
        self.layers = nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers)))
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.layers(self.first(x)))
"""
RECIPES, LINES, LAYERS, RESULTS = 200, 5_000, 10_000, 100_000
# The small plan has 25 steps. No recipe for it asks for more than 125, so half of the budget for 200 is given.
STEPS, STEPS_LIMIT = 100, 0.5


@dataclass(frozen=True)
class Case:
    """Two commands of which one has much more to do, each with its home; `limit` is in seconds.

    What counts is the difference of the two, or without `against` the one alone.
    """

    name: str
    command: tuple[str, ...]
    home: Path
    limit: float
    against: tuple[str, ...] = ()
    against_home: Path | None = None


Run = Callable[[list[str], Path], object]


def cases(folder: Path, run: Run) -> Iterator[Case]:
    """Write what each case needs below a folder, let `run` make what has to be there, and give the case."""
    home, small = folder / "home", _write(folder / "small.yaml", SMALL)
    texts = {f"many_{index}.yaml": SMALL.replace("breast-cancer", f"many-{index}") for index in range(RECIPES)}
    names = [_write(folder / name, text) for name, text in texts.items()]
    yield Case(f"titrant check, {RECIPES} recipes", ("check", "-q", *names), home, 2.0)
    long = _write(folder / "long.yaml", long_recipe())
    yield Case(f"titrant check, {LINES:,} lines", ("check", "-q", long), home, 1.0)
    _write(folder / "deepnet.py", NET)
    deep, shallow = (_write(folder / f"deep_{layers}.yaml", deep_recipe(layers)) for layers in (LAYERS, 3))
    yield _more(f"titrant plan, {LAYERS:,} layers more", deep, shallow, 1.0, home, run)
    wide = _write(folder / "wide.yaml", wide_recipe())
    yield _more(f"titrant plan, {STEPS} steps more", wide, small, STEPS_LIMIT, home, run)
    full = folder / "full"
    for place in (home, full):
        run(["run", "-q", small], place)
    fill(full, RESULTS)
    command = ("run", "-q", small)
    yield Case(f"titrant run reused, {RESULTS:,} results more", command, full, 0.3, command, home)
    large = folder / "large"
    run(["run", "-q", small], large)
    keep(large)
    verify = ("store", "verify", "-q")
    yield Case("titrant store verify, 1 GB more", verify, large, 1.0, verify, home)


def _more(name: str, much: str, little: str, limit: float, home: Path, run: Run) -> Case:  # noqa: PLR0917
    for recipe in (much, little):
        run(["plan", "-q", recipe], home)
    return Case(name, ("plan", much), home, limit, ("plan", little), home)


def _write(file: Path, text: str) -> str:
    file.write_text(text, "utf-8")
    return str(file)


def long_recipe() -> str:
    """Return a recipe of 5,000 lines without a mistake: groups of a column, and a gate for each of some of them."""
    groups = "".join(f"        g{index}: {index}\n" for index in range(LINES // 2))
    gates = "".join(
        f"    - metric: accuracy\n      slice: subgroup texture.g{index}\n      comparison: at_least\n"
        f"      threshold: 0.5\n      name: gate {index}\n"
        for index in range(LINES // 10)
    )
    subgroups = f"  subgroups:\n    texture:\n      column: mean texture\n      values:\n{groups}"
    return "".join(
        subgroups if line.startswith("  subgroups:") else f"validation:\n  retention: 0.97\n  gates:\n{gates}"
        if line.startswith("validation:") else line
        for line in SMALL.splitlines(keepends=True)
    )  # fmt: skip


def deep_recipe(layers: int) -> str:
    """Return a recipe for a model of so many equal layers."""
    factory = SMALL.replace("titrant.recipes.models:TabularNet", "deepnet:Deep").replace("breast-cancer", "deep")
    return factory.replace("{features: 30, classes: 2}", f"{{layers: {layers}}}")


def wide_recipe() -> str:
    """Return a recipe that asks for every file that can be made, each a search of its own: 125 steps."""
    files = [f"  - {{format: onnx, opset: {opset}, name: m{opset}}}\n" for opset in range(14, 21)]
    files.append("  - {format: torchscript, name: script}\n")
    return SMALL.replace("export: [{format: onnx}]", "export:\n" + "".join(files)).replace("breast-cancer", "wide")


def keep(home: Path) -> None:
    """Add a gigabyte to a store: three large models and hundreds of small ones."""
    from titrant.runtime.store.artifacts import Blobs

    blobs = Blobs(home / "store" / "blake3")
    for index, size in enumerate([250_000_000] * 3 + [1_000_000] * 240 + [50_000] * 200):
        file = home / "unfinished" / f"model{index}"
        file.write_bytes(os.urandom(size))
        blobs.adopt(file)


def fill(home: Path, count: int) -> None:
    """Add results under keys that no step has; their files are links, so that only their number is large."""
    kept = [place for place in (home / "results").iterdir() if place.is_dir()]
    for index in range(count):
        source = kept[index % len(kept)]
        target = home / "results" / hashlib.sha256(str(index).encode()).hexdigest()
        target.mkdir()
        for file in source.iterdir():
            os.link(file, target / file.name)
