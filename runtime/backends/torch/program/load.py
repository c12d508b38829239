"""Load torch.export files (.pt2): titrant's own, and those of others, whose pickles are never run."""

import contextlib
import functools
import io
import json
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.torch.session import Border, TorchSession, need_device
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import torch

    from titrant.runtime.values import ExportedModel

# What every torch.export file holds, below a folder that is named after the file it was written as.
PROGRAM = "models/model.json"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
COMPILED = "data/aotinductor/"
_DAMAGED = "the file is damaged, or needs another torch: export it again"


def open_exported(model: "ExportedModel", *, threads: int, device: str = "cpu") -> TorchSession:
    """Load a torch.export file; StepError X212 for one that torch cannot load, X220 for a device that is not there."""
    need_device(device)
    program, border = load_program(model, device)
    return TorchSession(functools.partial(program.module()), border, threads, device)


def load_program(model: "ExportedModel", device: str = "cpu") -> "tuple[torch.export.ExportedProgram, Border]":
    """Load a torch.export file and what its `titrant.json` says of its inputs and outputs.

    Raises StepError X212 for a file that torch cannot load.
    """
    program, extra = read_program(model.path)
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return program, Border.read(extra.get("titrant.json", ""), model.path.name)


def read_program(path: Path) -> "tuple[torch.export.ExportedProgram, dict[str, str]]":
    """Load any torch.export file on the CPU; returns the program and its extra files.

    Raises StepError X212 for one that is damaged or of another kind, X281 for one that holds pickles: they run code.
    """
    import torch

    _check_records(path)
    extra: dict[str, Any] = {"titrant.json": ""}
    try:
        with quiet():
            return torch.export.load(path, extra_files=extra), extra
    except (RuntimeError, ValueError, KeyError, AttributeError, AssertionError, TypeError) as error:
        raise _unloadable(path, reason_of(error)) from None


def reason_of(error: Exception) -> str:
    """Say in one line why torch could not load a file, an operator that is missing by its name."""
    missing = re.search(r"torch\.ops\.(\w+)\.(\w+)", f"{error} {error.__context__ or ''} {error.__cause__ or ''}")
    if missing is not None:
        return f"it calls {missing[1]}.{missing[2]}, which nothing here brings"
    return first_line(error)


def _check_records(path: Path) -> None:
    """Refuse a file that is no torch.export file, and one whose tensors are pickled, before torch looks at it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            top = names[0].partition("/")[0] if names else ""
            inside = {name.removeprefix(f"{top}/") for name in names}
            if PROGRAM not in inside:
                raise _unloadable(path, _other(inside), "name a file that torch.export.save wrote")
            for config in _CONFIGS:
                said = json.loads(archive.read(f"{top}/{config}"))["config"] if config in inside else {}
                _refuse_pickles(path, said)
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unloadable(path, first_line(error)) from None


def _other(inside: set[str]) -> str:
    """Say what an archive without a program is."""
    if any(name.startswith(COMPILED) for name in inside):
        return "it is a package that AOTInductor compiled, which holds machine code and no graph"
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return "it is a TorchScript file"
    return "it is a file of weights" if "data.pkl" in inside else "it holds no program of torch.export"


def _refuse_pickles(path: Path, config: Any) -> None:
    pickled = sorted(name for name, said in config.items() if said.get("use_pickle"))
    if pickled:
        message = f"{path.name} keeps {pickled[0]} as a pickle, and loading it would run code from the file"
        help = "export the model again with plain tensors: torchao.utils.unwrap_tensor_subclass(model) before it"
        raise StepError(Diagnostic("X281", message, help=help))


def _unloadable(path: Path, reason: str, help: str = _DAMAGED) -> StepError:
    return StepError(Diagnostic("X212", f"torch cannot load {path.name}: {reason}", help=help))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch logs, warns of and prints while it exports or loads off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch", "torchao")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
