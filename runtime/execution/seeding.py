"""Start every step from the same random state and settings, whether or not NumPy, torch and MLX are loaded already."""

import importlib.util
import random
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# torch.manual_seed reaches every CUDA device and MPS, also those that are initialized later.
_LIBRARIES = ("numpy", "torch", "mlx.core")


@dataclass(frozen=True)
class Settings:
    """What a step may rely on; `threads` None leaves torch's own."""

    seed: int
    threads: int | None
    deterministic: bool


class Seeding:
    """Applies settings to the global state of Python and of the libraries, to these as soon as they are imported."""

    def __init__(self) -> None:
        self._settings = Settings(0, 1, True)

    def install(self) -> None:
        """Begin to watch for imports of the libraries."""
        sys.meta_path.insert(0, self)

    def apply(self, settings: Settings) -> None:
        """Begin a step."""
        self._settings = settings
        random.seed(settings.seed)
        for name in _LIBRARIES:
            if name in sys.modules:
                self._set(name)

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        """Find one of the libraries as anybody else would, and set it up once it is executed."""
        if name not in _LIBRARIES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._set(name)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _set(self, name: str) -> None:
        if name == "numpy":
            sys.modules["numpy"].random.seed(self._settings.seed % 2**32)
        elif name == "mlx.core":
            sys.modules["mlx.core"].random.seed(self._settings.seed)
        else:
            _set_torch(sys.modules["torch"], self._settings)


def _set_torch(torch: Any, settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    # As use_deterministic_algorithms, which also imports torch.compile's machinery, for 1.4 seconds.
    torch.set_deterministic_debug_mode("error" if settings.deterministic else "default")
    torch.backends.cudnn.benchmark = False
