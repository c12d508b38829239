"""What a process and the machine use, read from the kernel's files and, elsewhere, through psutil."""

import subprocess
import sys

import psutil  # noqa: F401 - as what this platform is, before a test calls it another
import pytest

from titrant.runtime.instruments.hardware.process import ProcessTree, machine_bytes, machine_use
from titrant.runtime.machine import peak_memory

CHILD = "import time; held = bytearray(40 << 20); print(flush=True); time.sleep(60)"
# Starts a process like it once a line is read, and ends it once another is: it has no other children, as this one may.
# The kernel counts a process's time in hundredths of a second.
PARENT = f"""import subprocess, sys, time
while time.process_time() < 0.05: pass
print(flush=True)
sys.stdin.readline()
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
child.kill()
child.wait()
print(flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_counts_a_process_and_its_children(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PARENT], bufsize=0, **pipes) as parent:
        parent.stdout.readline()
        alone = ProcessTree(parent.pid).read()
        parent.stdin.write(b"\n")
        child = ProcessTree(int(parent.stdout.readline()))
        together, of_child = ProcessTree(parent.pid).read(), child.read()
        parent.stdin.write(b"\n")
        parent.stdout.readline()
        ended = child.read()
    assert of_child.resident_bytes > 40 << 20
    assert together.resident_bytes - alone.resident_bytes == pytest.approx(of_child.resident_bytes, rel=0.1)
    assert together.cpu_seconds >= alone.cpu_seconds > 0
    assert ended is None


def test_reads_a_process_whose_name_has_spaces_and_parentheses(tmp_path):
    link = tmp_path / "a (b) c) d"
    link.symlink_to(sys.executable)
    child = subprocess.Popen([link, "-S", "-c", CHILD], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        use = ProcessTree(child.pid).read()
    finally:
        child.kill()
        child.communicate()
    assert use.resident_bytes > 40 << 20


def test_reads_the_machine():
    use = machine_use()
    assert len(use.busy_seconds) == len(use.all_seconds) > 0
    assert all(0 <= busy <= every for busy, every in zip(use.busy_seconds, use.all_seconds, strict=True))
    assert 0 < use.taken_bytes < machine_bytes()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_reads_resident_memory_where_there_are_no_kernel_files(monkeypatch, platform):
    here = peak_memory.resident_bytes()
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory.resident_bytes() == pytest.approx(here, rel=0.1)


def test_has_no_peak_where_no_system_tells_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory.peak_resident_bytes() is None  # psutil says it there alone
