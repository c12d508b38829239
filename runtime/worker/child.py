"""The worker's process: answers requests, one JSON object a line, until the parent is gone.

Requests: {"do": "run", "step", "operator", "params", "inputs": {port: artifact or {name: artifact}}, "seed",
"threads", "deterministic", "frees": [digest, …], "key", "log"} · {"do": "inspect", "seed", "steps", "keep_data"} ·
{"do": "describe", "operator"} · {"do": "ask_operator", "operator", "ask", "params", "hardware", "model", "work"} ·
{"do": "compare", "pairs": [[old artifact, new artifact], …]} ·
{"do": "bench", …}, see `titrant.runtime.instruments.measure.bench` ·
{"do": "look", …}, see `titrant.runtime.instruments.look` ·
{"do": "power", "gates", "confidence", "evaluation", "positive", "tried"}.
Messages back: progress and measured while it works, then one of done, error and damaged.
"""

import contextlib
import errno
import faulthandler
import importlib
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime import catalog
from titrant.runtime.machine.processes import taken_over
from titrant.runtime.seed import Seeding
from titrant.runtime.store.artifacts import DamagedError
from titrant.runtime.store.home import disk_problem, gone, open_home
from titrant.runtime.user_code import hiding, said_by
from titrant.runtime.worker.messages import CRASH, describe_error
from titrant.runtime.worker.parent import environment
from titrant.runtime.worker.step_context import Send
from titrant.runtime.worker.tasks import WorkerState
from titrant.runtime.worker.user_watch import UserWatch
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError, TitrantError

# Kinds of values that hold cases, or what a model answered for them.
_OF_ROWS = ("tables", "rows", "outputs")
_NO_SPACE = os.strerror(errno.ENOSPC)


def main(requests: int, answers: int, scratch: Path) -> None:
    """Serve the two pipes."""
    # It names calls and lines and no values; what else goes to stderr may hold rows.
    faulthandler.enable((scratch / CRASH).open("wb"))
    folder = Path(os.environ["TITRANT_RECIPE_FOLDER"])
    home = open_home(Path(os.environ["TITRANT_HOME"]))
    watch = UserWatch(folder, ignored=(home.path, scratch), variables=environment(home, folder, threads=1, seed=0))
    seeding = Seeding(int(os.environ["PYTHONHASHSEED"]))  # the recipe's seed
    watch.install(seeding.importing)
    sys.path.insert(0, str(folder))
    importlib.import_module("blake3")  # every step digests; what that takes is none of the first one's
    send = _sender(answers)
    state = WorkerState(home, folder, scratch, watch, seeding, send)
    waiting = _listen(requests)
    process = os.getpid()
    while True:
        answer = _answer(state, waiting.get())
        if os.getpid() != process:
            os._exit(0)  # a copy that a fork in somebody's code made: only the worker goes on
        send(answer)


def _answer(state: WorkerState, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Do what is asked; whatever goes wrong becomes a message."""
    try:
        return {"event": "done", **state.do(request)}
    except TitrantError as error:
        return {**describe_error(error), "dependencies": state.dependencies()}
    except DamagedError as error:
        return {"event": "damaged", "digest": error.digest}
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - a step may raise anything
        failed = StepError(_unexpected(state, error, request))
        return {**describe_error(failed), "calls": _calls(error)}
    finally:
        # While the parent still counts what is printed as of this request.
        _say(sys.stdout.flush)
        _say(sys.stderr.flush)


def _say(how: Callable[[], None]) -> None:
    """Print; a step may have closed its streams, and the parent may be gone."""
    with contextlib.suppress(OSError, ValueError):
        how()


def _unexpected(state: WorkerState, error: BaseException, request: Mapping[str, Any]) -> Diagnostic:
    """Say in one line what code in a step raised."""
    if not isinstance(error, OSError) and _NO_SPACE in str(error):
        error = OSError(errno.ENOSPC, _NO_SPACE)  # libraries that write by themselves have errors of their own
    if isinstance(error, OSError) and (problem := disk_problem(state.home, error)) is not None:
        return problem
    # A step may look for a file of its own where there is none: only without the worker's own folder is it the home.
    if isinstance(error, OSError) and not state.scratch.is_dir():
        problem = gone(state.home, error, state.scratch)
        if problem is not None:
            return problem
    if isinstance(error, MemoryError):
        return Diagnostic("X311", "out of memory", help="use a smaller model or batch, or a machine with more memory")
    text, where = said_by(error), state.user_place(error)
    # What is said of a model, where no row is at hand and no code of the user's, tells what to do about it.
    # So does what a package says that cannot be loaded: it has seen no rows yet.
    unseen = not where and (isinstance(error, ImportError) or not _sees_rows(request))
    shown = _of_the_system(error) or (text if unseen else "")
    line = f"{type(error).__name__}: {shown}" if shown else type(error).__name__
    log = f"the calls that led to it are in {request['log']}" if request.get("log") else ""
    said = "" if shown == text else text
    if where:
        advice = "; ".join(filter(None, (hiding(error) or "mend your own code", log)))
        return Diagnostic("X312", f"{line} ({where})", help=advice, said=said)
    cause = "a library refused what it was given"
    if isinstance(error, ImportError):
        cause = "a package that the step needs cannot be loaded: titrant doctor says which, and how to install it"
    advice = "; ".join(filter(None, (hiding(error) or cause, log)))
    return Diagnostic("X313", f"{line} ({_innermost(error)})" if said else line, help=advice, said=said)


def _sees_rows(request: Mapping[str, Any]) -> bool:
    """Tell whether rows, or code of the user's, are at hand in a request: what is said then may hold values of them."""
    operator = request.get("operator", ":")
    if request.get("do") != "run" or ":" in operator:
        return True
    declaration = catalog.get(operator)
    kinds = {kind for port in declaration.inputs.values() for kind in port.kinds}
    return declaration.family == "data" or not kinds.isdisjoint(_OF_ROWS)


def _of_the_system(error: BaseException) -> str:
    """Return what the system or a plain exit says: no name of a file, and nothing that code could have put there."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error.code) if isinstance(error, SystemExit) and isinstance(error.code, int) else ""


def _innermost(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _calls(error: BaseException) -> list[str]:
    """List the calls that led to an error and to those that it came from, without any text of theirs."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    earlier = [*_calls(before), f"while handling {type(before).__name__}:"] if before is not None else []
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}' for frame in frames]
    return [*earlier, "Traceback (most recent call last):", *lines, type(error).__name__]


def _listen(requests: int) -> queue.SimpleQueue[Mapping[str, Any]]:
    """Read requests in a thread of their own, so that the process ends with its parent also in the middle of a step."""
    waiting: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        with os.fdopen(requests, "rb") as pipe:
            for line in pipe:
                waiting.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return waiting


def _sender(answers: int) -> Send:
    pipe = os.fdopen(answers, "wb")
    lock, process = threading.Lock(), os.getpid()

    def send(message: Mapping[str, Any]) -> None:
        if os.getpid() != process:
            return  # a copy of the worker, whose words the parent would take for the worker's
        line = json.dumps(message, allow_nan=False).encode() + b"\n"
        with lock:
            pipe.write(line)
            pipe.flush()

    return send


if __name__ == "__main__":
    main(taken_over(sys.argv[1], writes=False), taken_over(sys.argv[2], writes=True), Path(sys.argv[3]))
