"""Documents of plain text: what one is, what is no UTF-8, and what is passed over."""

import pytest

from titrant.runtime.data.parameters import File, SourceParams
from titrant.runtime.data.text import documents
from titrant.runtime.data.text.documents import read_text
from titrant.runtime.operators.data.load import DataLoadParams, load
from titrant.schema.diagnostics.diagnostics import StepError

POEM = "\ufeffA cat sat.\r\nOn a mat.\r\n \r\n\r\nA dog ran.\r\n"


@pytest.mark.parametrize(
    ("content", "options", "expected", "said"),
    [
        ("one\n\ntwo\n", {"documents": "line"}, ["one", "two"], "each line"),
        ("one\ntwo\n", {}, ["one", "two"], "each line"),
        (POEM, {}, ["A cat sat.\nOn a mat.", "A dog ran."], "what stands between blank lines"),
        (POEM, {"documents": "file"}, ["A cat sat.\nOn a mat.\n \n\nA dog ran."], "the file"),
        ("a\n<|end|>\n\nb<|end|>", {"separator": "<|end|>"}, ["a", "b"], "what stands between two <|end|>"),
    ],
)
def test_parts_a_file_as_it_shows_or_as_it_is_told(tmp_path, content, options, expected, said):
    file = tmp_path / "a.txt"
    file.write_text(content, "utf-8", newline="")
    table = read_text(str(file), **options)
    assert table.columns["text"].tolist() == expected
    count = f"{len(expected)} document{'s' * (len(expected) > 1)}"
    assert table.notes == (f"a.txt is read as {count}: {said}",)


@pytest.fixture
def folder(tmp_path):
    for name, content in {
        "b.txt": "two\n\nparts",
        "poems/a.TXT": "é",
        "poems/.c.txt": "x",
        "d.md": "x",
        "e.txt": " ",
    }.items():
        (tmp_path / "texts" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "texts" / name).write_text(content, "utf-8")
    (tmp_path / "texts" / "gone.txt").symlink_to("nowhere")
    return tmp_path / "texts"


def test_reads_each_file_of_a_folder_as_a_document(folder):
    table = read_text(str(folder))
    assert {name: column.tolist() for name, column in table.columns.items()} == {
        "text": ["two\n\nparts", "é"],
        "file": ["b.txt", "poems/a.TXT"],
        "folder": [".", "poems"],
    }
    assert table.notes == (
        "texts is read as 2 documents of 3 files",
        "1 file without any text is passed over",
        "of texts only .txt files are read, and passed over are 1 .md, 1 linked to nothing",
    )


def test_gives_where_a_document_stands_to_whoever_names_it(folder):
    source = {"source": SourceParams(text=File(path=str(folder), digest=""))}
    assert [*load(DataLoadParams(sources=source), seed=0).sources["source"].columns] == ["text"]
    named = DataLoadParams(sources=source, inputs=("text",), label="folder", id="file")
    table = load(named, seed=0).sources["source"]
    assert [*table.columns] == ["text", "folder"]
    assert table.row_names.tolist() == ["b.txt", "poems/a.TXT"]


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"one\ntwo\ncaf\xe9\n", "X608", "a.txt, line 3: byte 0xe9 at byte 11 is not UTF-8"),
        (b"\xef\xbb\xbfone\n\xff", "X608", "a.txt, line 2: byte 0xff at byte 7 is not UTF-8"),
        ("ä".encode("utf-16"), "X608", "a.txt, line 1: byte 0xff at byte 0 is not UTF-8"),
        (b"one\0two", "X608", "a.txt, line 1: byte 0x00 at byte 3 is in no text"),
        (b" \n\n", "X609", "a.txt holds no text"),
    ],
)
def test_refuses_what_is_no_text_with_its_line(tmp_path, content, code, said):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(StepError) as refused:
        read_text(str(tmp_path / "a.txt"))
    [diagnostic] = refused.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (code, said)


def test_names_a_file_of_a_folder_only_where_data_are_shown(folder):
    (folder / "poems" / "mrs smith.txt").write_bytes(b"\n\xe9")
    with pytest.raises(StepError) as refused:
        read_text(str(folder))
    [diagnostic] = refused.value.diagnostics
    assert diagnostic.message == "texts, file 4 by name, line 2: byte 0xe9 at byte 1 is not UTF-8"
    assert diagnostic.said == "poems/mrs smith.txt"


def test_refuses_a_folder_without_texts_and_one_that_fills_the_memory(tmp_path, monkeypatch):
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(StepError, match=r"has no \.txt file"):
        read_text(str(tmp_path))
    (tmp_path / "a.txt").write_text("a" * 50)
    (tmp_path / "b.txt").write_text("b")
    monkeypatch.setattr(documents, "_MOST_BYTES", 399)
    with pytest.raises(StepError, match="2 documents and one of 50 characters") as refused:
        read_text(str(tmp_path))
    assert refused.value.diagnostics[0].code == "X610"
