"""How many cores and how much memory and disk this process may use: affinity and control groups, versions 1 and 2."""

import os
from collections.abc import Iterator
from pathlib import Path

# Version 1 writes "no limit" as the largest page-aligned number.
_NO_LIMIT = 1 << 60


def usable_cores(root: Path = Path("/")) -> int:
    """Count the cores this process can keep busy: its affinity, cut to whole cores of the CPU quota; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _groups("cpu", root) if (quota := _quota(folder)) is not None]
    return max(1, min([affinity, *(int(quota) for quota in quotas)]))


def memory_total(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that this process can ever have, or None where the system does not say."""
    installed = _meminfo(root).get("MemTotal")
    if installed is None:
        return _psutil_memory("total")
    return min([installed, *(limit for folder in _groups("memory", root) if (limit := _limit(folder)) is not None)])


def memory_available(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that can be had now; file cache counts as free."""
    free = _meminfo(root).get("MemAvailable")
    if free is None:
        return _psutil_memory("available")
    lefts = [left for folder in _groups("memory", root) if (left := _left_in_group(folder)) is not None]
    return max(0, min([free, *lefts]))


def disk_free(folder: Path) -> int | None:
    """Return the bytes free for us where `folder` is, or will be created."""
    import shutil

    try:
        places = (folder, *folder.absolute().parents)
    except OSError:  # the current folder was removed
        return None
    for place in places:
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return None
    return None


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control group and of every group above it."""
    mount = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            tree = mount
        elif controller in controllers.split(","):
            tree = mount / controller
        else:
            continue
        # In a container the group's own path may not be mounted: then only the tree's top is there.
        path = Path(group.lstrip("/"))
        for part in (path, *path.parents):
            if ".." not in part.parts and _is_folder(tree / part):
                yield tree / part


def _quota(folder: Path) -> float | None:
    """Cores' worth of time that the group gets, or None without a quota."""
    line = " ".join(_lines(folder / "cpu.max"))
    if not line:
        line = " ".join(f"{_number(folder / f'cpu.cfs_{part}_us')}" for part in ("quota", "period"))
    quota, period = (_whole(part) for part in line.partition(" ")[::2])
    return quota / period if quota is not None and period else None


def _limit(folder: Path) -> int | None:
    limit = _number(folder / "memory.max")
    if limit is None:
        limit = _number(folder / "memory.limit_in_bytes")
    return limit if limit is not None and limit < _NO_LIMIT else None


def _left_in_group(folder: Path) -> int | None:
    """Bytes that the group may still take; cached file pages that can be dropped do not count as taken."""
    limit = _limit(folder)
    used = _number(folder / "memory.current")
    if used is None:
        used = _number(folder / "memory.usage_in_bytes")
    if limit is None or used is None:
        return None
    stat = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat") if " " in line)
    cache = _whole(stat.get("total_inactive_file", stat.get("inactive_file", "0")))
    return limit - used + min(cache or 0, used)


def _meminfo(root: Path) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for line in _lines(root / "proc/meminfo"):
        key, _, value = line.partition(":")
        amount = _whole(" ".join(value.split()[:1]))
        if amount is not None:
            amounts[key] = amount * 1024
    return amounts


def _psutil_memory(name: str) -> int | None:
    import psutil

    try:
        return int(getattr(psutil.virtual_memory(), name))
    except (OSError, RuntimeError):
        return None


def _number(path: Path) -> int | None:
    return _whole("".join(_lines(path)))


def _whole(text: str) -> int | None:
    """Read digits and nothing else, of a number that 64 bits can hold; None otherwise."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return []
