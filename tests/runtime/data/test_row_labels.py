"""Labels that people give back: matched by the names of rows, and refused where they are about something else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titrant.runtime.data.row_labels import LABEL, ROW, matched, names_of, read_labels, write_rows
from titrant.schema.diagnostics.diagnostics import RecipeError

KEY = b"k" * 32
CLASSES = ("well", "ill")
NAMES = [f"row{place}" for place in range(6)]


def written(tmp_path, text):
    file = tmp_path / "labels.csv"
    file.write_text(text, "utf-8")
    return str(file)


def refused(code, call):
    with pytest.raises(RecipeError) as caught:
        call()
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.key) == (code, "data.labels")
    return diagnostic


def test_names_rows_with_the_same_content_apart():
    names = names_of(np.array([7, 8, 7, 7], np.uint64), KEY)
    assert len(set(names)) == 4
    assert [name.partition("-")[2] for name in names] == ["", "", "2", "3"]
    assert names[2].startswith(names[0])
    assert names[0] not in names_of(np.array([7], np.uint64), b"l" * 32)


def test_names_rows_by_their_own_names_where_they_have_some():
    assert names_of(np.array([7, 8], np.uint64), b"", np.array(["a", "b"])) == ["a", "b"]


def test_writes_no_label_that_nobody_gave_and_reads_those_that_were_given(tmp_path):
    text = write_rows({"age": ["71", "64"], "note": ["a, b", 'say "x"']}, NAMES[:2], ["", "ill"])
    assert text.splitlines()[0] == f"{ROW},age,note,{LABEL}"
    lines = read_labels(written(tmp_path, text))
    assert [(line.line, line.name, line.label) for line in lines] == [(3, "row1", "ill")]
    assert matched(lines, NAMES, CLASSES) == {1: 1}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_reads_what_spreadsheets_save(tmp_path, separator, mark, end):
    cells = [["age", LABEL, ROW], ["71", " ill ", "row3"], ["64", "", "row4"]]
    text = mark + end.join(separator.join(line) for line in cells) + end
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode())
    assert matched(read_labels(str(file)), NAMES, CLASSES) == {3: 1}


@pytest.mark.parametrize(
    ("classes", "text", "number"),
    [(("0", "1"), "1.0", 1), (("0", "1"), "0", 0), (("false", "true"), "TRUE", 1), (("a", "1.5"), "1.5", 1)],
)
def test_takes_a_class_as_a_spreadsheet_writes_it(tmp_path, classes, text, number):
    lines = read_labels(written(tmp_path, f"{ROW},{LABEL}\nrow2,{text}\n"))
    assert matched(lines, NAMES, classes) == {2: number}


@pytest.mark.parametrize(
    "text",
    ["", f"{ROW},age\nrow1,3\n", f"{LABEL}\nill\n", f"{ROW},{LABEL},{LABEL}\nrow1,ill,ill\n", f"{ROW},{LABEL}\n\0,ill"],
)
def test_refuses_what_is_no_file_of_labels(tmp_path, text):
    file = written(tmp_path, text)
    refused("X227", lambda: matched(read_labels(file), NAMES, CLASSES))


def test_refuses_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_bytes(b"\xff\xfe\x00t")
    refused("X227", lambda: read_labels(str(file)))


# A file as it was written and filled in, and what somebody did to it: nothing, or one of the mistakes.
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(CLASSES)), min_size=1, max_size=6, unique_by=lambda t: t[0]
    ),
    st.sampled_from(["none", "another row", "twice", "twice otherwise", "no class"]),
    st.data(),
)
def test_takes_a_file_with_no_mistake_and_refuses_one_with_any(tmp_path_factory, lines, mistake, data):
    place = data.draw(st.integers(0, len(lines) - 1))
    name, label = lines[place]
    changed = list(lines)
    if mistake == "another row":
        changed[place] = (data.draw(st.sampled_from(["row9", "row1-2", "ROW1", "71"])), label)
    elif mistake.startswith("twice"):
        other = label if mistake == "twice" else CLASSES[1 - CLASSES.index(label)]
        changed.insert(data.draw(st.integers(0, len(lines))), (name, other))
    elif mistake == "no class":
        changed[place] = (name, data.draw(st.sampled_from(["il", "ill?", "2", "nan", "sick: see note", "0"])))
    text = "\n".join([f"{ROW},{LABEL}", *(f"{row},{value}" for row, value in changed)])
    file = written(tmp_path_factory.mktemp("labels"), text)
    if mistake == "none":
        expected = {NAMES.index(row): CLASSES.index(value) for row, value in lines}
        assert matched(read_labels(file), NAMES, CLASSES) == expected
        return
    code = {"another row": "X227", "no class": "X229"}.get(mistake, "X228")
    diagnostic = refused(code, lambda: matched(read_labels(file), NAMES, CLASSES))
    # What stands in the file is told on request only.
    assert "sick: see note" not in diagnostic.message + diagnostic.help
    assert all(row not in diagnostic.message + diagnostic.help for row in NAMES)
