"""Start processes that begin with what is heavy loaded: `tests/warm.py` forks them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

SOURCE = str(Path(__file__).parents[1] / "src")
OWN = Path(SOURCE) / "titrant"
# What OpenVINO's and MLX's own files load beside them takes long, and few tests need it.
ENGINES = tuple(OWN / "runtime" / "backends" / name for name in ("openvino", "mlx"))
FILES = [
    file.relative_to(OWN.parent)
    for room in ("api", "cli", "compiler", "runtime")
    for file in sorted((OWN / room).rglob("*.py"))
    if not any(file.is_relative_to(engine) for engine in ENGINES)
]

# What most runs load, and takes most of their time.
HEAVY = (
    "torch", "torch._dynamo", "torch.onnx", "onnx", "openvino", "pandas", "sklearn.datasets", "sklearn.model_selection",
    "scipy.optimize", "scipy.special",
    "jinja2", "filelock", "PIL.Image", "pyarrow.csv", "safetensors.torch", "torch.utils.flop_counter",
    "onnxruntime.quantization", "onnx.reference.ops",
    *(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in FILES),
    *(f"torch.onnx._internal.torchscript_exporter.symbolic_opset{version}" for version in range(7, 21)),
    "titrant.runtime.backends.mlx",
)  # fmt: skip


class Warm:
    """Runs `python ARGUMENTS` in processes that `tests/warm.py` forks, which start sooner than others.

    `place` is of the process's own; in `shared` it is said where the server listens that all of a session share.
    """

    def __init__(self, place, shared):
        self._place, self._shared, self._socket = place, shared, None
        self._server = self._folder = None  # of the one that it started itself

    def __call__(self, *arguments, cwd, env, timeout=600, starts=2):
        """Run a module or a script to its end; of the processes that it starts so many begin as it does."""
        files = [self._place / "out", self._place / "err"]
        with files[0].open("wb") as out, files[1].open("wb") as err:
            environment = {**os.environ, "PYTHONPATH": self._path, "CI": "true", **env}
            process = self.start(
                [sys.executable, *map(str, arguments)], cwd=cwd, env=environment, stdout=out, stderr=err, starts=starts
            )
            code = process.wait(timeout)
        return subprocess.CompletedProcess(arguments, code, *(file.read_text("utf-8") for file in files))

    def start(
        self, arguments, *, stdout, stderr, env, cwd=None, stdin=None, pass_fds=(), start_new_session=False, starts=2
    ):
        """Start a process as `subprocess.Popen` does, without input."""
        request = {
            "options": arguments[1:], "folder": str(cwd or Path.cwd()), "environment": dict(env), "passed": pass_fds,
            "session": start_new_session, "starts": starts,
        }  # fmt: skip
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            ends = nothing, stdout, stdout if stderr == subprocess.STDOUT else stderr
            streams = [end if isinstance(end, int) else end.fileno() for end in ends]
            return WarmProcess(self, self.ask(request, [*streams, *pass_fds]))

    def ask(self, request, descriptors=()):
        if self._socket is None:
            with FileLock(f"{self._shared}.lock"):
                self._socket = self._connected() or self._serve()
        socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
        return json.loads(self._socket.recv(64))

    @property
    def _path(self):
        return os.pathsep.join(filter(None, (SOURCE, os.environ.get("PYTHONPATH", ""))))

    def _connected(self):
        """Return a connection with the server that another process started; None where there is none, or no more."""
        if not self._shared.exists():
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(self._shared.read_text("utf-8"))
        except OSError:
            connection.close()
            return None
        return connection

    def _serve(self):
        # The path of a socket is short, and the folder is nobody else's.
        self._folder = tempfile.mkdtemp(prefix="warm-")
        path = f"{self._folder}/s"
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listens:
            listens.bind(path)
            listens.listen(128)
            self._server = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent / "warm.py"), str(listens.fileno()), *HEAVY],
                cwd=self._place, pass_fds=[listens.fileno()], stdin=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": self._path, "PYDANTIC_DISABLE_PLUGINS": "__all__", **one_thread},
            )  # fmt: skip
        self._shared.write_text(path, "utf-8")
        return self._connected()

    def close(self):
        if self._socket is not None:
            self._socket.close()
        if self._server is not None:
            self._server.stdin.close()
            self._server.wait()
            shutil.rmtree(self._folder, ignore_errors=True)


class WarmProcess:
    """A process that `tests/warm.py` forked."""

    def __init__(self, warm, pid):
        self.pid, self.returncode, self._warm = pid, None, warm

    def wait(self, timeout=None):
        if self.returncode is None:
            self.returncode = self._warm.ask({"wait": self.pid, "seconds": timeout})
        if self.returncode is None:
            raise subprocess.TimeoutExpired("python", timeout)
        return self.returncode

    def poll(self):
        if self.returncode is None:
            self.returncode = self._warm.ask({"wait": self.pid, "seconds": 0})
        return self.returncode

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
