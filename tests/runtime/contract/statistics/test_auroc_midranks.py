"""Midranks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata  # noqa: TID253 - the independent computation

from titrant.runtime.contract.statistics.auroc import midranks


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_ranks_as_scipy_does(scores):
    assert midranks(np.array(scores, float)).tolist() == rankdata(scores).tolist()
