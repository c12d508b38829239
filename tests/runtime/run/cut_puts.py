"""Put a value into a home while the system kills the process at every byte: `cut_puts.py HOME VALUE`.

It prints a line for each length at which a put was cut: whether the value is there, and the longest file. In a small
process of its own, since forking one that has loaded torch takes ten times as long.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

from titrant.runtime.store.artifacts import Store, identify_value
from titrant.runtime.store.home import open_home


def cut_files_at(length):
    """Let the system kill this process as soon as a file would grow beyond a length: what fits is written."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, length))


def in_child(work):
    """Do something in a forked process, which may die as it likes; return the signal that it died of, 0 for none."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(path, value):
    """Put the value at every length until a put is not cut."""
    os.fsync = lambda file: None  # as in the tests' own process: nothing here ends the system
    home = open_home(path)
    artifact, store, length = identify_value(value), Store(home), 0
    # Load what a put loads, which each of the forked processes would.
    Store(open_home(Path(path).with_name("other"))).put("value", value)

    def put():
        cut_files_at(length)
        Store(home).put("value", value)

    while in_child(put):
        longest = max((file.stat().st_size for file in home.store.rglob("*") if file.is_file()), default=0)
        print(json.dumps([length, store.has(artifact), longest]))
        length += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
