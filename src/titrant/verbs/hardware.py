"""Describe this machine or another, and save or load a description to plan with."""

import json
from pathlib import Path

from titrant.schema.canonical import plain
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import Hardware
from titrant.schema.os_reason import os_reason
from titrant.write_file import write_file

_SAID = {"missing": "is missing", "extra_forbidden": "is not a key of a machine's description"}
_SAVE = "write one on that machine with: titrant hardware --save FILE"


def save_hardware(hardware: Hardware, file: Path) -> None:
    """Write a machine's facts as JSON for `titrant plan --hardware FILE`; RecipeError P003 where it cannot be."""
    write_file(file, json.dumps(plain(hardware), indent=1, sort_keys=True) + "\n")


def find_hardware(named: str) -> Hardware:
    """Return the machine that a name or path stands for: a shipped profile, or a saved file (.json, .yaml).

    Its source is the profile's or the file's name, so that a plan says that it is planned elsewhere. RecipeError P002
    for what is neither; a misspelt profile is told the nearest.
    """
    from titrant.compiler.profile import profiles, shipped_profile

    if named in profiles():
        return shipped_profile(named).hardware
    file = Path(named)
    if not file.exists() and file.parent == Path() and file.suffix not in (".json", ".yaml", ".yml"):
        raise RecipeError(Diagnostic("P002", f"there is no profile '{named}'", help=_nearest(named, profiles())))
    return load_hardware(file)


def load_hardware(file: Path) -> Hardware:
    """Read a saved machine (.json), or one described by hand as the shipped profiles are (.yaml)."""
    from titrant.compiler.profile import read_profile

    try:
        text = file.read_text("utf-8")
        if file.suffix in (".yaml", ".yml"):
            return read_profile(text, file.name).hardware
        return _saved(text, file.name)
    except FileNotFoundError:
        problem = f"there is no file {file}"
    except OSError as error:
        problem = f"{file} cannot be read: {os_reason(error)}"
    except (ValueError, TypeError, RecursionError) as error:
        problem = f"{file} does not describe a machine ({_reason(error)})"
    raise RecipeError(Diagnostic("P002", problem, help=_SAVE))


def _saved(text: str, name: str) -> Hardware:
    from pydantic import TypeAdapter

    return TypeAdapter(Hardware).validate_python({**json.loads(text), "source": name})


def _reason(error: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] in _SAID:
            return f"{place} {_SAID[first['type']]}"
        return f"{place}: {first['msg'].removeprefix('Value error, ')}" if place else first["msg"]
    return str(error).splitlines()[0]


def _nearest(named: str, names: tuple[str, ...]) -> str:
    from titrant.schema.nearest import nearest

    near = nearest(named, names, 0.6)
    listed = f"the shipped profiles are: {', '.join(names)}"
    return f"did you mean '{near}'? {listed}" if near else f"{listed}; or {_SAVE}"
