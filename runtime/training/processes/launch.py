"""Start the ranks of a training as processes of their own, and end them all when one dies."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime.training.processes.ranks import MEETING
from titrant.runtime.worker.messages import describe_error, raise_answer
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError, TitrantError
from titrant.schema.values.canonical import plain

REQUEST, NOTES = "request.json", "notes.jsonl"
_LOOKS_SECONDS, _GRACE_SECONDS = 0.05, 2.0
# A rank that lost another may be seen to end before that other is.
_CAUSE_SECONDS = 1.0
# What a rank runs; where its request says.
_RANK = "import sys; from titrant.runtime.training.processes.launch import rank_main; rank_main(sys.argv[1])"


def run_ranks(size: int, folder: Path, request: Mapping[str, Any], note: Callable[[Mapping[str, Any]], None]) -> None:
    """Run `module.function(folder, options)` of a request in `size` ranks and wait for them all.

    `folder` is the ranks' own. Rank 0's notes (`tell`) are handed on as they come. When a rank ends otherwise than
    well, the others are ended within seconds: StepError X523 names the rank that ended first, and its cause. They end
    too when this process is gone.
    """
    (folder / REQUEST).write_text(json.dumps(plain(request)), "utf-8")
    paths = os.pathsep.join(path for path in sys.path if path)
    shared = {**os.environ, MEETING: str(folder / "meeting"), "WORLD_SIZE": str(size), "PYTHONPATH": paths}
    ranks = []
    for rank in range(size):
        with (folder / f"{rank}.txt").open("wb") as said:
            ranks.append(
                subprocess.Popen(
                    [sys.executable, "-c", _RANK, str(folder)],
                    env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                )
            )
    read = 0
    try:
        while True:
            codes = [process.poll() for process in ranks]
            read = _hand_on(folder, read, note)
            if any(codes):
                raise _died(folder, *_cause(folder, ranks), size)
            if all(code == 0 for code in codes):
                return
            time.sleep(_LOOKS_SECONDS)
    finally:
        _end(ranks)


def tell(folder: Path, note: Mapping[str, Any]) -> None:
    """Note something for the process that started the ranks."""
    with (folder / NOTES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain(note)) + "\n")


def rank_main(place: str) -> None:
    """Do what the request says, as one of the ranks; exit 1 with the error in a file when it fails."""
    import importlib
    import threading

    from titrant.runtime.training.processes.ranks import distributed

    folder, parent = Path(place), os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOKS_SECONDS * 10)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    sys.path.insert(0, os.environ.get("TITRANT_RECIPE_FOLDER", ""))
    request = json.loads((folder / REQUEST).read_text("utf-8"))
    work = getattr(importlib.import_module(request["module"]), request["function"])
    try:
        with distributed(request["seed"]) as ranks:
            work(folder, request["options"], ranks)
    except TitrantError as error:
        _error_of(folder, int(os.environ["RANK"])).write_text(json.dumps(describe_error(error)), "utf-8")
        os._exit(1)  # at once, whatever the others wait for


def _hand_on(folder: Path, read: int, note: Callable[[Mapping[str, Any]], None]) -> int:
    """Hand on the whole lines from a place in the notes, and return the place after them."""
    try:
        text = (folder / NOTES).read_bytes()[read:]
    except FileNotFoundError:
        return read
    whole = text[: text.rfind(b"\n") + 1]
    for line in whole.splitlines():
        note(json.loads(line))
    return read + len(whole)


def _error_of(folder: Path, rank: int) -> Path:
    """Return where a rank leaves the error that it ends with."""
    return folder / f"error-{rank}.json"


def _cause(folder: Path, ranks: list[subprocess.Popen[bytes]]) -> tuple[int, int]:
    """Return the rank whose end was the cause of the others', and its exit code, once one of them has ended ill.

    One that left an error, or that a signal ended, knows more than one that only lost the others: waited for shortly.
    """
    until = time.monotonic() + _CAUSE_SECONDS
    while True:
        dead = [(rank, code) for rank, process in enumerate(ranks) if (code := process.poll())]
        for is_cause in (lambda rank, _: _error_of(folder, rank).exists(), lambda _, code: code < 0):
            for rank, code in dead:
                if is_cause(rank, code):
                    return rank, code
        if len(dead) == len(ranks) or time.monotonic() > until:
            return dead[0]
        time.sleep(_LOOKS_SECONDS)


def _died(folder: Path, rank: int, code: int, size: int) -> StepError:
    """Return the error that a rank ended with, or what is known of a process that left none."""
    if _error_of(folder, rank).exists():
        raise_answer(json.loads(_error_of(folder, rank).read_text("utf-8")))
    lines = (folder / f"{rank}.txt").read_text("utf-8", "replace").strip().splitlines()
    ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return StepError(
        Diagnostic(
            "X523",
            f"rank {rank} of {size} ended {ended}, so that the training cannot go on",
            help="set train.distributed to none to see its error in one process, or give the machine more memory",
            said=lines[-1] if lines else "",
        )
    )


def _end(ranks: list[subprocess.Popen[bytes]]) -> None:
    """End what still runs: first asked, then killed."""
    for process in ranks:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + _GRACE_SECONDS
    for process in ranks:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
