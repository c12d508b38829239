"""Folders for work in progress: swept when the process that made them is gone, left alone while it runs."""

import os
import subprocess
import sys

import psutil
import pytest

from titrant.runtime.store.home import host, open_home, sweep, unfinished_folder


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


def left_by(home, pid):
    folder = home.unfinished / f"put-{host()}-{pid}-abcdefgh"
    folder.mkdir()
    (folder / "value.json").write_text("{")
    return folder


def test_leaves_what_a_running_process_makes(home):
    folder = unfinished_folder(home, "put")
    sweep(home)
    assert folder.is_dir()


def test_leaves_what_another_machine_makes(home):
    folder = home.unfinished / "put-elsewhere-1-abcdefgh"
    folder.mkdir()
    sweep(home)
    assert folder.is_dir()


def test_removes_what_a_process_that_is_gone_left(home):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    folder = left_by(home, process.pid)
    sweep(home)
    assert not folder.exists()


def test_removes_what_a_dead_process_left_that_nobody_has_waited_for(home):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = left_by(home, process.pid)
    sweep(home)
    assert folder.is_dir()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    sweep(home)
    assert not folder.exists()
    process.communicate()


def test_removes_what_was_left_by_an_earlier_process_of_the_same_number(home):
    folder = left_by(home, os.getpid())
    before = psutil.Process().create_time() - 60
    os.utime(folder, (before, before))
    sweep(home)
    assert not folder.exists()
