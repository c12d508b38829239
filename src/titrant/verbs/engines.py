"""Try in a child process whether each installed engine really loads, and remember the answer for its version."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from titrant.schema.facts import HardwareIdentity

# Installed distribution → the module that loads its native code.
ENGINES: Mapping[str, str] = {
    "torch": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxruntime-gpu": "onnxruntime",
    "openvino": "openvino",
    "nncf": "nncf",
    "torchao": "torchao.quantization",
    "bitsandbytes": "bitsandbytes",
    "transformers": "transformers",
    "tensorrt": "tensorrt",
    "mlx": "mlx.core",
}
_MAIN = "titrant.runtime.instruments.engine_probe"
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Engine:
    """An installed engine: `problem` says why it does not load, or is ""; `details` is what it says of itself."""

    name: str
    version: str
    problem: str = ""
    seconds: float = 0.0  # that loading took when it was tried
    details: Mapping[str, str] = field(default_factory=dict)


def engines(identity: HardwareIdentity, home: Path) -> tuple[Engine, ...]:
    """Return every installed engine of a machine, loaded once for each set of versions and drivers.

    `identity` must be this machine's. The first call takes as long as loading them all does, mostly 3 to 20 s.
    """
    from titrant.compiler.remember import remember, remembered
    from titrant.schema.canonical import plain, sha256

    found = {name: version for name, version in identity.packages.items() if name in ENGINES}
    drivers = sorted({gpu.driver or "" for gpu in identity.gpus})
    asked = {"engines": found, "python": identity.python, "prefix": sys.prefix, "drivers": drivers}
    place = home / "facts" / f"engines-{sha256(asked)[:16]}.json"
    kept = _read(remembered(place))
    if kept is None:
        tried = dict(_tried(list(dict.fromkeys(ENGINES[name] for name in ENGINES if name in found))))
        kept = tuple(
            Engine(name, version, one["problem"], one["seconds"], one["details"])
            for name, version in found.items()
            for one in (tried[ENGINES[name]],)
        )
        # What did not load is tried again: its cause may be mended without another version.
        if not any(engine.problem for engine in kept):
            remember(place, {"engines": plain(kept)})
    return kept


def _read(kept: Mapping[str, Any]) -> tuple[Engine, ...] | None:
    from titrant.schema.read_back import WrongValueError, read_back

    try:
        return read_back(tuple[Engine, ...], kept.get("engines"))
    except WrongValueError:
        return None


def _tried(modules: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each module and what was found; one that ends the child is named, and the rest get another child."""
    waiting = list(modules)
    while waiting:
        answered, problem = _child(waiting)
        yield from answered.items()
        waiting = [module for module in waiting if module not in answered]
        if waiting:
            yield waiting.pop(0), {"problem": problem, "seconds": 0.0, "details": {}}


def _child(modules: Sequence[str]) -> tuple[dict[str, Mapping[str, Any]], str]:
    """Return what the child said of each module, and how it ended."""
    command = [sys.executable, "-P", "-m", _MAIN, *modules]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        said, problem = done.stdout, f"loading it ends the process (code {done.returncode})"
    except subprocess.TimeoutExpired as error:
        said, problem = error.stdout or b"", f"it did not load within {_PATIENCE_SECONDS:g} s"
    answers = [json.loads(line) for line in said.split(b"\n")[:-1]]
    return {answer["module"]: answer for answer in answers if "module" in answer}, problem
