"""Versions and licenses of installed distributions, read from metadata without importing them."""

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from functools import cache
from importlib.machinery import all_suffixes
from stat import S_ISDIR

from titrant.schema.values.frozen import dataclass

_KINDS = (".dist-info", ".egg-info")
# A folder changed this short a time ago may change again within the clock's grain.
_YOUNG_NS = 2_000_000_000
_NAME, _VERSION = (re.compile(f"^{key}: (.*)$", re.M) for key in ("Name", "Version"))
# With the lines that go on with a field, which begin with a space.
_FIELD = re.compile(r"^(license|license-expression|classifier):[ \t]*(.*(?:\n[ \t].*)*)", re.M | re.I)
_SHORT = 60  # characters: what is longer is a license's whole text


@dataclass(frozen=True)
class _Folder:
    """One folder of `sys.path` as it was listed: metadata by distribution, and the versions that were read there.

    Any install, upgrade or removal changes the time of its last change.
    """

    changed_ns: int
    inode: int
    places: Mapping[str, str]
    versions: dict[str, str | None] = field(default_factory=dict)


_seen: dict[str, _Folder] = {}


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, None where there is none of that name or it does not say.

    It is what `importlib.metadata` answers, without its 20 ms of imports and its parsing of whole files. What was read
    is remembered while its folder is unchanged, so that a package installed meanwhile is seen. The first folder on
    `sys.path` that has the distribution counts, as it does for imports.
    """
    name = _normal(distribution)
    folder = _folder_of(name)
    if folder is None:
        return _asked(distribution)
    if name in folder.places and name not in folder.versions:
        folder.versions[name] = _read(folder.places[name])
    return folder.versions.get(name)


def distributions_with(package: str) -> tuple[str, ...]:
    """Return the installed distributions that bring an importable top-level package or module, in import order.

    It is what `importlib.metadata.packages_distributions` of Python 3.12 answers for one name, without parsing the
    metadata and every line of the file lists of all that is installed, which takes 0.3 s.
    """
    if any(_folder(entry or os.curdir) is None for entry in sys.path):
        return tuple(_asked_for(package))
    listed = re.compile(rf'^"?{re.escape(package)}(?:/|(?:{"|".join(map(re.escape, all_suffixes()))}),)'.encode(), re.M)
    places = (place for _, place in metadata_folders(sys.path) if _brings(place, package, listed))
    return tuple(dict.fromkeys(name for place in places if (name := _read(place, "Name:")) is not None))


def packages() -> dict[str, str]:
    """Return every installed distribution with its version; a folder is read again when it changed.

    It is what `importlib.metadata.distributions` answers, without parsing each METADATA as an e-mail.
    """
    versions: dict[str, str] = {}
    for entry in sys.path:
        try:
            changed_ns = os.stat(entry or os.curdir).st_mtime_ns  # noqa: PTH116 - as below
        except (OSError, ValueError):
            continue
        read = _versions_in.__wrapped__ if time.time_ns() - changed_ns < _YOUNG_NS else _versions_in
        versions |= read(entry, changed_ns)
    return {name: versions[name] for name in sorted(versions, key=str.lower)}


@cache
def _versions_in(entry: str, changed_ns: int) -> dict[str, str]:
    """Return the distributions of one folder of `sys.path`, as it is since it changed."""
    from importlib import metadata

    heads = (_head(item.read_text("METADATA") or "") for item in metadata.distributions(path=[entry]))
    lines = ([key.search(head) for key in (_NAME, _VERSION)] for head in heads)
    return {name[1]: version[1] if version else "" for name, version in lines if name}


def licenses(names: Iterable[str]) -> dict[str, str]:
    """Return what installed distributions declare as their license; one that says nothing is left out.

    An SPDX expression where there is one, else the short text or the classifier that an older package has.
    """
    declared: dict[str, str] = {}
    for name in names:
        about = _fields(_metadata(name))
        classifiers = [text for text in about["classifier"] if text.startswith("License :: ")]
        short = next(iter(about["license"]), "")
        expression = next(iter(about["license-expression"]), "") or (
            short if len(short) < _SHORT and "\n" not in short else ""
        )
        if text := expression or (classifiers[0].rpartition(" :: ")[2] if classifiers else ""):
            declared[name] = " ".join(text.split())
    return declared


def _metadata(distribution: str) -> str:
    """Return the head of an installed distribution's metadata, "" where there is none."""
    name = _normal(distribution)
    folder = _folder_of(name)
    if folder is None:
        return _asked_head(distribution)
    if name not in folder.places:
        return ""
    place = folder.places[name]
    files = (f"{place}/METADATA", f"{place}/PKG-INFO", place)
    text = next(filter(None, map(bytes_of, files)), b"").decode("utf-8", "replace")
    return _head("\n".join(text.splitlines()) if "\r" in text else text)


def _fields(head: str) -> Mapping[str, list[str]]:
    """Read the fields of metadata that speak of licenses, as `email` reads headers, which takes ten times as long."""
    fields: dict[str, list[str]] = {"license": [], "license-expression": [], "classifier": []}
    for match in _FIELD.finditer(head):
        fields[match[1].lower()].append(match[2])
    return fields


def _head(text: str) -> str:
    """Return a METADATA without the description."""
    return text.partition("\n\n")[0]


def _brings(place: str, package: str, listed: re.Pattern[bytes]) -> bool:
    """Whether a distribution says that it brings a package, or, where it says nothing, lists a file of it."""
    declared = bytes_of(f"{place}/top_level.txt").split()
    if declared:
        return package.encode() in declared
    files = bytes_of(f"{place}/RECORD")
    return package.encode() in files and listed.search(files) is not None  # the pattern alone takes five times as long


def bytes_of(file: str) -> bytes:
    """Read a file of the metadata whole; b"" where there is none."""
    try:
        with open(file, "rb", buffering=0) as raw:  # noqa: PTH123 - asked of every distribution
            return raw.read()
    except OSError:
        return b""


def metadata_folders(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield every installed distribution's name, as metadata folders spell it, with that folder, in import order."""
    for path in paths:
        folder = _folder(path or os.curdir)
        if folder is not None:
            yield from folder.places.items()


def _folder_of(name: str) -> _Folder | None:
    """Return the first folder of `sys.path` that has a distribution, an empty one where none has.

    None where one that comes before cannot be listed.
    """
    folders = (_folder(entry or os.curdir) for entry in sys.path)
    return next((folder for folder in folders if folder is None or name in folder.places), _Folder(0, 0, {}))


def _folder(path: str) -> _Folder | None:
    """List a folder, unless it was and did not change; None for an archive, which only importlib can read."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked at every look-up
    except (OSError, ValueError):
        return _Folder(0, 0, {})
    if not S_ISDIR(status.st_mode):
        return None
    folder = _seen.get(path)
    if folder is None or (folder.changed_ns, folder.inode) != (status.st_mtime_ns, status.st_ino):
        folder = _Folder(status.st_mtime_ns, status.st_ino, _listed(path))
        if time.time_ns() - status.st_mtime_ns > _YOUNG_NS:
            _seen[path] = folder
    return folder


def _listed(folder: str) -> Mapping[str, str]:
    places: dict[str, str] = {}
    try:
        names = os.listdir(folder)  # noqa: PTH208 - a thousand names, of which none becomes a path
    except OSError:
        return places
    for name in names:
        if name.lower().endswith(_KINDS):
            places.setdefault(_normal(name.rpartition(".")[0].partition("-")[0]), f"{folder}/{name}")
    return places


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _read(place: str, key: str = "Version:") -> str | None:
    """Read a line from the head of a distribution's metadata: the whole text may be a long description."""
    for file in (f"{place}/METADATA", f"{place}/PKG-INFO", place):
        try:
            with open(file, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
                for line in lines:
                    if line.startswith(key):
                        return line.partition(":")[2].strip()
                    if line == "\n":
                        return None
        except OSError:
            continue
    return None


def _asked(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError, KeyError):
        return None


def _asked_head(distribution: str) -> str:
    from importlib import metadata

    try:
        item = metadata.distribution(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return ""
    return _head(item.read_text("METADATA") or item.read_text("PKG-INFO") or item.read_text("") or "")


def _asked_for(package: str) -> list[str]:
    from importlib import metadata

    return list(metadata.packages_distributions().get(package, ()))
