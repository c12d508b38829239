"""What installed packages add to titrant: engines, formats and operators, found by their entry points alone.

A distribution names them in its metadata, in the groups `titrant.backends` (an engine), `titrant.formats` (what
`export` may ask for) and `titrant.operators` (`family.name`), each with the module that brings it. Nothing is imported
to find them.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from titrant.schema.values.distributions import bytes_of, metadata_folders
from titrant.schema.values.files import digest_bytes, digest_file
from titrant.schema.values.frozen import dataclass

_FILE = "entry_points.txt"
_PREFIX = "titrant."
_OURS = f"[{_PREFIX}".encode()
_NONE: Mapping[str, "Extension"] = {}


@dataclass(frozen=True)
class Extension:
    """Something that an installed distribution brings, by the name that recipes use, and the module that holds it."""

    name: str
    module: str
    distribution: str


def extensions(group: str) -> Mapping[str, Extension]:
    """Return what is installed of a group (backends, formats, operators), by name and sorted by it.

    Of two distributions that bring the same name the one that comes first on `sys.path` counts, as it does for imports.
    """
    return by_group().get(group, _NONE)


@cache
def by_group() -> Mapping[str, Mapping[str, Extension]]:
    """Read the metadata of every distribution, once a process: what is installed later is seen by the next one."""
    groups: dict[str, dict[str, Extension]] = {}
    for distribution, folder in metadata_folders(sys.path):
        for group, name, module in _declared(bytes_of(f"{folder}/{_FILE}")):
            groups.setdefault(group, {}).setdefault(name, Extension(name, module, distribution))
    return {group: {name: members[name] for name in sorted(members)} for group, members in groups.items()}


def _declared(points: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield (group, name, module) of each entry point in titrant's groups."""
    if _OURS not in points:
        return
    try:
        text = points.decode()
    except UnicodeDecodeError:
        return
    from configparser import ConfigParser, Error

    parser = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(text)
    except Error:
        return
    for section in parser.sections():
        if section.startswith(_PREFIX):
            group = section.partition(".")[2]
            yield from ((group, name, module.strip()) for name, module in parser[section].items())


def code_digest(extension: Extension) -> str:
    """Digest the Python files of the package that brings an extension, by their paths in it.

    A package that is installed where it is edited changes without a new version. "" where its files are not found.
    """
    top = extension.module.partition(".")[0]
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    single = [Path(spec.origin)] if spec.origin and not folders else []
    named = [(file.name, file) for file in single]
    named += [(file.relative_to(folder).as_posix(), file) for folder in folders for file in folder.rglob("*.py")]
    return _digest_of(tuple((name, str(file), file.stat().st_mtime_ns) for name, file in sorted(named)))


@cache
def _digest_of(files: tuple[tuple[str, str, int], ...]) -> str:
    return digest_bytes("\0".join(f"{name}\0{digest_file(Path(file))}" for name, file, _ in files).encode())
