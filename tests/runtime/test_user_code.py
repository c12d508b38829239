"""The recipe's own code, called."""

import pytest

from titrant.runtime.user_code import call
from titrant.schema.diagnostics.diagnostics import StepError


def test_names_what_was_called_and_the_line():
    with pytest.raises(StepError, match=r"X108: the metric mine:one raised ZeroDivisionError: .*\(test_user_code.py:"):
        call("the metric mine:one", lambda: 1 / 0)


def test_leaves_that_memory_ran_out_to_whoever_runs_the_step():
    with pytest.raises(MemoryError):
        call("the metric mine:one", lambda: bytearray(1 << 62))
