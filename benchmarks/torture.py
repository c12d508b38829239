"""Kill runs at random instants, and run several at once in one home: nothing may be lost, done twice or made up.

    python benchmarks/torture.py [--kills 100] [--recipe NAME …] [--at-once 4] [--seed 0]

For each recipe an undisturbed run comes first. Then, in a home of its own, the whole process group of the run is killed
(SIGKILL) at a random instant, again and again, until so many kills are spent; a last run completes. A killed run is
given a little longer each time it finished nothing, so that the work goes on; when a recipe is done before the kills
are spent, its home is emptied and it begins anew. Then several processes run the same and overlapping recipes in one
home at once. Prints one line a figure and exits 1 when a promise is broken.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TITRANT = [sys.executable, "-m", "titrant"]
broken: list[str] = []


def environment(home: Path) -> dict[str, str]:
    """Return the environment of every run: one thread, a home of its own."""
    return {**os.environ, "TITRANT_HOME": str(home), "OMP_NUM_THREADS": "1", "CI": "true"}


def start(recipe: str, home: Path, *more: str) -> subprocess.Popen[str]:
    """Start a run in a process group of its own, which the worker of a run is not in: both are killed."""
    command = [*TITRANT, "run", "-q", str(ROOT / "recipes" / f"{recipe}.yaml"), *more]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(home), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def complete(recipe: str, home: Path, *more: str) -> Mapping[str, Any]:
    """Run a recipe to its end and return its record."""
    process = start(recipe, home, *more)
    _, err = process.communicate()
    if process.returncode not in (0, 5):
        sys.exit(f"{recipe} exited {process.returncode}: {err}")
    record: Mapping[str, Any] = json.loads(sorted(home.glob("runs/*/record.json"))[-1].read_text("utf-8"))
    return record


def promise(kept: bool, text: str) -> None:
    """Print whether a promise was kept."""
    print(f"{'kept   ' if kept else 'BROKEN '} {text}", flush=True)
    if not kept:
        broken.append(text)


def events(home: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the events of every journal of a home; a line that a kill cut short is left out."""
    for journal in home.glob("runs/*/journal.jsonl"):
        for line in journal.read_bytes().split(b"\n"):
            try:
                yield json.loads(line)
            except ValueError:
                continue


def finished(home: Path) -> Counter[str]:
    """Count how often each step key finished in a home."""
    return Counter(event["key"] for event in events(home) if event["event"] == "finished")


def exact_digests(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the outputs of steps whose key a run has, by key and port, but for what is measured or made of it."""
    measured = ("profile.latency", "validate.contract", "report.render")
    return {
        f"{step['key']}.{port}": artifact["digest"]
        for step in record["steps"]
        if step["result"] and step["result"]["operator"] not in measured
        for port, artifact in step["result"]["outputs"].items()
    }


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a run and its worker, which has a session of its own, as power loss would: at once."""
    children = _children(process.pid)
    for pid in (process.pid, *children):
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    process.wait()


def _children(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def torture(recipe: str, kills: int, folder: Path, instants: random.Random) -> None:
    """Kill runs of one recipe until the kills are spent."""
    undisturbed = complete(recipe, folder / "undisturbed")
    home, rounds, done, longest = folder / "tortured", 1, 0, undisturbed["seconds"]
    while done < kills:
        before = sum(finished(home).values())
        process = start(recipe, home)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=instants.uniform(0.05, longest))
        if process.returncode is None:
            kill(process)
            done += 1
            # On a busy machine a run gets less far in the same time.
            longest = longest * 1.1 if sum(finished(home).values()) == before else longest
        elif process.returncode not in (0, 5):
            sys.exit(f"{recipe} exited {process.returncode}: {process.communicate()[1]}")
        else:
            check(recipe, home, undisturbed, f"round {rounds}")
            shutil.rmtree(home)
            rounds, longest = rounds + 1, undisturbed["seconds"]
    last = complete(recipe, home)
    check(recipe, home, undisturbed, f"round {rounds}")
    print(
        f"        {recipe}: {done} kills in {rounds} rounds; the last run executed {last['executed']} steps", flush=True
    )


def check(recipe: str, home: Path, undisturbed: Mapping[str, Any], when: str) -> None:
    """Check what must hold of a home once a run of it has completed."""
    record: Mapping[str, Any] = json.loads(sorted(home.glob("runs/*/record.json"))[-1].read_text("utf-8"))
    twice = {key: count for key, count in finished(home).items() if count > 1}
    promise(not twice, f"{recipe}, {when}: no finished step ran twice ({sum(finished(home).values())} finished)")
    mine, theirs = exact_digests(record), exact_digests(undisturbed)
    both = set(mine) & set(theirs)
    other = [name for name in both if mine[name] != theirs[name]]
    promise(bool(both) and not other, f"{recipe}, {when}: {len(both)} exact outputs are those of an undisturbed run")
    verified = subprocess.run(
        [*TITRANT, "store", "verify"], env=environment(home), capture_output=True, text=True, check=False
    )
    promise(verified.returncode == 0, f"{recipe}, {when}: the store is intact")
    again = start(recipe, home)
    out, _ = again.communicate()
    promise("nothing executed" in out, f"{recipe}, {when}: nothing is left to run")


def at_once(count: int, folder: Path) -> None:
    """Run the same and overlapping recipes in one home at the same time."""
    home = folder / "shared"
    plans = [("breast_cancer",), ("breast_cancer", "--set", "train.epochs=31"), ("breast_cancer",), ("digits_cnn",)]
    begun = time.monotonic()
    processes = [start(*plans[place % len(plans)][:1], home, *plans[place % len(plans)][1:]) for place in range(count)]
    ended = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    promise(
        all(code in (0, 5) for code in codes),
        f"{count} at once: exit codes {codes} in {time.monotonic() - begun:.1f} s",
    )
    for err in ended:
        if "Traceback" in err:
            print(err)
    twice = [key for key, times in finished(home).items() if times > 1]
    promise(not twice, f"{count} at once: no step ran twice ({sum(finished(home).values())} finished)")
    verified = subprocess.run(
        [*TITRANT, "store", "verify"], env=environment(home), capture_output=True, text=True, check=False
    )
    promise(verified.returncode == 0, f"{count} at once: the store is intact")


def main() -> None:
    """Torture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--recipe", action="append", help="default: breast_cancer and digits_cnn")
    parser.add_argument("--at-once", type=int, default=4, help="processes in one home; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recipes = options.recipe or ["breast_cancer", "digits_cnn"]
    instants = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        for recipe in recipes:
            place = Path(folder) / recipe
            place.mkdir()
            torture(recipe, -(-options.kills // len(recipes)), place, instants)
        for count in sorted({min(2, options.at_once), options.at_once} - {0}):
            at_once(count, Path(folder) / f"at-once-{count}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
