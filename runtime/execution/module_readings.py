"""Which files each of the user's modules has read since the process began."""

from collections.abc import Callable, Iterable
from pathlib import Path

from titrant.runtime.execution.user_files import MISSING


class ModuleReadings:
    """Reads by module; a path that ends in a slash is a folder that was listed.

    A file counts with the digest that it had when it was first read: what a module made of it then may still be in use,
    and a result that rests on two states of one file must not be found again.
    """

    def __init__(self) -> None:
        self._by_module: dict[str, set[str]] = {}
        self._digests: dict[str, str] = {}
        self._unsettled: dict[str, set[str]] = {}  # path → modules, of what is being watched

    def add(self, path: str, modules: Iterable[str]) -> None:
        """Note that some modules were at work when a path was read."""
        self._unsettled.setdefault(path, set()).update(modules)

    def settle(self, written: set[str], digest: Callable[[str], str]) -> None:
        """Digest what was noted, leaving out what was written too and what is not there."""
        noted, self._unsettled = self._unsettled, {}
        for path, modules in noted.items():
            if path in written or not Path(path).exists():
                continue
            if path not in self._digests:
                self._digests[path] = digest(path)
            for module in modules:
                self._by_module.setdefault(module, set()).add(path)

    def of(self, modules: Iterable[str]) -> dict[str, str]:
        """Return what some modules read: path → digest."""
        paths = set().union(*(self._by_module.get(module, ()) for module in modules))
        return {path: self._digests[path] for path in paths if self._digests[path] != MISSING}
