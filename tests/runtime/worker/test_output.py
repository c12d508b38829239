"""A step's log keeps what was printed, but for secrets, and at no moment holds one."""

import os
import subprocess
import sys

import pytest

from titrant.runtime.worker.output import Cleaner, OutputPipe

KEY = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END PRIVATE KEY-----"


@pytest.fixture
def printed():
    made = OutputPipe()
    yield made
    made.close()


def test_takes_out_secrets_and_nothing_else(toy, make_plan):
    toy.run(make_plan((1,), make={1: {"do": "leak"}}))
    (log,) = toy.home.runs.glob("*/steps/*-c1/log.txt")
    text = log.read_text()
    assert "hunter2" not in text
    assert text.splitlines() == ["db_password: <redacted>", "https://<redacted>@host/x", "kept"]


def test_is_clean_of_a_step_that_failed_too(toy, make_plan):
    toy.run(make_plan((1, 2), make={2: {"do": "leak and raise"}}))
    (log,) = toy.home.runs.glob("*/steps/*-c2/log.txt")
    assert "hunter2" not in log.read_text()
    assert "seven is" in log.read_text()


def test_is_clean_while_the_step_goes_on(printed, tmp_path):
    """Whoever is killed in the middle leaves what the log holds at that moment."""
    log = tmp_path / "log.txt"
    printed.into(log)
    os.write(printed.end, b"password: hunter2\ntoken=abcdefgh\nepoch 1\n")
    printed._settle()
    assert log.read_bytes() == b"password: <redacted>\ntoken=<redacted>\nepoch 1\n"


def test_writes_each_text_into_the_log_of_its_time(printed, tmp_path):
    os.write(printed.end, b"before every log, api_key=abcdefgh\n")
    for number in range(200):
        printed.into(tmp_path / f"{number}.txt")
        os.write(printed.end, b"step %d \xff\xfe\nno end" % number)
    printed.into(None)
    assert printed.last == "before every log, api_key=<redacted>\n"
    found = [(tmp_path / f"{number}.txt").read_bytes() for number in range(200)]
    assert found == [b"step %d \xff\xfe\nno end" % number for number in range(200)]


def test_keeps_up_with_a_child_that_prints_much(printed, tmp_path):
    log = tmp_path / "log.txt"
    printed.into(log)
    code = "import os\nfor _ in range(10): os.write(1, b'x' * 99_999 + b'\\n')\nos.write(1, b'y' * 1_300_000)"
    subprocess.run([sys.executable, "-c", code], stdout=printed.end, check=True)
    printed.into(None)
    assert log.read_bytes() == (b"x" * 99_999 + b"\n") * 10 + b"y" * 1_300_000


def test_loses_what_a_full_disk_does_not_take_and_goes_on(printed, tmp_path):
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("there is no device that is always full")
    (tmp_path / "full.txt").symlink_to("/dev/full")
    printed.into(tmp_path / "full.txt")
    os.write(printed.end, b"lost\n")
    printed.into(tmp_path / "log.txt")
    os.write(printed.end, b"kept\n")
    printed.into(None)
    assert (tmp_path / "log.txt").read_bytes() == b"kept\n"


def test_ends_its_thread_and_gives_back_its_files():
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    many = [OutputPipe() for _ in range(100)]
    for one in many:
        one.close()
    assert not any(one._thread.is_alive() for one in many)
    assert len(os.listdir("/proc/self/fd")) < files + 100  # noqa: PTH208 - other threads may open some meanwhile


@pytest.mark.parametrize("cut", range(0, len(KEY) + 9, 7))
def test_takes_out_a_private_key_that_comes_in_two_parts(cut):
    text = b"a\n" + KEY + b"\nb\n"
    end = text.rfind(b"\n", 0, cut) + 1
    cleaner = Cleaner()
    assert cleaner.clean(text[:end]) + cleaner.clean(text[end:]) == b"a\n<redacted>\nb\n"


def test_leaves_a_text_without_secrets_alone():
    assert Cleaner().clean(b"epoch 1\r\nloss 0.5") == b"epoch 1\r\nloss 0.5"
