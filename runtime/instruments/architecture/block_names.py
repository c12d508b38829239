"""Which blocks a layer stands in, by its name."""

from collections.abc import Iterator, Sequence


def scope_path(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the path of nested modules, each named by its whole path with dots."""
    last = next((scope for scope in reversed(scopes) if scope), "")
    return tuple(last.split(".")) if last else ()


def name_path(name: str) -> tuple[str, ...] | None:
    """Return the blocks that a node's name puts it in, as "/layer1/layer1.0/conv1/Conv" does; None where it says none."""
    parts = [part for part in name.split("/") if part]
    if len(parts) < 2 and "/" not in name:
        parts = name.split(".")
    if len(parts) < 2:
        return None if not name.startswith("/") else ()
    path: list[str] = []
    above = ""
    for part in parts[:-1]:
        inside = part[len(above) + 1 :] if above and part.startswith(f"{above}.") else part
        above = part
        path.append(inside)
    return tuple(path)


def filled(paths: Sequence[tuple[str, ...] | None]) -> Iterator[tuple[str, ...]]:
    """Put a node whose name says nothing into the blocks that the nodes before and after it have in common."""
    after: list[tuple[str, ...]] = []
    coming: tuple[str, ...] = ()
    for path in reversed(paths):
        coming = path if path is not None else coming
        after.append(coming)
    before: tuple[str, ...] = ()
    for path, ahead in zip(paths, reversed(after), strict=True):
        if path is not None:
            before = path
            yield path
            continue
        same = 0
        while same < min(len(before), len(ahead)) and before[same] == ahead[same]:
            same += 1
        yield before[:same]
