"""Hold `auto` against every method on ten models, and print what it must reach beside what it reached.

    TITRANT_DATA=/path python benchmarks/quantization/run.py [--quick] [--only NAME …] [--minutes 20] [--cache FOLDER]

Ten models: three of `small_nets`, the digits CNN, ResNet-20, the 260 K Llama, the face detector, and a decoder, an
LSTM and a network with two inputs, which scripts beside this one train for minutes and keep in --cache. For each,
`auto` runs in an empty home, and in another home, which shares what they have in common, all that it may take where
`export` asks for no format: fp32 in every engine, every method at every width that the level allows, and its variants.
Compiled packages, weights for other code and methods that `auto` uses by name only are not tried. The contract is the
same. What was released is then timed in
turns, in one process with one thread, by process CPU time.

Promises: `auto` within 5 % of the best of all, in at most a third of their CPU time, never slower than the best plain
conversion; speed where the processor has AMX or VNNI; sizes; every layer executed as planned. `--quick` takes four
models with fewer rows, and ends within twenty minutes: no model is begun after --minutes, and what was left out is
named. `--methods` restricts the exhaustive trial. `--only-check` writes and checks the recipes and runs nothing.
Results are written to --out as results.md and results.json. Exits 1 where a promise is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cases import MODELS, QUICK, BenchmarkModel, lay_out, prepare
from figures import as_json, markdown, promises
from measure import TITRANT, Measured, measure

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "titrant-benchmarks"


def timed_rows(model: BenchmarkModel, data: Path) -> Mapping[str, Any]:
    """Say where the rows come from that are timed."""
    if model.name == "digits":
        return {"rows": "rows:digits", "args": {}}
    if model.name == "resnet20":
        return {"rows": "cifar:load", "args": {"folder": f"{data}/cifar10_jpeg", "every": 100}}
    if model.name == "faces":
        return {"rows": "faces:load", "args": {"folder": f"{data}/ultralight_face", "count": 8}}
    source = {"tabular": "adult", "two_inputs": "halves", "decoder": "characters", "llama260k": "stories"}
    name = source.get(model.name, "fashion")
    return {"rows": f"rows:{name}", "args": {} if name == "stories" else {"train": 64}}


def machine() -> tuple[str, tuple[str, ...]]:
    """Name this machine's processor and its instruction sets."""
    import titrant

    identity = titrant.detect().identity
    return identity.cpu, tuple(name for name in identity.instructions if "=" not in name)


def chosen(options: argparse.Namespace) -> dict[str, BenchmarkModel]:
    """Return the models to run, in the order of the list."""
    names = options.only or (QUICK if options.quick else [model.name for model in MODELS])
    unknown = sorted(set(names) - {model.name for model in MODELS})
    if unknown:
        sys.exit(f"there is no model {', '.join(unknown)}: {', '.join(model.name for model in MODELS)}")
    return {model.name: model for model in MODELS if model.name in names}


def check(recipes: Mapping[str, Path], names: list[str], home: Path) -> int:
    """Check the recipes alone."""
    environment = {**os.environ, "TITRANT_HOME": str(home)}
    files = [recipes[name].name for name in names]
    return subprocess.run(
        [*TITRANT, "check", *files], cwd=next(iter(recipes.values())).parent, env=environment, check=False
    ).returncode


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="auto against every method", epilog=__doc__)
    parser.add_argument("--quick", action="store_true", help="four models, fewer rows, within twenty minutes")
    parser.add_argument("--only", nargs="*", default=[], help="models by name")
    parser.add_argument("--methods", nargs="*", default=[], help="methods of the exhaustive trial; none: all")
    parser.add_argument("--minutes", type=float, help="begin no model after these; --quick: 14")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of the timing; none: 60, or 150 without --quick")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder that keeps trained weights")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of results.md and results.json")
    parser.add_argument("--only-check", action="store_true", help="write and check the recipes, run nothing")
    return parser.parse_args()


def main() -> int:
    """Measure and print."""
    options, begun = arguments(), time.monotonic()
    if "TITRANT_DATA" not in os.environ:
        sys.exit("TITRANT_DATA names no folder: the models and rows are there")
    data, models = Path(os.environ["TITRANT_DATA"]).absolute(), chosen(options)
    minutes = options.minutes or (14 if options.quick else None)
    found: list[Measured] = []
    left: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        prepare(options.cache.absolute(), data, models)
        recipes = lay_out(work / "recipes", data, options.cache.absolute(), quick=options.quick)
        if options.only_check:
            return check(recipes, list(models), work / "home")
        rounds = options.rounds or (60 if options.quick else 150)
        for name, model in models.items():
            if minutes is not None and time.monotonic() - begun > 60 * minutes:
                left.append(name)
                continue
            rows = timed_rows(model, data)
            found.append(measure(name, recipes[name], work, rows, methods=options.methods, rounds=rounds))
    parameters = {model.name: model.parameters for model in MODELS}
    cpu, instructions = machine()
    text = markdown(found, parameters, cpu, instructions)
    if left:
        text += f"\nNot begun within {minutes:g} minutes: {', '.join(left)}.\n"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.md").write_text(text, "utf-8")
    (options.out / "results.json").write_text(
        json.dumps(as_json(found, parameters, instructions), indent=1) + "\n", "utf-8"
    )
    print(text)
    missed = [
        one for each in found for one in promises(each, parameters[each.model], instructions) if one.kept is False
    ]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
