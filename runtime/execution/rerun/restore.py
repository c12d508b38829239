"""Write the command that would bring a recorded environment back."""

from collections.abc import Mapping
from typing import Any


def restore(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return one line of pip with every package that is gone or has another version now; "" where none has.

    A version's local part (`+cpu`) is kept: it names the build. Where Python itself differs that is said first.
    """
    before, after = old.get("packages", {}), new.get("packages", {})
    wanted = [f"{name}=={version}" for name, version in before.items() if version and after.get(name) != version]
    command = f"pip install {' '.join(sorted(wanted, key=str.lower))}" if wanted else ""
    python = old.get("python")
    if python and _minor(python) != _minor(str(new.get("python", python))):
        return f"with Python {python}: {command}" if command else f"use Python {python}"
    return command


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
