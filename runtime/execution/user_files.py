"""Digests of the user's files that a result depends on, and whether they are still what they were."""

from collections.abc import Iterable
from pathlib import Path

from titrant.schema.file_digest import digest_bytes, digest_file
from titrant.schema.installed_versions import installed_version
from titrant.schema.record import PACKAGE, Dependency

MISSING = "missing"


def unchanged(dependencies: Iterable[Dependency], folder: Path) -> bool:
    """Tell whether every file still has its digest; paths within the recipe's folder are relative to it."""
    return first_changed(dependencies, folder) is None


def first_changed(dependencies: Iterable[Dependency], folder: Path) -> Dependency | None:
    """Return the first dependency whose file is not what it was."""
    return next((item for item in dependencies if current_digest(item.path, folder) != item.digest), None)


def current_digest(path: str, folder: Path) -> str:
    """Digest a file; of a path that ends in a slash, the sorted names in that folder; "missing" if it is not there."""
    if path.startswith(PACKAGE):
        return installed_version(path.removeprefix(PACKAGE)) or MISSING
    place = folder / path
    try:
        return listing_digest(place) if path.endswith("/") else digest_file(place)
    except OSError:
        return MISSING


def listing_digest(folder: Path) -> str:
    """Digest what a folder lists."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir() if entry.name != "__pycache__")
    return digest_bytes("\0".join(names).encode())


def dependency_path(path: Path, folder: Path) -> str:
    """Write a path relative to the recipe's folder where it lies in it, so that the folder may be moved."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
