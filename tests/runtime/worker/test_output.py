"""What a step prints is told without secrets, and kept nowhere."""

import os
import subprocess
import sys

import pytest

from titrant.runtime.worker.output import Cleaner, OutputPipe, Printed, write_log

KEY = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END PRIVATE KEY-----"


@pytest.fixture
def printed():
    made = OutputPipe()
    yield made
    made.close()


def test_takes_out_secrets_and_nothing_else(toy, make_plan):
    toy.run(make_plan((1,), make={1: {"do": "leak"}}))
    (said,) = [event["text"] for event in toy.events if event["event"] == "printed"]
    assert said.splitlines() == ["db_password: <redacted>", "https://<redacted>@host/x", "kept"]


def test_keeps_nothing_of_it_on_the_disk_also_of_a_step_that_failed(toy, make_plan):
    toy.run(make_plan((1, 2), make={2: {"do": "leak and raise"}}))
    (log,) = toy.home.runs.glob("*/steps/*-c2/log.txt")
    text = log.read_text()
    assert "db_password" not in text
    assert "3 lines (" in text


def test_gives_each_text_to_the_request_of_its_time(printed):
    os.write(printed.end, b"before, api_key=abcdefgh\n")
    assert printed.take().last == "before, api_key=<redacted>"
    for number in range(200):
        os.write(printed.end, b"step %d \xff\xfe\nno end" % number)
        taken = printed.take()
        assert taken.text == f"step {number} \ufffd\ufffd\nno end"
        assert (taken.lines, taken.last) == (2, "no end")
    assert printed.take() == Printed()


def test_counts_what_a_child_prints_and_tells_the_end_of_it(printed):
    code = "import os\nfor _ in range(10): os.write(1, b'x' * 99_999 + b'\\n')\nos.write(1, b'y' * 1_300_000)"
    subprocess.run([sys.executable, "-c", code], stdout=printed.end, check=True)
    taken = printed.take()
    assert taken.size == 2_300_000
    assert set(taken.text) == {"y"}
    assert len(taken.text) < 100_000


def test_loses_a_log_that_a_full_disk_does_not_take(tmp_path):
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("there is no device that is always full")
    (tmp_path / "full.txt").symlink_to("/dev/full")
    write_log(tmp_path / "full.txt", Printed(1, 5, "lost\n"), [])
    write_log(tmp_path / "log.txt", Printed(1, 5, "lost\n"), ["ValueError"])
    assert (tmp_path / "log.txt").read_text().startswith("ValueError\n1 line (5 bytes) were printed")


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
