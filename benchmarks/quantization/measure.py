"""Run one model's recipe by `auto` and by every method, and time what was released side by side."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from titrant.compiler.decide.levels import LEVELS
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.schema.values.frozen import dataclass

HERE = Path(__file__).parent
TITRANT = [sys.executable, "-m", "titrant"]
AUTO = "auto"
# Of the level that the recipes name.
FEWEST_BITS = LEVELS["balanced"].fewest_bits


@dataclass(frozen=True)
class Ran:
    """One run of a recipe: its exit code, what it took, the folder of what it put out, and why it did not.

    `cpu` and `wall` are seconds, `layers` the places of layers and how many ran as planned (None: not read back).
    """

    name: str
    exit: int
    cpu: float
    wall: float
    folder: str = ""
    released: str = ""
    method: str = ""
    engine: str = ""
    size: int = 0
    digest: str = ""
    layers: tuple[int, int] | None = None
    because: str = ""


@dataclass(frozen=True)
class Measured:
    """All runs of one model, and the rounds of what they released: name → batch → CPU seconds of one run."""

    model: str
    runs: tuple[Ran, ...]
    rounds: Mapping[str, Mapping[str, list[float]]] = field(default_factory=dict)


def every_method() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what an exhaustive trial asks for: all that `auto` may take where `export` asks for no format.

    That is fp32 in every engine, and every method at every width that the level allows, and in every variant; not what
    `auto` makes on request only: compiled packages, weights for other code, methods that are used by name.
    """
    for engine in backend.names():
        if any(_considered(form) for form in backend.formats_of(engine)):
            yield f"fp32 in {engine}", {"quantization.method": "none", "target.engine": engine}
    for name in catalog.quantization_methods():
        method = catalog.get(catalog.method_operator(name)).method
        assert method is not None  # it is listed as one
        if method.by_name or not _considered(method.format) or not method.runs_on("cpu"):
            continue
        for bits in [width for width in method.bits or (8,) if width >= FEWEST_BITS]:
            wide = {"quantization.bits": str(bits)} if len(method.bits) > 1 else {}
            plain = {"quantization.method": name, **wide}
            yield (f"{name} {bits}" if wide else name), plain
            for variant in method.variants:
                options = {f"quantization.options.{key}": json.dumps(value) for key, value in variant.options.items()}
                yield f"{name}.{variant.suffix}", {**plain, **options}


def _considered(form: str) -> bool:
    """Whether `auto` makes a format that nobody asks for."""
    kind = backend.kind_of_format(form)
    return not kind.weights_for and not kind.unasked


def run(recipe: Path, home: Path, name: str, changes: Mapping[str, str]) -> Ran:
    """Run a recipe with changes in a home, and read what came of it; CPU time is that of all its processes."""
    environment = {**os.environ, "TITRANT_HOME": str(home), "OMP_NUM_THREADS": "1", "CI": "true"}
    options = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [*TITRANT, "run", recipe.name, *options],
        cwd=recipe.parent, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode != 0:
        said = (done.stderr if done.returncode != 5 else done.stdout).strip().splitlines()
        because = next((line for line in said if line.startswith("error")), said[0] if said else "")
        return Ran(name, done.returncode, cpu, wall, because=because[:200])
    latest = max(home.glob("runs/*/record.json"), key=lambda path: path.stat().st_mtime_ns).parent
    return _read(Ran(name, 0, cpu, wall, folder=str(latest)))


def _read(ran: Ran) -> Ran:
    from dataclasses import replace

    folder = Path(ran.folder)
    about = json.loads((folder / "outputs" / "titrant.json").read_bytes())["models"][0]
    record = json.loads((folder / "record.json").read_bytes())
    candidate = next(item for item in record["candidates"] if item["candidate"] == about["candidate"])
    return replace(
        ran, released=about["candidate"], method=about["method"], engine=about["engine"], size=candidate["size"],
        digest=about["artifact"], layers=_layers(candidate),
    )  # fmt: skip


def _layers(candidate: Mapping[str, Any]) -> tuple[int, int] | None:
    """Count the layers that were read back, and those that ran in the precision that was planned."""
    layers = candidate.get("layers")
    if not layers:
        return None
    kept = sum(_as_planned(layer) for layer in layers)
    return kept, len(layers)


def _as_planned(layer: Mapping[str, Any]) -> bool:
    """Whether a layer was found and ran as planned; where the choice was the engine's, whatever it chose is."""
    return layer["executed"] != "unknown" and layer["planned"] in (layer["executed"], "engine's choice")


def measure(
    model: str, recipe: Path, work: Path, timing: Mapping[str, Any], *, methods: list[str], rounds: int
) -> Measured:
    """Run a model's recipe by auto in one home, by every method in another that they share, and time the releases."""
    print(f"{model}: auto", file=sys.stderr, flush=True)
    runs = [run(recipe, work / f"home-auto-{model}", AUTO, {})]
    for name, changes in every_method():
        if methods and name.split(" ")[0] not in methods and changes["quantization.method"] != "none":
            continue
        print(f"{model}: {name}", file=sys.stderr, flush=True)
        runs.append(run(recipe, work / f"home-all-{model}", name, changes))
    files: dict[str, str] = {}
    seen: dict[str, str] = {}
    for ran in runs:
        if ran.exit == 0 and f"{ran.engine} {ran.digest}" not in seen:
            seen[f"{ran.engine} {ran.digest}"] = ran.name
            files[ran.name] = str(Path(ran.folder) / "outputs")
    if not files:
        return Measured(model, tuple(runs))
    request, answer = work / f"{model}-request.json", work / f"{model}-answer.json"
    request.write_text(json.dumps({**timing, "files": files, "batches": [1, 32], "rounds": rounds}), "utf-8")
    paths = os.pathsep.join([str(recipe.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    command = [sys.executable, str(HERE / "side_by_side.py"), str(request), str(answer)]
    subprocess.run(command, env=environment, check=True)
    answered = json.loads(answer.read_text("utf-8"))
    # The same file of two runs was timed once.
    return Measured(model, tuple(runs), {
        ran.name: answered[seen[f"{ran.engine} {ran.digest}"]] for ran in runs if ran.exit == 0
    })  # fmt: skip
