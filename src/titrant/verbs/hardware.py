"""Describe this machine, and save or load a description to plan with."""

import json
from pathlib import Path

from titrant.schema.canonical import plain
from titrant.schema.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import Hardware


def save_hardware(hardware: Hardware, file: Path) -> None:
    """Write a machine's facts as JSON for `titrant plan --hardware FILE`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(plain(hardware), indent=1, sort_keys=True) + "\n", "utf-8")


def load_hardware(file: Path) -> Hardware:
    """Read a saved machine; its source becomes the file's name, so that a plan says that it is planned elsewhere."""
    from pydantic import TypeAdapter, ValidationError

    try:
        value = json.loads(file.read_text("utf-8"))
        return TypeAdapter(Hardware).validate_python({**value, "source": file.name})
    except FileNotFoundError:
        problem = f"there is no file {file}"
    except (ValueError, TypeError, ValidationError) as error:
        problem = f"{file} does not describe a machine ({str(error).splitlines()[0]})"
    raise RecipeError(Diagnostic("P002", problem, help="write one on that machine with: titrant hardware --save FILE"))
