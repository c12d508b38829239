"""No name of the data is a command to a terminal, wherever it is printed or written."""

import json
import logging
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.cli import console
from titrant.runtime.run.run_log import LogLines, WithoutSecrets
from titrant.runtime.store.journal import Journal, read
from titrant.schema.values.files import json_object, write_json
from titrant.schema.values.text import printable

# Of every kind that a terminal obeys, and halves of characters; beside what stays as it is.
OBEYED = "\x00\x07\x08\x1b\x7f\x9b\x9d\x85\r\x0b\x0c\u200f\u202e\u2066\u2028\udce9"
NAMES = st.text(st.sampled_from(OBEYED + "aé→🔬 \\u[31m") | st.characters(), max_size=12)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def obeyed(text):
    """Return what of a text a terminal would obey: control and format characters, but line feeds, and halves."""
    left = set("\u200b\u200c\u200d\ufeff\xad")  # shown, or nothing at all
    kinds = {character: unicodedata.category(character) for character in text if character not in "\n\t"}
    return [
        character
        for character, kind in kinds.items()
        if kind in ("Cc", "Cs", "Zl", "Zp") or (character in OBEYED and character not in left)
    ]


def record(message):
    made = logging.LogRecord("titrant", logging.WARNING, "", 0, message, (), None)
    made.fields = {"name": message}
    return made


@SHARED
@given(name=NAMES)
def test_prints_and_writes_no_name_as_a_command(name, capsys, tmp_path):
    console.answer(name)
    console.answer_json({"name": name})
    console.note(f"class {name}")
    out, err = capsys.readouterr()
    assert obeyed(out) == obeyed(err) == []
    write_json(tmp_path / "value.json", {"name": name})
    journal = Journal(lambda event: None)
    journal.open(tmp_path / "journal.jsonl")
    journal.add("note", text=name)
    journal.close()
    written = (tmp_path / "value.json").read_text("utf-8") + (tmp_path / "journal.jsonl").read_text("utf-8")
    assert obeyed(written) == []
    assert json_object(tmp_path / "value.json") == {"name": name}
    assert read(tmp_path / "journal.jsonl")[-1]["text"] == name
    (tmp_path / "journal.jsonl").unlink()
    assert obeyed(LogLines().format(record(name))) == obeyed(WithoutSecrets().format(record(name))) == []


@given(NAMES)
def test_leaves_json_the_value_that_it_was_and_text_without_commands_alone(name):
    assert json.loads(printable(json.dumps(name, ensure_ascii=False))) == name
    assert printable(printable(name)) == printable(name)
    if not obeyed(name):
        assert printable(name) == name


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m\n"])
def test_lets_no_name_begin_a_line_of_a_table(name):
    assert len(console.table([(name, "1"), ("b", name)]).split("\n")) == 2
