"""Time the evidence pack: how long making, signing and verifying it takes, by the size of the released model.

    python benchmarks/evidence.py [--megabytes 0,100,1000] [--rounds 5]

The shipped recipe runs once in a temporary home with `report.evidence: true`, and says itself how long its pack took;
then the pack is made again in this process, medians of rounds, with a file of so many megabytes beside the model.
Budget: 3 s. What grows with the model is SHA-256.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUDGET = 3.0


def released(home: Path) -> Path:
    """Run the shipped recipe with evidence, and return the run's folder."""
    recipe = home / "recipe.yaml"
    text = (ROOT / "recipes" / "breast_cancer.yaml").read_text("utf-8")
    recipe.write_text(text + "report: {evidence: true}\n", "utf-8")
    subprocess.run([sys.executable, "-m", "titrant", "run", "-q", recipe], env=os.environ, check=True)
    return next((home / "runs").iterdir())


def timed(rounds: int, work: Callable[[], object]) -> float:
    """Return the median of wall seconds."""
    seconds = []
    for _ in range(rounds):
        begun = time.monotonic()
        work()
        seconds.append(time.monotonic() - begun)
    return statistics.median(seconds)


def keys(folder: Path) -> tuple[Path, Path]:
    """Write a pair of keys."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    kind, locked = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(private.private_bytes(serialization.Encoding.PEM, kind, locked))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "key.pub").write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    return folder / "key.pem", folder / "key.pub"


def main() -> None:
    """Print a table: one line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", default="0,100,1000")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TITRANT_HOME"] = folder
        run = released(Path(folder))
        from titrant.runtime.evidence.keys import private_key, public_key
        from titrant.runtime.evidence.pack import make_pack
        from titrant.runtime.evidence.sign import sign_pack, verify_pack
        from titrant.schema.release import DOCUMENTS

        events = map(json.loads, (run / "journal.jsonl").read_text("utf-8").splitlines())
        own = next(event["seconds"] for event in events if event["event"] == "evidence")
        print(f"in the run itself: {own:.3f} s of at most {BUDGET:g}")
        private, public = keys(Path(folder))
        print("megabytes   make s   sign s   verify s")
        for megabytes in map(int, options.megabytes.split(",")):
            with (run / "outputs" / "weights.bin").open("wb") as file:
                file.truncate(megabytes << 20)
            made = timed(options.rounds, lambda: make_pack(run, tuple(DOCUMENTS), None))
            signed = timed(options.rounds, lambda: sign_pack(run, private_key(private)))
            verified = timed(options.rounds, lambda: verify_pack(run, public_key(public)))
            print(f"{megabytes:9d} {made:8.3f} {signed:8.3f} {verified:10.3f}")


if __name__ == "__main__":
    main()
