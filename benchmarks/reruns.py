"""Run every shipped recipe, rerun it, and say whether it came out identical.

    python benchmarks/reruns.py [RECIPE…] [--clone]

Each recipe runs in a home of its own and is then run again by `titrant rerun` from what the first run stored, with its
source deleted. With `--clone` both run in a fresh clone of this repository's last commit, with this interpreter. Prints
one line a recipe: verdict, first cause where there is one, seconds of both; exits 1 unless every one is identical.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def titrant(arguments: list[str], folder: Path, home: Path, code: Path | None) -> tuple[int, str, float]:
    """Run titrant in a folder; `code` is the clone to import it from. Returns exit code, what it said, and seconds."""
    given = {**os.environ, "TITRANT_HOME": str(home), "OMP_NUM_THREADS": "1", "CI": "true"}
    if code is not None:
        given["PYTHONPATH"] = str(code / "src")
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "titrant", *arguments],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout if done.stdout else done.stderr, time.perf_counter() - begun


def repeat(recipe: Path, folder: Path, code: Path | None) -> dict[str, Any]:
    """Run a copy of a recipe, delete the copy, rerun, and return the comparison with the seconds of both."""
    copy, home = folder / recipe.name, folder / "home"
    shutil.copy(recipe, copy)
    exit_code, said, first = titrant(["run", "-q", copy.name], folder, home, code)
    if exit_code not in (0, 5):
        return {"verdict": "failed", "cause": said.strip(), "seconds": (first, 0.0)}
    copy.unlink()
    _, said, second = titrant(["rerun", "latest", "--json"], folder, home, code)
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        found = {"verdict": "failed", "cause": said.strip()}
    return {**found, "seconds": (first, second)}


def main() -> None:
    """Repeat the recipes that are named, or all that are shipped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE")
    parser.add_argument("--clone", action="store_true", help="use a fresh clone of the last commit")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as place:
        code = None
        if options.clone:
            code = Path(place) / "clone"
            subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(code)], check=True)
        files = sorted(((code or ROOT) / "recipes").glob("*.yaml"))
        shipped = [file for file in files if not file.name.endswith(".lock.yaml")]
        for recipe in options.recipes or shipped:
            folder = Path(place) / recipe.stem
            folder.mkdir()
            found = repeat(recipe, folder, code)
            failed |= found["verdict"] != "identical"
            first, second = found["seconds"]
            cause = f"  {found['cause']}" if found["cause"] else ""
            print(
                f"{found['verdict']:<12} {recipe.stem:<28} run {first:5.1f} s, rerun {second:5.1f} s{cause}", flush=True
            )
    sys.exit(failed)


if __name__ == "__main__":
    main()
