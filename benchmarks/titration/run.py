"""Hold titration against the best uniform method, the plain conversion and NNCF's accuracy control.

    TITRANT_DATA=/path python benchmarks/titration/run.py [--quick] [--only CASE …] [--seeds 20] [--out FOLDER]

Three networks, which `networks.py` makes (the third it trains, for minutes), each with half a point and a point of
accuracy to lose; Fashion-MNIST's test rows in halves, one to tune on and one to judge by, and 256 training rows to
calibrate on. For each: titrant's own run; the same recipe for every uniform method, with nothing repaired and nothing
mixed; the plain conversion; and `nncf.quantize_with_accuracy_control` on the plain file, with the same rows and the
same tolerance. What they gave is timed in turns, in one process with one thread, by process CPU time, and asked again
on both halves. Then titrant runs once more for each of --seeds other ways to part the rows.

Promises: a repaired network keeps within .2 points, at 1.25 × the best uniform file that keeps the contract, in at
most five evaluations; a mixture of `clipped` is 1.10 × that at half a point and 1.20 × at one; never slower than it;
latency of mixtures predicted within 5 % in the middle and 10 % at worst; every layer executed as planned; NNCF takes at
least three times the evaluations for a file that is no better; the contract holds on judge rows in 19 of 20 seeds.
`--quick` takes three cases with the uniform methods of `ort.static` and one seed more, and ends within twenty minutes
on a machine with two cores of its own: no case is begun after --minutes. Results go to --out as results.md and
results.json. Exits 1 where a promise is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "quantization"))

from measure import Ran, every_method, run
from networks import CACHE, prepare
from promises import as_json, markdown, promises
from titration_cases import CASES, QUICK, TitrationCase, lay_out
from tried import Titrated, evaluated, lost_on_judge_rows, predicted_and_measured

HERE = Path(__file__).parent
ALONE = {"quantization.repair": "none", "search.mix_layers": "false"}
ANYWHERE = {"target.engine": "auto", "export": "[{format: auto}]"}


def uniform(*, quick: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every uniform method and conversion with what asks for it; only those of ort.static where it is quick."""
    yield "fp32 in onnxruntime", {"quantization.method": "none"}
    for name, changes in every_method():
        if name == "fp32 in onnxruntime" or (quick and not name.startswith("ort.static")):
            continue
        yield name, {**ANYWHERE, **changes, **(ALONE if changes["quantization.method"] != "none" else {})}


def measure(case: TitrationCase, work: Path, data: Path, options: argparse.Namespace) -> Titrated:
    """Run everything for one case."""
    recipe = lay_out(work / "recipes", data, options.cache, case, quick=options.quick)
    home = work / f"home-{case.name}"
    runs = [run(recipe, home, "titrant", {})]
    for name, changes in uniform(quick=options.quick):
        print(f"{case.name}: {name}", file=sys.stderr, flush=True)
        runs.append(run(recipe, work / f"home-uniform-{case.name}", name, changes))
    plain = next(ran for ran in runs if ran.name == "fp32 in onnxruntime")
    if plain.exit != 0:
        sys.exit(f"{case.name}: the plain conversion was not released: {plain.because}")
    print(f"{case.name}: nncf and timing", file=sys.stderr, flush=True)
    request = {
        "seed": 0,
        "points": case.points,
        "plain": str(Path(plain.folder) / "outputs" / "model.onnx"),
        "files": {ran.name: str(Path(ran.folder) / "outputs") for ran in runs if ran.exit == 0 and ran is not plain},
        "rounds": options.rounds or (60 if options.quick else 200),
        "nncf": str(work / f"{case.name}-nncf.onnx"),
    }
    answer = ask_rivals(request, work / case.name, recipe.parent)
    seeds = [at_seed(case, seed, work, data, options) for seed in range(1, options.seeds + 1)]
    return Titrated(
        case=case,
        runs=tuple(runs),
        evaluations=evaluated(home),
        predictions=predicted_and_measured(home),
        answer=answer,
        seeds=tuple(seeds),
    )


def ask_rivals(request: Mapping[str, Any], stem: Path, modules: Path) -> dict[str, Any]:
    """Let rivals.py answer, in a process whose path has the modules of the recipes."""
    asked, answered = stem.with_suffix(".request.json"), stem.with_suffix(".answer.json")
    asked.write_text(json.dumps(request), "utf-8")
    paths = os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    subprocess.run([sys.executable, str(HERE / "rivals.py"), str(asked), str(answered)], env=environment, check=True)
    found: dict[str, Any] = json.loads(answered.read_text("utf-8"))
    return found


def at_seed(case: TitrationCase, seed: int, work: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run titrant with the rows parted in another way, in a home of its own: looks at other rows are none at these."""
    print(f"{case.name}: seed {seed}", file=sys.stderr, flush=True)
    recipe = lay_out(work / "recipes", data, options.cache, case, seed=seed, quick=True)
    home = work / f"home-{case.name}-{seed}"
    ran: Ran = run(recipe, home, f"seed {seed}", {})
    return {"seed": seed, "exit": ran.exit, "released": ran.released, "judged": lost_on_judge_rows(home)}


def machine() -> tuple[str, tuple[str, ...]]:
    """Name this machine's processor and its instruction sets."""
    import titrant

    identity = titrant.detect().identity
    return identity.cpu, tuple(name for name in identity.instructions if "=" not in name)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="titration against its rivals", epilog=__doc__)
    parser.add_argument("--quick", action="store_true", help="three cases, fewer rivals, within twenty minutes")
    parser.add_argument("--only", nargs="*", default=[], help=f"cases: {', '.join(case.name for case in CASES)}")
    parser.add_argument("--minutes", type=float, help="begin no case after these; --quick: 13")
    parser.add_argument("--seeds", type=int, help="other ways to part the rows; none: 20, or 1 with --quick")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of the timing; none: 200, or 60 with --quick")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder that keeps the networks' weights")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of results.md and results.json")
    options = parser.parse_args()
    options.seeds = (1 if options.quick else 20) if options.seeds is None else options.seeds
    options.minutes = (13 if options.quick else None) if options.minutes is None else options.minutes
    options.cache = options.cache.absolute()
    return options


def chosen(options: argparse.Namespace) -> list[TitrationCase]:
    """Return the cases to run."""
    names = options.only or (QUICK if options.quick else [case.name for case in CASES])
    unknown = sorted(set(names) - {case.name for case in CASES})
    if unknown:
        sys.exit(f"there is no case {', '.join(unknown)}: {', '.join(case.name for case in CASES)}")
    return [case for case in CASES if case.name in names]


def main() -> int:
    """Measure and print; what was measured is written after every case."""
    options = arguments()
    if "TITRANT_DATA" not in os.environ:
        sys.exit("TITRANT_DATA names no folder: the networks and rows are there")
    data, measured, left = Path(os.environ["TITRANT_DATA"]).absolute(), [], []
    prepare(options.cache)
    begun, text = time.monotonic(), ""
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for case in chosen(options):
            if options.minutes is not None and time.monotonic() - begun > 60 * options.minutes:
                left.append(case.name)
                continue
            measured.append(measure(case, Path(place), data, options))
            text = markdown(measured, *machine())
            text += f"\nNot begun within {options.minutes:g} minutes: {', '.join(left)}.\n" if left else ""
            (options.out / "results.md").write_text(text, "utf-8")
            (options.out / "results.json").write_text(json.dumps(as_json(measured), indent=1) + "\n", "utf-8")
    if left:
        text += f"\nNot begun within {options.minutes:g} minutes: {', '.join(left)}.\n"
        (options.out / "results.md").write_text(text, "utf-8")
    print(text)
    return 1 if any(one.kept is False for each in measured for one in promises(each)) else 0


if __name__ == "__main__":
    sys.exit(main())
