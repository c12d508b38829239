"""A worker without a process: the same work, in the caller's, so that a run takes milliseconds and any write can fail.

The user's modules stay loaded from one run to the next, as they do in a worker. Only the last folder's code is watched:
what one adds to the process is asked at every `id`, `open` and variable: a hundred made a small run ten times as slow.
"""

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from titrant.runtime.seed import Seeding
from titrant.runtime.worker import user_watch
from titrant.runtime.worker.child import _answer
from titrant.runtime.worker.messages import WorkerDiedError, WorkerExit, raise_answer
from titrant.runtime.worker.step_context import at_work
from titrant.runtime.worker.tasks import WorkerState
from titrant.runtime.worker.user_watch import UserWatch

_ASKING = ((Path, ("exists", "is_file", "is_dir")), (os.path, ("exists", "isfile", "isdir", "lexists")))
# What a watch puts something else in place of, as it was.
_UNWATCHED = [(owner, name, getattr(owner, name)) for owner, names in _ASKING for name in names]
_UNWATCHED += [(os.environ, "__class__", type(os.environ)), (importlib, "import_module", importlib.import_module)]
# Of the process, though each file of tests loads this one for itself.
_WATCHING = sys.modules.setdefault(
    "watching_in_process", SimpleNamespace(folder="", watches={}, hear=None, read=None, unwatched=_UNWATCHED)
)
# What a user's operators were described as: each of hundreds of new homes asks for all of them, an eighth of a run.
_DESCRIBED = sys.modules.setdefault("described_in_process", SimpleNamespace(by_text={})).by_text


def _hear(event, arguments):
    _WATCHING.hear(event, arguments)


def _read(path):
    _WATCHING.read(path)


def _watch(home, folder):
    """Return what watches the folder's code, and let it be the only one that is installed."""
    now = _WATCHING
    if now.folder != folder:
        if now.folder:
            sys.path[:] = [place for place in sys.path if place != now.folder]
            sys.path_hooks.remove(now.path_hook)
            for owner, name, plain in now.unwatched:
                setattr(owner, name, plain)
        if folder not in now.watches:
            now.watches[folder] = UserWatch(Path(folder), ignored=(home.path,))
        hooked = now.hear is not None
        sys.path.insert(0, folder)
        with (
            mock.patch.object(sys, "addaudithook", lambda hear: setattr(now, "hear", hear)),
            mock.patch.object(user_watch, "watch_native_readers", lambda read: setattr(now, "read", read)),
        ):
            now.watches[folder].install()
        if not hooked:  # an audit hook stays for good
            sys.addaudithook(_hear)
            user_watch.watch_native_readers(_read)
        now.folder, now.path_hook = folder, sys.path_hooks[0]
    return now.watches[folder]


def forget_user_code(*modules):
    """Load modules anew, from the folder of the next run, and ask anew what their operators are."""
    _DESCRIBED.clear()
    for name in modules:
        sys.modules.pop(name, None)


class InProcessWorker:
    """Answers requests as `Worker` does."""

    def __init__(self, home, folder):
        self.started = False
        self._scratch = Path(tempfile.mkdtemp(prefix="worker-here-0-", dir=home.unfinished))
        self._said = []
        self._listen = None
        watch, self._folder = _watch(home, str(folder)), Path(folder)
        self._bench = WorkerState(home, folder, self._scratch, watch, Seeding(), self._tell)

    def _tell(self, message):
        if self._listen is not None:
            self._listen(message)

    def ask(self, request, listen=None):
        if request.get("do") != "describe":
            return self._answered(request, listen)
        texts = tuple((file.name, file.read_text()) for file in sorted(self._folder.glob("*.py")))
        if (asked := (request["operator"], texts)) not in _DESCRIBED:
            _DESCRIBED[asked] = self._answered(request, listen)
        return _DESCRIBED[asked]

    def _answered(self, request, listen):
        message = self.message(request, listen)
        raise_answer(message)
        return {key: value for key, value in message.items() if key != "event"}

    def message(self, request, listen=None):
        self._listen = listen
        return _answer(self._bench, {**request, "log": None})

    def interrupt(self):
        pass

    def close(self):
        pass


class Aborted(BaseException):
    """What native code does to a process: nothing in it goes on."""


class DyingWorker(InProcessWorker):
    """A worker that dies where a step calls `os.abort`, and forgets all that it held."""

    def __init__(self, home, folder):
        super().__init__(home, folder)
        self._fresh = lambda: InProcessWorker(home, folder)
        self.deaths = 0

    def message(self, request, listen=None):
        try:
            with mock.patch.object(os, "abort", side_effect=Aborted):
                return super().message(request, listen)
        except Aborted:
            self.deaths += 1
            name = at_work(self._scratch)
            fresh = self._fresh()
            self._bench, self._scratch = fresh._bench, fresh._scratch
            self._bench._send = self._tell
            raise WorkerDiedError(WorkerExit("the worker crashed (SIGABRT)", "", at_work=name), "") from None
