"""Seed everything that draws random numbers, so that every step starts alike: Python, libraries, users' generators.

A library (NumPy, torch, MLX) that is not loaded yet is seeded as soon as it is imported.
"""

import copy
import gc
import importlib.util
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_LIBRARIES = ("numpy", "torch", "mlx.core")


@dataclass(frozen=True)
class Settings:
    """What a step may rely on; `threads` None leaves torch's own."""

    seed: int
    threads: int | None
    deterministic: bool


class Seeding:
    """Applies settings to the global state of Python and of the libraries, to these as soon as they are imported."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed  # of what users' modules draw while they are loaded
        self._settings = Settings(seed, 1, True)
        self._generators = Generators()

    def install(self) -> None:
        """Begin to watch for imports of the libraries, in place of whoever did so before."""
        sys.meta_path[:] = [self, *(finder for finder in sys.meta_path if not isinstance(finder, Seeding))]

    def apply(self, settings: Settings) -> None:
        """Begin a step."""
        self._begin(settings)
        self._generators.reset()

    @contextmanager
    def importing(self, module: ModuleType) -> Iterator[None]:
        """Give a user's module a random state of its own while it is loaded, and restore the one from before.

        Processes differ in the step in which the module is loaded, or load it while the recipe is inspected: neither
        what it draws may depend on that, nor what is drawn after it. So a seed that it sets counts for itself only.
        """
        settings, restores = self._settings, [restorer(name) for name in ("random", *_loaded())]
        self._begin(replace(settings, seed=self._seed))
        try:
            yield
        finally:
            self._begin(settings)
            for restore in restores:
                restore()
            self._generators.note(module)

    def _begin(self, settings: Settings) -> None:
        self._settings = settings
        random.seed(settings.seed)
        for name in _loaded():
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
            # It makes hundreds of thousands of objects and hardly any garbage: looking for some takes a tenth of it,
            # and as long again whenever all that is loaded is looked through later.
            collecting = gc.isenabled()
            gc.disable()
            try:
                execute(module)
            finally:
                if collecting:
                    gc.enable()
            gc.freeze()
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


def _loaded() -> list[str]:
    return [name for name in _LIBRARIES if name in sys.modules]


def restorer(name: str) -> Callable[[], None]:
    """Return a function that restores the present state of the global generator of "random" or a loaded library.

    MLX does not tell its state: its function does nothing, and the generator stays as it was last seeded.
    """
    if name == "random":
        state = random.getstate()
        return lambda: random.setstate(state)
    if name == "numpy":
        numpy = sys.modules["numpy"]
        legacy = numpy.random.get_state(legacy=False)
        return lambda: numpy.random.set_state(legacy)
    if name == "torch":
        torch = sys.modules["torch"]
        tensor = torch.get_rng_state()
        return lambda: torch.set_rng_state(tensor)
    return lambda: None


@contextmanager
def another_seed(seed: int) -> Iterator[None]:
    """Seed Python and the loaded libraries otherwise for a while; users' own generators go on from where they are."""
    restores = [restorer(name) for name in ("random", *_loaded())]
    random.seed(seed)
    for name in _loaded():
        if name == "torch":
            seed_torch(sys.modules[name], seed)
        else:
            sys.modules[name].random.seed(seed % 2**32)
    try:
        yield
    finally:
        for restore in restores:
            restore()


def seed_torch(torch: Any, seed: int) -> None:
    """Seed torch's generators, of every kind of device that it is built for, also those that are initialized later."""
    if torch.accelerator.current_accelerator() is None:
        # `torch.manual_seed` would keep, for each kind of device there is, what to do then, with the stack as text.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _set_torch(torch: Any, settings: Settings) -> None:
    seed_torch(torch, settings.seed)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    # As use_deterministic_algorithms, which also imports torch.compile's machinery, for 1.4 seconds.
    torch.set_deterministic_debug_mode("error" if settings.deterministic else "default")
    torch.backends.cudnn.benchmark = False


Reset = Callable[[], None]


class Generators:
    """The generators that stand in modules by name, as in `rng = numpy.random.default_rng(0)`.

    How far one was drawn from depends on what ran before in this process; what a step gives must not.
    """

    def __init__(self) -> None:
        self._resets: dict[int, Reset] = {}

    def note(self, module: ModuleType) -> None:
        """Remember where the generators of a module stand, which has just been loaded."""
        for value in vars(module).values():
            if id(value) not in self._resets and (reset := _reset_of(value)) is not None:
                self._resets[id(value)] = reset

    def reset(self) -> None:
        """Put them all back."""
        for reset in self._resets.values():
            reset()


def _reset_of(value: Any) -> Reset | None:
    """Return a function that sets a generator back to its present state, and keeps it alive; None for others."""
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        state = value.getstate()
        return lambda: value.setstate(state)
    numpy: Any = sys.modules.get("numpy.random")
    torch_generator: Any = getattr(sys.modules.get("torch"), "Generator", None)
    if numpy is not None and isinstance(value, numpy.RandomState):
        return _setting(value.set_state, copy.deepcopy(value.get_state(legacy=False)))
    if numpy is not None and isinstance(value, numpy.Generator):
        bits, began = value.bit_generator, copy.deepcopy(value.bit_generator.state)
        return lambda: setattr(bits, "state", copy.deepcopy(began))
    if torch_generator is not None and isinstance(value, torch_generator):
        return _setting(value.set_state, value.get_state())
    return None


def _setting(setter: Callable[[Any], Any], state: Any) -> Reset:
    def reset() -> None:
        setter(state)

    return reset


# What must be in the environment before an interpreter, or the first CUDA call, starts.
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_seeding: list[Seeding] = []


def set_seed(seed: int, *, deterministic: bool = True) -> Mapping[str, str]:
    """Seed Python, NumPy, torch (CPU, CUDA, MPS) and MLX, and with `deterministic` ask torch for deterministic kernels.

    Libraries that are not loaded yet are seeded when they are: nothing is imported here. PYTHONHASHSEED and
    CUBLAS_WORKSPACE_CONFIG are set for child processes, such as data-loader workers that are spawned and ranks; the
    hash seed of this process was fixed when it started. Returns the two, for a record. The same call again starts the
    same sequences again. Raises ValueError for a seed below 0 or of more than 63 bits.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ValueError(f"a seed is a whole number from 0 to 2**63 - 1, not {seed!r}")
    variables = {"PYTHONHASHSEED": str(seed % 2**32), **({_CUBLAS: ":4096:8"} if deterministic else {})}
    os.environ.update(variables)
    if not _seeding:
        _seeding.append(Seeding())
        _seeding[0].install()
    _seeding[0].apply(Settings(seed, None, deterministic))
    return variables
