"""Why a worker died, as far as the system tells."""

import signal
from pathlib import Path

from titrant.schema.frozen import dataclass

_EVENTS = Path("/sys/fs/cgroup/memory.events")


@dataclass(frozen=True)
class Death:
    """The cause in a line, and what to do about it."""

    cause: str
    advice: str
    out_of_memory: bool = False


def out_of_memory_kills() -> int | None:
    """Return how many processes of this container the kernel killed for memory so far; None where it does not say."""
    try:
        lines = _EVENTS.read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def cause_of_death(code: int, kills_before: int | None, printed: str) -> Death:
    """Explain an exit code (negative: a signal) with what was printed outside any step's log."""
    if code == -signal.SIGKILL:
        return _killed(kills_before)
    if code < 0:
        name = signal.Signals(-code).name if -code in {item.value for item in signal.Signals} else f"signal {-code}"
        return Death(
            f"the worker crashed ({name})",
            "native code failed: a library of this version does not work with this model or machine",
        )
    last = printed.strip().splitlines()[-1:] or [""]
    said = f": {last[0]}" if last[0] else ""
    return Death(f"the worker ended with exit code {code}{said}", "code in the step ended the process; it must return")


def _killed(kills_before: int | None) -> Death:
    now = out_of_memory_kills()
    proven = kills_before is not None and now is not None and now > kills_before
    certainty = "out of memory" if proven else "most likely out of memory"
    return Death(
        f"the worker was killed by the system (SIGKILL), {certainty}",
        "close other programs, use a smaller model or batch, or run on a machine with more memory",
        out_of_memory=True,
    )
