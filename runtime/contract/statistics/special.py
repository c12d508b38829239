"""SciPy's compiled distribution functions, loaded without the layer for other arrays around them.

Loading `scipy.special` whole takes ten times as long as its functions, and longer than a contract takes to judge.
"""

import importlib
import sys
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_PACKAGE, _COMPILED = "scipy.special", "scipy.special._ufuncs"


def binomial_at_most(successes: Any, trials: Any, chance: Any) -> Any:
    """Return the probability of at most so many successes, numbers or arrays alike: `scipy.special.bdtr`."""
    return _functions().bdtr(successes, trials, chance)


def binomial_above(successes: Any, trials: Any, chance: Any) -> Any:
    """Return the probability of more than so many successes, numbers or arrays alike: `scipy.special.bdtrc`."""
    return _functions().bdtrc(successes, trials, chance)


def beta_at_most(first: Any, second: Any, share: Any) -> Any:
    """Return the probability that Beta(first, second) is at most a share (0..1): `scipy.special.betainc`.

    That many successes or more of whole counts `first` and `first + second - 1` trials are as likely at this chance.
    """
    return _functions().betainc(first, second, share)


def beta_quantile(first: Any, second: Any, probability: Any) -> Any:
    """Return the share (0..1) below which Beta(first, second) lies with a probability: `scipy.special.betaincinv`.

    Of `first` successes and `second - 1` failures it is the lower bound of Clopper and Pearson (1934).
    """
    return _functions().betaincinv(first, second, probability)


@cache
def _functions() -> ModuleType:
    """Return the compiled module; the whole package where it is loaded already, or was built otherwise.

    Both hold the very same functions.
    """
    spec = None if _PACKAGE in sys.modules else find_spec(_PACKAGE)
    places = None if spec is None else spec.submodule_search_locations
    if places is None:
        return importlib.import_module(_PACKAGE)
    # Imported below a package that is empty: the real one is there for whoever asks for it afterwards.
    empty = ModuleType(_PACKAGE)
    empty.__path__ = list(places)
    sys.modules[_PACKAGE] = empty
    try:
        compiled = importlib.import_module(_COMPILED)
    except ImportError:
        compiled = None
    finally:
        if sys.modules.get(_PACKAGE) is empty:
            del sys.modules[_PACKAGE]
    return compiled or importlib.import_module(_PACKAGE)
