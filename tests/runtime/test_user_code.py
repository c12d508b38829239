"""The recipe's own code, called."""

import os

import pytest

from titrant.runtime.user_code import Territory, call, call_in_parent, reason_of
from titrant.schema.diagnostics.diagnostics import StepError


def test_names_what_was_called_and_the_line():
    raised = r"X108: the metric mine:one raised ZeroDivisionError \(test_user_code.py:\d+\) "
    with pytest.raises(StepError, match=raised):
        call("the metric mine:one", lambda: 1 / 0)


def test_leaves_out_what_the_users_code_says_for_it_may_hold_rows():
    with pytest.raises(StepError) as caught:
        call("mine:rows()", lambda: float("Jane Doe"))
    (diagnostic,) = caught.value.diagnostics
    assert "Jane Doe" not in str(caught.value) + repr(caught.value.diagnostics) + reason_of(caught.value)
    assert diagnostic.said == "could not convert string to float: 'Jane Doe'"


def test_leaves_that_memory_ran_out_to_whoever_runs_the_step():
    with pytest.raises(MemoryError):
        call("the metric mine:one", lambda: bytearray(1 << 62))


def test_calls_a_function_whose_arguments_have_any_names():
    assert call("it", lambda what, function, args: (what, function, args), what=1, function=2, args=3) == (1, 2, 3)


def test_takes_files_in_memory_for_the_users_and_devices_for_the_systems(tmp_path):
    territory = Territory(tmp_path)
    owned = [territory.owns(path) for path in ("/dev/shm/rows.npz", "/dev/shm", "/dev/null", "/etc/hosts")]
    assert owned == [True, True, False, False]


@pytest.mark.parametrize(("raises", "code"), [(False, 0), (True, 1)])
def test_ends_a_copy_of_the_process_that_comes_back(raises, code):
    children = []

    def fork():
        if pid := os.fork():
            children.append(pid)
        elif raises:
            raise ValueError("in the copy")

    call_in_parent(fork)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == code
