"""Peak memory of a piece of work."""

import gc
import os
import signal
import sys
import threading

import numpy as np
import pytest

from titrant.runtime.machine.peak_memory import ChildKilledError, memory_of
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
MIB = 1 << 20


def test_counts_what_is_held_at_the_end():
    assert 60 * MIB < memory_of(lambda: np.ones(64 * MIB, np.uint8)) < 80 * MIB


def test_counts_a_buffer_that_came_and_went():
    def work():
        return float(np.ones(64 * MIB, np.uint8)[0]), np.ones(16 * MIB, np.uint8)

    assert 60 * MIB < memory_of(work) < 80 * MIB


def test_counts_memory_that_was_free_before_once():
    del (gone := [np.ones(24 * MIB, np.uint8)])[:]  # from now on the C library keeps what is freed below this size
    free, above = [np.ones(17 * MIB, np.uint8)], np.ones(MIB, np.uint8)
    free.clear()

    def work():
        return float(np.ones(64 * MIB, np.uint8)[0]), np.ones(16 * MIB, np.uint8)

    assert 60 * MIB < memory_of(work) < 72 * MIB
    assert above.all()
    assert not gone


def test_does_not_count_pages_that_a_collection_of_garbage_would_touch():
    objects = [[] for _ in range(1_000_000)]
    assert memory_of(gc.collect) < 8 * MIB
    assert len(objects) == 1_000_000


def test_does_not_count_free_objects_that_a_collection_of_garbage_would_give_back():
    between = []

    def tuples_apart():
        for number in range(38_000):
            between.append(bytes(800) + number.to_bytes(4, "big"))
            yield (number,) * (1 + number % 19)

    gone = list(tuples_apart())
    gone.clear()
    assert memory_of(gc.collect) < MIB
    assert len(between) == 38_000


def test_counts_pages_of_the_parent_that_are_written_to():
    shared = np.zeros(32 * MIB, np.uint8)
    shared[:] = 1
    assert 30 * MIB < memory_of(lambda: shared.fill(2)) < 40 * MIB
    assert shared[0] == 1


def test_does_not_count_what_was_freed_before():
    del (gone := [np.ones(128 * MIB, np.uint8)])[:]
    assert not gone
    assert memory_of(lambda: None) < 8 * MIB


def test_tells_why_the_work_failed():
    def refuse():
        raise StepError(Diagnostic("X402", "no such input", help="name it"))

    with pytest.raises(StepError, match="X402: no such input") as caught:
        memory_of(refuse)
    assert caught.value.diagnostics[0].help == "name it"
    with pytest.raises(
        StepError, match=r"X431: measuring the memory failed: ZeroDivisionError \(test_peak_m"
    ) as caught:
        memory_of(lambda: 1 / 0)
    assert caught.value.diagnostics[0].said == "division by zero"  # it may hold rows


def test_tells_when_the_work_was_killed_from_outside():
    with pytest.raises(ChildKilledError):
        memory_of(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_counts_once_what_a_threads_arena_keeps():
    """The C library hands back the end of the first arena only, and a thread has one of its own."""
    counted = []

    def in_thread():
        del (gone := [np.ones(24 * MIB, np.uint8)])[:]
        free = [np.ones(17 * MIB, np.uint8)]
        free.clear()
        counted.append(memory_of(lambda: (float(np.ones(64 * MIB, np.uint8)[0]), np.ones(16 * MIB, np.uint8))))
        assert not gone

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert 60 * MIB < counted[0] < 72 * MIB


def test_counts_work_that_forks_once():
    """Its copies come back too, and have nothing to say."""
    assert memory_of(os.fork) is not None
