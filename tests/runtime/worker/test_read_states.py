"""A file that changed while it was read, or between two times that it was read, is known."""

import pytest

from titrant.runtime.worker.readings import ModuleReadings, ReadStates, file_state
from titrant.schema.values.dependencies import CHANGED


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("1")
    return path


def put(path, text):
    """Put another file in the place of one."""
    beside = path.with_name("beside")
    beside.write_text(text)
    beside.replace(path)


def seen(*paths):
    states = ReadStates()
    for path in paths:
        states.see(str(path), file_state(str(path)))
    return states


def test_takes_a_file_that_stayed(file):
    assert not seen(file, file).changed(str(file))


def test_knows_one_that_was_replaced_since(file):
    states = seen(file)
    put(file, "1")
    assert states.changed(str(file))


def test_knows_one_that_is_gone(file):
    states = seen(file)
    file.unlink()
    assert states.changed(str(file))


def test_goes_on_knowing_one_that_was_read_in_two_states(file):
    states = seen(file)
    put(file, "2")
    states.see(str(file), file_state(str(file)))
    put(file, "1")
    assert states.changed(str(file))


def test_holds_what_the_users_code_writes_against_nobody(file):
    states = seen(file)
    put(file, "2")
    states.forget([str(file)])
    assert not states.changed(str(file))


def test_says_of_nothing_and_of_a_folder_no_state(file):
    assert (file_state(str(file.parent)), file_state(str(file.parent / "none"))) == ((), ())


def test_counts_a_file_that_a_module_read_twice_in_two_states_by_no_digest(file):
    readings, states = ModuleReadings(), seen(file)
    for text in ("2", "1"):
        states.see(str(file), file_state(str(file)))
        readings.add(str(file), ["net"])
        readings.settle(set(), lambda path: "digest", lambda path: False, states.changed)
        put(file, text)
    assert readings.of(["net"]) == {str(file): CHANGED}
