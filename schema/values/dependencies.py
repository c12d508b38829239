"""What a result can depend on beside its key, and what stands for it: files, folders, packages, variables."""

import os
from collections.abc import Callable
from pathlib import Path

from titrant.schema.values.distributions import installed_version
from titrant.schema.values.files import digest_bytes, digest_file

# The user's code imports installed packages: `package:NAME` is one of them, and its version stands for a digest.
PACKAGE = "package:"
# `variable:NAME` is a variable of the environment that a line of the user's read.
VARIABLE = "variable:"
# `presence:PATH` is a path of which a line of the user's asked whether it is there.
PRESENCE = "presence:"
MISSING = "missing"
# The digest of a file that was written or replaced while it was read: no content has it.
CHANGED = "changed"


def current_digest(path: str, folder: Path, of: Callable[[Path], str] = digest_file) -> str:
    """Return what stands for a dependency now; "missing" if it is not there.

    Of a file its digest, by `of`; of a path that ends in a slash one of the sorted names in that folder. A module that
    a package of its name now stands before is another one. Paths within the recipe's folder are relative to it.
    """
    if path.startswith(PACKAGE):
        return installed_version(path.removeprefix(PACKAGE)) or MISSING
    if path.startswith(VARIABLE):
        return variable_digest(os.environ.get(path.removeprefix(VARIABLE)))
    if path.startswith(PRESENCE):
        return presence(folder / path.removeprefix(PRESENCE))
    place = folder / path
    try:
        digest = listing_digest(place) if path.endswith("/") else of(place)
        shadowed = path.endswith(".py") and (place.with_suffix("") / "__init__.py").is_file()
        return f"shadowed {digest}" if shadowed else digest
    except OSError:
        return MISSING


def shown(path: str) -> str:
    """Name a dependency for a person."""
    return f"environment variable {path.removeprefix(VARIABLE)}" if path.startswith(VARIABLE) else path


def variable_digest(value: str | None) -> str:
    """Digest what a variable of the environment holds; None is one that is not set."""
    return MISSING if value is None else digest_bytes(value.encode("utf-8", "surrogateescape"))


def presence(path: Path) -> str:
    """Say what is at a path: "folder", "file" for anything else, or "missing"."""
    if path.is_dir():
        return "folder"
    return "file" if path.exists() else MISSING


def listing_digest(folder: Path) -> str:
    """Digest what a folder lists."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir() if entry.name != "__pycache__")
    return digest_bytes("\0".join(names).encode("utf-8", "surrogateescape"))


def dependency_path(path: str, folder: Path) -> str:
    """Write a path relative to the recipe's folder where it lies in it, so that the folder may be moved."""
    slash, place = "/" if path.endswith("/") else "", Path(path)
    return (place.relative_to(folder).as_posix() if place.is_relative_to(folder) else str(place)) + slash


def relocated(dependency: str, move: Callable[[str], str]) -> str:
    """Return a dependency with its path as `move` gives it; what has none stays."""
    if dependency.startswith((PACKAGE, VARIABLE)):
        return dependency
    prefix = PRESENCE if dependency.startswith(PRESENCE) else ""
    return prefix + move(dependency.removeprefix(prefix))
