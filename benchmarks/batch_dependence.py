"""Print how far the answers of every candidate depend on who shares the batch, over shipped recipes and real models.

    TITRANT_DATA=/path python benchmarks/batch_dependence.py [--only NAME …]

Every recipe runs in one new home, with every method that can work there, and each of its candidates is a row: tuning
rows that are answered otherwise than in the judged batch, alone, in other company, and beside an outlier, and by how
much an answer moved, as a share of the largest.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prediction_cases import cases, lay_out

HEADS = ("recipe", "candidate", "rows", "scales", "alone", "company", "outlier")


def every_method(text: str) -> str:
    """Let a recipe consider every method and both formats, whatever it asks for; its contract does not matter here."""
    text = re.sub(r"(?m)^(quantization|export|search|level):.*\n", "", text)
    other = "" if re.search(r"(?m)^  onnx:", text) else ", {format: torchscript}"
    return f"{text}level: balanced\nquantization: {{method: auto}}\nexport: [{{format: onnx}}{other}]\n"


def rows(name: str, text: str, home: Path) -> Iterator[tuple[str, ...]]:
    """Run one recipe and yield a row for each candidate that answered."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        recipe = Path(folder) / f"{name}.yaml"
        recipe.write_text(text, "utf-8")
        environment = {**os.environ, "TITRANT_HOME": str(home), "OMP_NUM_THREADS": "1", "CI": "true"}
        command = [sys.executable, "-m", "titrant", "run", "--quiet", "--trust", str(recipe)]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        runs = sorted((home / "runs").glob(f"*-{json_name(text)}-*"))
        if not runs:
            yield name, f"did not run: {done.stderr.strip().splitlines()[:1]}", *[""] * 5
            return
        record = json.loads((runs[-1] / "report.json").read_bytes())["record"]
        for candidate, seen in record["values"]["invariance"].items():
            yield name, candidate, *figures(seen)


def json_name(text: str) -> str:
    """Return the name that a recipe gives itself."""
    match = re.search(r"(?m)^name: (.*)$", text)
    return match[1] if match else ""


def figures(seen: Mapping[str, Any]) -> tuple[str, ...]:
    """Write one candidate's figures."""
    ways = (_way(seen[name]) for name in ("alone", "company", "outlier"))
    return (str(seen["rows"]), "from the batch" if seen["scales"] else "fixed", *ways)


def _way(seen: Mapping[str, Any] | None) -> str:
    if seen is None:
        return "–"
    moved = "no number" if seen["apart"] is None else f"{100 * seen['apart']:.2g} %"
    return f"{seen['differ']} ({moved})"


def main() -> int:
    """Run all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    options = parser.parse_args()
    data = os.environ.get("TITRANT_DATA")
    home = Path(tempfile.mkdtemp(prefix="titrant-batch-"))
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    try:
        for name, text in cases(Path(data) if data else None).items():
            if not options.only or name in options.only:
                for row in rows(name, every_method(text), home):
                    print("| " + " | ".join(row) + " |", flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
