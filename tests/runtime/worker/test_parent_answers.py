"""What a child answers is read line by line, and a signal is noticed whenever it comes."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from titrant.runtime.worker.child import _sender, _unexpected
from titrant.runtime.worker.messages import exit_cause
from titrant.runtime.worker.parent import PipeLines, alarmed

# The signal is handed to another thread: as when it comes just before the main thread begins to read, nothing ends
# that read. The worker says by a named pipe that it is at work, and then waits for ever.
WAITS = """
import os, signal, sys, threading
from pathlib import Path
from titrant.runtime.store.home import open_home
from titrant.runtime.worker.parent import Worker

folder = Path(sys.argv[1])

def interrupt():
    (folder / "at_work").read_bytes()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    with Worker(open_home(folder / "home"), folder, 1, 42) as worker:
        worker.ask({"do": "describe", "operator": "endless:operator"})
except KeyboardInterrupt:
    print("interrupted")
"""
ENDLESS = """
from pathlib import Path

here = Path(__file__).parent
(here / "at_work").write_bytes(b"yes")
(here / "never").read_bytes()
"""


def test_notices_an_interrupt_that_does_not_end_the_reading(tmp_path):
    for name in ("at_work", "never"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "endless.py").write_text(ENDLESS)
    (tmp_path / "waits.py").write_text(WAITS)
    command = [sys.executable, str(tmp_path / "waits.py"), str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout) == (0, "interrupted\n"), told.stderr


def test_lets_no_copy_of_the_worker_answer():
    reads, writes = os.pipe()
    send = _sender(writes)
    copy = os.fork()
    if not copy:
        send({"event": "done", "by": "a copy"})
        os._exit(0)
    os.waitpid(copy, 0)
    send({"event": "done", "by": "the worker"})
    assert json.loads(os.read(reads, 1000)) == {"event": "done", "by": "the worker"}


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_gives_whole_lines_however_they_come(size):
    lines = [b"a\n", b"\n", json.dumps({"text": "x" * 700}).encode() + b"\n", b"cut short"]
    reads, writes = os.pipe()
    text = b"".join(lines)

    def write():
        for start in range(0, len(text), size):
            os.write(writes, text[start : start + size])
        os.close(writes)

    writer = threading.Thread(target=write)
    writer.start()
    answers = PipeLines(reads)
    with alarmed() as alarm:
        found = [answers.next(alarm) for _ in range(4)]
    writer.join()
    answers.close()
    assert found == [*(line.rstrip(b"\n") for line in lines[:3]), None]


SIGNALED = """
import os, signal
from titrant.runtime.worker.pipe import alarmed
reads, writes = os.pipe()
for end in (reads, writes):
    os.set_blocking(end, False)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.set_wakeup_fd(writes)
with alarmed():
    signal.raise_signal(signal.SIGUSR1)
assert os.read(reads, 8) == bytes([signal.SIGUSR1])
print(signal.set_wakeup_fd(-1) == writes)
"""


def test_passes_on_a_signal_to_whoever_listened_before(warm, tmp_path):
    done = warm("-c", SIGNALED, cwd=tmp_path, env={})
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_names_a_package_that_cannot_be_loaded_unless_the_users_code_says_so():
    request = {"do": "run", "operator": "validate.predict"}
    error = ImportError("libengine.so.2: cannot open shared object file")
    state = SimpleNamespace(home=None, scratch=Path(), user_place=lambda _: "")
    said = _unexpected(state, error, request)
    assert (said.code, said.message) == ("X313", f"ImportError: {error}")
    assert "titrant doctor" in said.help
    state.user_place = lambda _: "mine.py:3"
    said = _unexpected(state, error, request)
    assert (said.code, said.message, said.said) == ("X312", "ImportError (mine.py:3)", str(error))


@pytest.mark.parametrize(("code", "allowed"), [(-signal.SIGKILL, 3), (-signal.SIGXCPU, resource.RLIM_INFINITY)])
def test_blames_no_memory_for_an_end_by_the_time_that_a_process_may_take(monkeypatch, code, allowed):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (allowed, allowed))
    ended = exit_cause(code, None, "")
    limit = "the 3 s of processor time that it may use" if allowed == 3 else "its time on the processor"
    assert ended.cause == f"the worker was ended by the system, most likely because it used up {limit}"
    assert (ended.out_of_memory, ended.advice[:33]) == (False, "raise the limit (ulimit -t unlimi")
