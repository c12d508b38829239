"""Put the random generators that a user's modules keep back to where they stood when the module had been loaded."""

import copy
import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

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
    """Return what puts a generator back to where it stands now; None for what is none. It keeps the generator alive."""
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
