"""Distribution functions: SciPy's own, without what takes longest to load of it."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from scipy import special as whole  # noqa: TID253 - what the functions must equal

from titrant.runtime.contract.statistics import special

LOADED = """
import sys
from titrant.runtime.contract.statistics import special
bound = special.beta_quantile(532, 6, 0.05)
assert "scipy" in sys.modules and "scipy.special" not in sys.modules
from scipy.special import betaincinv, expit
import scipy.special
assert scipy.special.betaincinv is special._functions().betaincinv and betaincinv(532, 6, 0.05) == bound
print(bound, scipy.special._ufuncs.expit(0.0) == expit(0.0))
"""


def test_answers_as_the_public_functions_do():
    counts = np.arange(8)
    assert (special.binomial_at_most(counts, 7, 0.3) == whole.bdtr(counts, 7, 0.3)).all()
    assert special.binomial_above(2, 9, 0.5) == whole.bdtrc(2, 9, 0.5)
    assert special.beta_at_most(3.5, 4, 0.3) == whole.betainc(3.5, 4, 0.3)
    assert special.beta_quantile(3.2, 9, 0.05) == whole.betaincinv(3.2, 9, 0.05)


def test_loads_the_functions_alone_and_leaves_the_package_to_whoever_asks():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False)
    assert done.stdout == f"{whole.betaincinv(532, 6, 0.05)} True\n", done.stderr


@pytest.mark.parametrize("kept", [["scipy.special"], []])
def test_takes_the_package_where_it_is_loaded_or_was_built_otherwise(monkeypatch, kept):
    asked = []

    def import_module(name):
        asked.append(name)
        if name != "scipy.special":
            raise ImportError(name)
        return whole

    if not kept:
        monkeypatch.delitem(sys.modules, "scipy.special")
    monkeypatch.setattr(importlib, "import_module", import_module)
    assert special._functions.__wrapped__() is whole
    assert asked == (["scipy.special"] if kept else ["scipy.special._ufuncs", "scipy.special"])
    assert ("scipy.special" in sys.modules) is bool(kept)
