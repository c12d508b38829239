"""What the systems do in their own ways with child processes: starting one apart, handing it pipes, ending it whole."""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# What ended a process that was ended at once; None where the system has no such signal.
KILLED = getattr(signal, "SIGKILL", None)


def apart() -> dict[str, Any]:
    """Return the arguments with which `subprocess.Popen` starts a process that a key pressed does not reach."""
    if sys.platform == "win32":
        import subprocess

        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def handed_over(ends: Sequence[int]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the arguments with which a child gets ends of pipes, and what each is called for `taken_over`."""
    if sys.platform == "win32":
        import msvcrt
        import subprocess

        handles = [msvcrt.get_osfhandle(end) for end in ends]
        for handle in handles:
            os.set_handle_inheritable(handle, True)
        start = subprocess.STARTUPINFO(lpAttributeList={"handle_list": handles})
        return {"startupinfo": start, "close_fds": True}, tuple(map(str, handles))
    return {"pass_fds": tuple(ends)}, tuple(map(str, ends))


def taken_over(name: str, *, writes: bool) -> int:
    """Return the descriptor of an end that the parent handed over, in the child."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.open_osfhandle(int(name), os.O_WRONLY if writes else os.O_RDONLY)
    return int(name)


def end_whole(process: int) -> None:
    """End a process that was started apart, and all that it started, at once; nothing where it is gone."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
        return
    import psutil

    with contextlib.suppress(psutil.Error):
        top = psutil.Process(process)
        for each in (*top.children(recursive=True), top):
            with contextlib.suppress(psutil.Error):
                each.kill()


def hold_process(process: int, *, held: bool) -> None:
    """Stop a process, or let it go on."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGSTOP if held else signal.SIGCONT)
        return
    import psutil

    with contextlib.suppress(psutil.Error):
        running = psutil.Process(process)
        running.suspend() if held else running.resume()


def lives(process: int) -> bool:
    """Whether a process runs. Raises OverflowError for a number that is none."""
    if sys.platform == "win32":  # where signal 0 is Ctrl-C
        import psutil

        return bool(psutil.pid_exists(process))
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def is_orphaned(parent: int) -> bool:
    """Whether the process that started this one, `parent`, is gone."""
    return not lives(parent) if sys.platform == "win32" else os.getppid() != parent


def flush_folder(folder: str | os.PathLike[str]) -> None:
    """Let a rename in a folder survive a power cut; on Windows no folder can be opened, and nothing is done."""
    if sys.platform == "win32":
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
