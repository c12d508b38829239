"""Start Python processes that begin with modules loaded: `python tests/warm.py SOCKET MODULE…` listens for who asks.

Loading torch and scikit-learn is two thirds of what a small run takes. Here they are loaded once, and each process that
is asked for is forked: a process of its own all the same, with its own arguments, folder, environment and streams. So
are the first few that it starts itself, as its worker, from what it was at its beginning: no code of a user's, no
thread, no session. What a test says of how a process starts, of what it loads, of signals or of Python's own options
needs `subprocess`.

A request is JSON: {"options", "folder", "environment", "session", "passed", "starts"}, with three streams and the
descriptors that are passed, and is answered by the process's id; or {"wait": id, "seconds"}, which is answered by the
exit code, or by null where it takes longer. "starts" says how many of its own processes are ready before it begins.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import threading
import traceback
import warnings
import weakref
from pathlib import Path
from types import FunctionType

PATH = sys.path[1:]
LONGEST = 1 << 20
PAGE, LARGE_PAGE, MADV_COLLAPSE = 1 << 12, 1 << 21, 25
STARTS = 2


class Spare:
    """A process that waits to become another one, or to end with its parent."""

    def __init__(self):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            with ending():
                become(theirs)
        theirs.close()

    def be(self, request, descriptors):
        """Let it be what is asked for, with these descriptors open: three streams, then those that it is passed."""
        socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
        self._socket.close()


class Started(subprocess.Popen):
    """A process; one of Python that runs a module or a script is one that is spare, as long as there are any."""

    spares = []  # noqa: RUF012 - the process's own

    def _execute_child(self, arguments, *others):
        options = list(map(os.fspath, arguments)) if isinstance(arguments, (list, tuple)) else []
        _, _, _, passed, folder, environment, _, _, _, *streams = others[:15]
        rest = options[2:] if options[1:2] == ["-P"] else options[1:]
        runs = options[:1] == [sys.executable] and bool(rest) and (rest[0] == "-m" or rest[0].endswith(".py"))
        if not Started.spares or not runs:
            super()._execute_child(arguments, *others)
            return
        spare = Started.spares.pop()
        inputs = [own if given == -1 else given for own, given in enumerate((streams[0], streams[3], streams[5]))]
        request = {
            "options": options[1:], "folder": os.fspath(folder or Path.cwd()), "passed": passed, "session": others[20],
            "environment": dict(os.environ if environment is None else environment), "starts": STARTS,
        }  # fmt: skip
        spare.be(request, [*inputs, *passed])
        self.pid = spare.pid
        self._child_created = True
        self._close_pipe_fds(*streams)


@contextlib.contextmanager
def ending():
    """End the process after what is inside, as Python does."""
    code = 0
    try:
        yield
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if code and not isinstance(left.code, int):
            print(left.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - whatever the process raises, its parent's stack is none of its own
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def become(asked):
    """Wait for a request and be what it asks for; end where none comes."""
    text, descriptors, _, _ = socket.recv_fds(asked, LONGEST, 16)
    asked.close()
    if not text:
        os._exit(0)
    request = json.loads(text)
    take(descriptors, [0, 1, 2, *request["passed"]])
    if request["session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    isolated, *options = request["options"] if request["options"][0] == "-P" else ("", *request["options"])
    module, code = (options[1] if options[0] == letter else None for letter in ("-m", "-c"))
    sys.argv[:] = options[1:] if module else ["-c", *options[2:]] if code else options
    first = [] if isolated else [Path.cwd() if module or code else Path(options[0]).absolute().parent]
    given = [Path(path).absolute() for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = list(dict.fromkeys([*map(str, (*first, *given)), *PATH]))
    importlib.invalidate_caches()
    Started.spares = [] if isolated else [Spare() for _ in range(request["starts"])]  # a worker starts none
    if module:
        # Said by this process alone, which has imported it already; a worker begins in silence.
        warnings.filterwarnings("ignore", f"'{module}' found in sys.modules", RuntimeWarning)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif code:
        exec(code, {"__name__": "__main__"})
    else:
        runpy.run_path(options[0], run_name="__main__")


def take(descriptors, numbers):
    """Give descriptors their numbers, and close all others."""
    high = [os.dup2(descriptor, 1000 + place) for place, descriptor in enumerate(descriptors)]
    os.closerange(3, 1000)
    for place, number in zip(high, numbers, strict=True):
        os.dup2(place, number)
        os.close(place)


def serve(asked):
    """Answer requests until there are no more."""
    while True:
        text, descriptors, _, _ = socket.recv_fds(asked, LONGEST, 16)
        if not text:
            return
        request = json.loads(text)
        if "wait" in request:
            answer = waited(request["wait"], request["seconds"])
        else:
            spare = Spare()
            spare.be(request, descriptors)
            answer = spare.pid
            for descriptor in descriptors:
                os.close(descriptor)
        asked.send(json.dumps(answer).encode())


def listen(listens):
    """Let a copy of this process answer whoever connects, for as long as whoever started this one is there.

    That it is, its end of standard input says.
    """
    while True:
        ready, _, _ = select.select([listens, sys.stdin], [], [])
        if listens not in ready:
            break
        asked, _ = listens.accept()
        if os.fork() == 0:
            listens.close()
            with open(os.devnull, "rb") as nothing:  # noqa: PTH123
                os.dup2(nothing.fileno(), 0)
            serve(asked)
            os._exit(0)
        asked.close()
    listens.close()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def waited(process, seconds):
    """Return the exit code of a process, or None where it goes on for longer.

    To ask every few milliseconds took a fiftieth of a core for as long as a test waited.
    """
    if seconds is not None:
        handle = os.pidfd_open(process)
        ended, _, _ = select.select([handle], [], [], seconds)
        os.close(handle)
        if not ended:
            return None
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def compile_templates():
    """Compile what a report is written with, which takes as long as to draw it."""
    from titrant.runtime.report import page

    environment = page._html_environment()
    for name in environment.list_templates(filter_func=lambda name: name.endswith(".html.jinja")):
        environment.get_template(name)


def build_classes():
    """Build what else is made when it is first used: validators of sections and parameters, and `__init__`s.

    That is a third of what a plan takes.
    """
    from pydantic import BaseModel

    from titrant.runtime.report import record_view
    from titrant.schema.language import shape
    from titrant.schema.recipe.recipe import Recipe
    from titrant.schema.values.frozen import _Late

    record_view._adapter()
    for key in Recipe.model_fields:
        shape._adapter(key).rebuild()
    models = BaseModel.__subclasses__()
    while models:
        model = models.pop()
        models += model.__subclasses__()
        if model.__module__.startswith("titrant."):
            model.model_rebuild()
    for late in [each for each in gc.get_objects() if type(each) is _Late]:
        late.__get__(None, late._kind)


def know_packages():
    """Find out once which distribution brings scikit-learn: for that each worker reads what all distributions bring."""
    from titrant.runtime.user_code import distributions

    assert distributions("sklearn") == ("scikit-learn",)


def hasten_timing():
    """Let a run time its models for a thirtieth of the time, and hardly pause between blocks of runs.

    That is a third of what a small run takes. Where models are compared as many runs come first as ever, and as many
    blocks; what more of them tell, and more of what is shown only, is no test's subject here:
    `tests/runtime/operators/profile` has the operator as it is. What is timed on a busy machine is reused as well:
    whether a second run executes nothing must not depend on who else is at work. The memory of a model is what this
    process grows by: to fork one that has all of this loaded, and to look at what of its memory is its own, was an
    eighth of a small run. `tests/runtime/machine/test_peak_memory.py` has the measurement as it is.
    """
    from titrant.runtime.contract.statistics import paired_runs
    from titrant.runtime.machine import peak_memory, schedule
    from titrant.runtime.operators.profile import latency
    from titrant.schema.values.frozen import replace

    def quicker(params, size, models):
        settled = whole(params, size, models)
        return replace(settled, seconds=settled.seconds / 32)

    def grown_here(work):
        before = peak_memory.resident_bytes()
        held = work()
        grown = max(peak_memory.resident_bytes() - before, PAGE)
        del held
        return grown

    whole, schedule.TimingSchedule.of = schedule.TimingSchedule.of, quicker
    latency.PAUSE_SECONDS /= 15
    schedule.SHOWN_RUNS //= 5
    schedule.MOST_OFF, schedule.LONGER = 1, 0
    paired_runs.too_busy_to_tell = lambda timings, batch: ()
    peak_memory.memory_of = grown_here


def forget_endings():
    """Let no process that is forked do at its end what libraries do at their own: a tenth of a second, for nobody.

    torch takes its operators away one by one, and loads what would print how long its compiler took; nanobind, with
    which onnx is bound, collects garbage to count what leaks.
    """
    from torch._dynamo.utils import dump_compile_times

    atexit.unregister(dump_compile_times)
    for function in [each for each in gc.get_objects() if type(each) is FunctionType]:
        if function.__code__.co_filename == "<internal>":
            atexit.unregister(function)
    for ending in list(weakref.finalize._registry):
        ending.atexit = False


def join_pages():
    """Let the kernel keep what is loaded in large pages, where it can (Linux 6.1).

    To fork a process, and to end it, goes through each of its pages: a hundred thousand small ones take 20 ms.
    """
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text().splitlines():
        places, rights, _, _, _, *file = line.split(maxsplit=5)
        if "w" in rights and (not file or file == ["[heap]"]):
            begin, end = (int(place, 16) for place in places.split("-"))
            first, last = -(-begin // LARGE_PAGE) * LARGE_PAGE, end // LARGE_PAGE * LARGE_PAGE
            for page in range(first, last, LARGE_PAGE):
                advise(page, LARGE_PAGE, MADV_COLLAPSE)


if __name__ == "__main__":
    from titrant.schema.values.extensions import by_group

    gc.disable()  # what is imported stays: to look for garbage in it took a second
    for loaded in sys.argv[2:]:
        importlib.import_module(loaded)
    compile_templates()
    build_classes()
    know_packages()
    hasten_timing()
    forget_endings()
    assert not by_group.cache_info().currsize, "what is installed is another thing in each process"
    subprocess.Popen = Started
    os.fsync = lambda file: None  # as in the tests' own process
    gc.collect()
    gc.freeze()
    gc.enable()
    join_pages()
    listen(socket.socket(fileno=int(sys.argv[1])))
