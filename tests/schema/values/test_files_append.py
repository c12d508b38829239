"""Lines of a file that several processes write to."""

import pytest

from titrant.schema.values.files import append_line


@pytest.mark.parametrize("durable", [True, False])
def test_begins_a_new_line_behind_one_that_a_crash_cut_short(tmp_path, durable):
    file = tmp_path / "lines"
    append_line(file, b"one", durable=durable)
    with file.open("ab") as torn:
        torn.write(b"tw")
    append_line(file, b"three", durable=durable)
    assert file.read_bytes() == b"one\ntw\nthree\n"
