"""The child process that tries whether installed engines load: a line before each, and one with what it found.

Called as `python -P -m titrant.runtime.machine.engines MODULE…`. A module that takes the process down with it
is the one whose line is missing.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from titrant.runtime.backends.backend import all_backends


def main(modules: list[str]) -> None:
    """Import each module and say what it says of itself."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in modules:
        print(json.dumps({"trying": module}), file=answers, flush=True)
        print(json.dumps({"module": module, **probe(module)}), file=answers, flush=True)


def probe(module: str) -> dict[str, Any]:
    """Return {"problem": "" or why it does not load, "seconds", "details": {name: text}}."""
    start = time.perf_counter()
    try:
        importlib.import_module(module)
        details = _details(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a library that is broken may raise anything
        text = " ".join(str(error).split())
        return {"problem": f"{type(error).__name__}: {text}"[:300], "seconds": _since(start), "details": {}}
    return {"problem": "", "seconds": _since(start), "details": details}


def _mlx() -> dict[str, str | None]:
    import mlx.core

    return {"device": str(mlx.core.default_device())}


# What libraries say of themselves that no engine of titrant's rests on yet.
_LIBRARIES: Mapping[str, Callable[[], Mapping[str, str | None]]] = {"mlx.core": _mlx}


def _details(module: str) -> dict[str, str]:
    """Return what a module that was loaded says of itself."""
    engine = next((engine for engine in all_backends() if engine.module == module), None)
    ask = _LIBRARIES.get(module) if engine is None else engine.details
    return {} if ask is None else {name: text for name, text in ask().items() if text is not None}


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


if __name__ == "__main__":
    main(sys.argv[1:])
