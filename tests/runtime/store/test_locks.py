"""One process computes a step; the others are told who does."""

import os
import threading

import pytest

from titrant.runtime.store.home import open_home
from titrant.runtime.store.locks import computing, using


def test_makes_the_second_wait_and_names_the_holder(tmp_path):
    home, order, told, inside = open_home(tmp_path), [], [], threading.Event()

    def second():
        with computing(home, "key", lambda who: (told.append(who), inside.set())):
            order.append("second")

    with computing(home, "key", pytest.fail):
        thread = threading.Thread(target=second)
        thread.start()
        assert inside.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert f"process {os.getpid()} on " in told[0]
    assert list(home.locks.iterdir()) == []


def test_does_not_wait_for_a_process_that_is_gone(tmp_path):
    home = open_home(tmp_path)
    (home.locks / "key.lock").write_text("")
    (home.locks / "key.json").write_text('{"pid": 1, "host": "x", "since": "y"}')
    with computing(home, "key", pytest.fail):
        pass


def test_lets_different_keys_pass_each_other(tmp_path):
    home = open_home(tmp_path)
    with computing(home, "one", pytest.fail), computing(home, "other", pytest.fail):
        pass


def test_removes_what_a_killed_run_left_when_the_next_one_begins(tmp_path):
    home = open_home(tmp_path)
    (home.locks / "run-0123456789abcdef.lock").write_text("")
    (home.locks / "run-0123456789abcdef.json").write_text("{}")
    with using(home, "running toy", pytest.fail):
        assert not list(home.locks.glob("run-0123456789abcdef*"))
        assert len(list(home.locks.glob("run-*.lock"))) == 1
    assert list(home.locks.iterdir()) == []
