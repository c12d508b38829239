"""What crosses from the worker to the parent when something goes wrong: errors as messages, and why a worker died."""

import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.machine.processes import KILLED
from titrant.schema.diagnostics import diagnostics
from titrant.schema.diagnostics.diagnostics import Diagnostic, Place, StepError, TitrantError
from titrant.schema.values.canonical import plain
from titrant.schema.values.frozen import dataclass

_EVENTS = Path("/sys/fs/cgroup/memory.events")
# The file in a worker's folder into which the interpreter writes where native code crashed.
CRASH = "crash.txt"
# The event of an inspection before and after it loads data that it keeps; and the mark of the step that took them over.
LOADED = "loaded"
# What ends a process that kept a processor busy for as long as it may; Windows has no such limit.
_OUT_OF_TIME = getattr(signal, "SIGXCPU", None)


@dataclass(frozen=True)
class WorkerExit:
    """The cause in a line, what to do about it, and the last line that was printed, which may hold rows.

    `at_work` names which of the models that a step was given it was busy with; "" where it did not say.
    """

    cause: str
    advice: str
    out_of_memory: bool = False
    said: str = ""
    at_work: str = ""


def out_of_memory_kills() -> int | None:
    """Return how many processes of this container the kernel killed for memory so far; None where it does not say."""
    try:
        lines = _EVENTS.read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def exit_cause(code: int, kills_before: int | None, printed: str) -> WorkerExit:
    """Explain an exit code (negative: a signal); `printed` is the last line that was printed."""
    if code < 0 and -code == _OUT_OF_TIME:
        return _out_of_time()
    if KILLED is not None and code == -KILLED:
        return _killed(kills_before)
    if code < 0:
        name = signal.Signals(-code).name if -code in {item.value for item in signal.Signals} else f"signal {-code}"
        return WorkerExit(
            f"the worker crashed ({name})",
            "native code failed: a library of this version does not work with this model or machine",
            said=printed,
        )
    advice = "code in the step ended the process; it must return"
    return WorkerExit(f"the worker ended with exit code {code}", advice, said=printed)


def _processor_seconds() -> int | None:
    """Return how long a process may keep a processor busy, None where there is no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    seconds = resource.getrlimit(resource.RLIMIT_CPU)[0]
    return None if seconds == resource.RLIM_INFINITY else seconds


def _out_of_time() -> WorkerExit:
    allowed = _processor_seconds()
    limit = "its time on the processor" if allowed is None else f"the {allowed} s of processor time that it may use"
    return WorkerExit(
        f"the worker was ended by the system, most likely because it used up {limit}",
        "raise the limit (ulimit -t unlimited), and run again: finished steps are reused",
    )


def _killed(kills_before: int | None) -> WorkerExit:
    now = out_of_memory_kills()
    proven = kills_before is not None and now is not None and now > kills_before
    if not proven and _processor_seconds() is not None:
        return _out_of_time()
    certainty = "out of memory" if proven else "most likely out of memory"
    return WorkerExit(
        f"the worker was killed by the system (SIGKILL), {certainty}",
        "close other programs, use a smaller model or batch, or run on a machine with more memory",
        out_of_memory=True,
    )


class DamagedArtifactError(Exception):
    """A stored file that the worker needed is missing or damaged."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(digest)


class WorkerDiedError(StepError):
    """The worker's process ended in the middle of a step."""

    def __init__(self, worker_exit: WorkerExit, log: str) -> None:
        self.worker_exit = worker_exit
        code = "X311" if worker_exit.out_of_memory else "X310"
        where = f"; what is known of it is in {log}" if log else ""
        advice = f"{worker_exit.advice}{where}"
        super().__init__(Diagnostic(code, worker_exit.cause, help=advice, said=worker_exit.said))


def describe_error(error: TitrantError) -> dict[str, Any]:
    """Write an error as the message that carries it, without secrets: what a library says may hold an address."""
    from titrant.schema.config.secrets import without_secrets

    said = [
        replace(
            diagnostic,
            message=without_secrets(diagnostic.message),
            help=without_secrets(diagnostic.help),
            said=without_secrets(diagnostic.said),
        )
        for diagnostic in error.diagnostics
    ]
    return {"event": "error", "exception": type(error).__name__, "diagnostics": plain(said)}


def raise_answer(answer: Mapping[str, Any]) -> None:
    """Raise what an answer reports, if it does."""
    if answer["event"] == "damaged":
        raise DamagedArtifactError(answer["digest"])
    if answer["event"] == "error":
        kind = getattr(diagnostics, answer["exception"], StepError)
        raise kind(*(_diagnostic(item) for item in answer["diagnostics"]))


def _diagnostic(item: Mapping[str, Any]) -> Diagnostic:
    where = item["where"]
    return Diagnostic(**{**item, "where": Place(**where) if where else None})
