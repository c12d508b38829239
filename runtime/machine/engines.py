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
        loaded = importlib.import_module(module)
        details = DETAILS[module](loaded) if module in DETAILS else {}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a library that is broken may raise anything
        text = " ".join(str(error).split())
        return {"problem": f"{type(error).__name__}: {text}"[:300], "seconds": _since(start), "details": {}}
    return {"problem": "", "seconds": _since(start), "details": details}


def _torch(torch: Any) -> dict[str, str]:
    """Return what torch was built for, and what of it works here."""
    cuda = torch.cuda.is_available()
    details = {"CUDA build": torch.version.cuda, "CUDA works": _yes(cuda)}
    if cuda:
        cudnn = torch.backends.cudnn.version()
        details |= {"GPUs": str(torch.cuda.device_count()), "cuDNN": str(cudnn) if cudnn else None}
        details |= {"native bf16": _yes(torch.cuda.is_bf16_supported(including_emulation=False))}
    if torch.backends.mps.is_built():
        details["MPS works"] = _yes(torch.backends.mps.is_available())
    return {name: str(text) for name, text in details.items() if text is not None}


def _onnxruntime(onnxruntime: Any) -> dict[str, str]:
    return {"providers": ", ".join(onnxruntime.get_available_providers())}


def _openvino(openvino: Any) -> dict[str, str]:
    return {"devices": ", ".join(openvino.Core().available_devices)}


def _mlx(mlx: Any) -> dict[str, str]:
    return {"device": str(mlx.default_device())}


DETAILS: Mapping[str, Callable[[Any], dict[str, str]]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "mlx.core": _mlx,
}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


if __name__ == "__main__":
    main(sys.argv[1:])
