"""A csv file as people have it is read as it was written, said where not plain, and refused where in doubt."""

import gzip
import zipfile

import numpy as np
import pytest

from titrant.runtime.data.delimited.read import read_csv
from titrant.runtime.data.parameters import CsvOptions
from titrant.schema.diagnostics.diagnostics import StepError


@pytest.fixture
def read(tmp_path):
    """Write a text, or bytes, as rows.csv, and read it with some options."""

    def call(text, saved="utf-8", **options):
        path = tmp_path / "rows.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(saved))
        return read_csv(str(path), CsvOptions(**options))

    return call


def refused(call, code):
    with pytest.raises(StepError) as caught:
        call()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    return f"{diagnostic.message} ({diagnostic.help})"


def lists(table):
    return {name: column.tolist() for name, column in table.columns.items()}


def test_says_nothing_of_a_plain_file(read):
    table = read("a,b,c\n1,x,0.5\n2,y,1.5\n")
    assert lists(table) == {"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1.5]}
    assert (table.notes, table.marks) == ((), {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
def test_finds_the_encoding(read, encoding):
    table = read("größe,naïve\n1,café\n", encoding)
    assert lists(table) == {"größe": [1], "naïve": ["café"]}
    shown = {"utf-8": None, "utf-8-sig": None, "latin-1": "cp1252"}.get(encoding, encoding)
    assert table.notes == ((f"rows.csv is read as {shown}",) if shown else ())


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "shift_jis", "gb18030", "mac-cyrillic"])
def test_refuses_an_encoding_that_it_cannot_tell(read, encoding):
    words = "名前,a\n東京都,1\n" if encoding in ("shift_jis", "gb18030") else "имя,город\n1,Москва\n2,Казань\n"
    assert "encoding: cp1250" in refused(lambda: read(words, encoding), "X234")
    assert lists(read(words, encoding, encoding=encoding)) == lists(read(words))


def test_refuses_what_would_read_katakana_as_florin_signs_before_letters(read):
    assert "encoding: cp1250" in refused(lambda: read("a,b\nカタカナ,1\n", "shift_jis"), "X234")
    assert lists(read("a,b\nƒ 5,1\n", "cp1252")) == {"a": ["ƒ 5"], "b": [1]}


def test_tells_what_macintosh_wrote_from_what_windows_did(read):
    assert "cp1252" in refused(lambda: read("a,b\ncafé,1\n", "mac-roman"), "X234")


def test_names_the_encoding_of_a_file_full_of_zeros(read):
    assert "encoding: utf-16-le" in refused(lambda: read("a,b\n1,2\n" * 9, "utf-16-le"), "X234")
    assert "encoding: utf-16-be" in refused(lambda: read("a,b\n1,2\n" * 9, "utf-16-be"), "X234")
    assert "the first at byte 6" in refused(lambda: read(b"a,b\n1,\0\n"), "X100")


def test_refuses_an_encoding_that_does_not_fit(read):
    assert "not utf-8 text at byte 0" in refused(lambda: read("é,b\n1,2\n", "cp1252", encoding="utf-8"), "X235")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_finds_the_separator(read, separator):
    table = read(separator.join(["a", "b"]) + "\n" + separator.join(["1", "x, y"]) + "\n")
    assert lists(table) == {"a": [1], "b": ["x, y"]}
    assert "separator" in table.notes[0]


def test_asks_where_two_separators_fit(read):
    text = "a;b,c;d\n1;2,3;4\n"
    assert 'write `separator: ","` or `separator: ";"`' in refused(lambda: read(text), "X234")
    assert list(read(text, separator=";").columns) == ["a", "b,c", "d"]
    assert list(read(text, separator=",").columns) == ["a;b", "c;d"]


def test_refuses_a_separator_that_stands_nowhere(read):
    assert "its first line holds `;`" in refused(lambda: read("a;b\n1;2\n", separator=","), "X235")


def test_believes_the_line_that_is_for_excel(read):
    assert lists(read("sep=;\r\na;b,c\r\n1;2\r\n")) == {"a": [1], "b,c": [2]}


def test_leaves_out_a_space_behind_each_separator(read):
    table = read("age, job\n39, State\n50, Private\n")
    assert lists(table) == {"age": [39, 50], "job": ["State", "Private"]}
    assert "a space stands behind each separator" in table.notes[0]
    assert lists(read("a,b\n1, x\n2,y\n"))["b"] == [" x", "y"]


@pytest.mark.parametrize(
    ("text", "value", "words"),
    [
        ("a;b\n1,5;0,25\n", 1.5, "decimal comma"),
        ("a;b\n1.234,5;1\n", 1234.5, "decimal comma, thousands parted by `.`"),
        ("a;b\n1 234,5;1\n", 1234.5, "decimal comma, thousands parted by spaces"),
        ("a;b\n1\u202f234,5;1\n", 1234.5, "decimal comma, thousands parted by spaces"),
        ("a;b\n1'234.5;1\n", 1234.5, "thousands parted by `'`"),
        ('a,b\n"1,234",0.5\n', 1234, "thousands parted by `,`"),
        ('a,b\n"1,234,567",5\n', 1234567, "thousands parted by `,`"),
        ("a;b\n1.234.567;5\n", 1234567, "decimal comma, thousands parted by `.`"),
    ],
)
def test_finds_how_numbers_are_written(read, text, value, words):
    table = read(text)
    assert table.columns["a"].tolist() == [value]
    assert words in table.notes[0]


def test_takes_a_point_in_a_file_with_commas_for_decimals(read):
    assert lists(read("a,b\n1.234,5\n12.345,6\n"))["a"] == [1.234, 12.345]


@pytest.mark.parametrize(("text", "mark"), [("a;b\n1.234;5\n", "."), ('a,b\n"1,234",5\n', ",")])
def test_asks_whether_a_mark_parts_thousands(read, text, mark):
    message = refused(lambda: read(text), "X234")
    assert f'decimal: "{mark}"' in message
    assert f'thousands: "{mark}"' in message
    assert lists(read(text, decimal=mark))["a"] == [1.234]
    assert lists(read(text, thousands=mark))["a"] == [1234]


def test_asks_where_columns_write_numbers_in_two_ways(read):
    text = 'a,b\n0.5,"1,5"\n1.25,"2,25"\n'
    assert "those of `a` and of `b` do not go together" in refused(lambda: read(text), "X234")
    table = read(text, decimal=".")
    assert lists(table) == {"a": [0.5, 1.25], "b": ["1,5", "2,25"]}
    assert table.notes == ("b is read as text: its values are written otherwise than the other numbers",)


def test_keeps_codes_as_text(read):
    table = read("zip,n\n007,1\n12345,2\n")
    assert lists(table)["zip"] == ["007", "12345"]
    assert "begin with 0" in table.notes[0]
    assert lists(read("a,b\n0,1\n0.5,2\n-0,3\n"))["a"] == [0, 0.5, 0]


def test_keeps_what_no_float_holds(read):
    table = read("a,b,c\n9007199254740993,9007199254740993,18446744073709551615\n1,,1\n")
    assert lists(table) == {
        "a": [9007199254740993, 1], "b": ["9007199254740993", ""], "c": [18446744073709551615, 1]
    }  # fmt: skip
    assert "b has whole numbers beyond 2^53" in table.notes[0]


def test_reads_signs_powers_and_infinity(read):
    assert lists(read("a,b\n+1,1e3\n-2,-.5\n3,5.\n")) == {"a": [1, -2, 3], "b": [1000, -0.5, 5]}
    assert lists(read("a,b\ninf,1\n-Inf,2\n1,3\n"))["a"] == [np.inf, -np.inf, 1]
    assert np.isnan(read("a,b\ninf,1\n1,3\n", missing=("inf",)).columns["a"][0])
    assert lists(read("a,b\n1_0,1\n0x1,2\n"))["a"] == ["1_0", "0x1"]


@pytest.mark.parametrize("mark", ["?", "-", "NA", "n/a", "null", "None", "NaN", "#N/A", "."])
def test_reads_a_mark_among_numbers_as_missing_and_says_so(read, mark):
    table = read(f"a,b\n1,2\n{mark},3\n")
    assert np.isnan(table.columns["a"][1])
    assert table.marks == {"a": (mark,)}
    assert table.notes == (f"`{mark}` in a is read as missing",)


@pytest.mark.parametrize("mark", ["NA", "None", "null", "nan", "?"])
def test_takes_a_class_of_that_name_for_a_class(read, mark):
    table = read(f"a,label\n1,{mark}\n2,Severe\n")
    assert lists(table)["label"] == [mark, "Severe"]
    assert f'`missing: ["{mark}"]` reads them as missing' in table.notes[0]
    assert lists(read(f"a,label\n1,{mark}\n2,Severe\n", missing=(mark,)))["label"] == ["", "Severe"]
    assert lists(read(f"a,label\n1,{mark}\n2,True\n"))["label"] == [mark, "True"]


def test_reads_the_marks_that_are_stated_and_no_others(read):
    assert np.isnan(read("a,b\n-999,1\n5,2\n-999.0,3\n", missing=(-999,)).columns["a"]).tolist() == [True, False, True]
    assert lists(read("a,b\n?,1\n5,2\n", missing=()))["a"] == ["?", "5"]


def test_says_how_many_values_keep_a_column_from_being_numbers(read):
    assert read("a,b\n1,1\n2,2\nx,3\n").notes == ("a is read as text: 1 of its 3 values are no numbers",)


def test_reads_truth_values(read):
    table = read("a,b,c\nTrue,true,True\nFALSE,false,\n")
    assert lists(table)["a"] == lists(table)["b"] == [True, False]
    assert table.columns["c"][0] == 1
    assert np.isnan(table.columns["c"][1])


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "X100", "it is empty"),
        ("\n\n", "X100", "it is empty"),
        ("a,b\n1,2\n3\n4,5,6\n", "X100", "2 rows have another number of values; the first is row 2"),
        ("a,b\n1,2,3\n4,5,6\n", "X100", "more values than its header has names"),
        ('a,b\n1,"x\n2,3\n', "X100", "a quote is not closed"),
        ("a,a\n1,2\n", "X109", "has the column a twice"),
        ("e\u0301,\u00e9\n1,2\n", "X109", "two columns look the same"),
        ("a ,a\n1,2\n", "X109", "two columns look the same"),
        ("1.5,2.25,x\n3.5,1.25,y\n", "X100", "no header line"),
    ],
)  # fmt: skip
def test_refuses_what_is_no_table(read, text, code, words):
    assert words in refused(lambda: read(text), code)


def test_names_columns_that_differ_by_case_only(read):
    assert read("Age,age\n1,2\n").notes == ("the columns `Age` and `age` of rows.csv differ by case only",)


def test_takes_wavelengths_for_names(read):
    assert list(read("400.5,401.0,401.5,402.0,402.5,y\n1,2,3,4,5,a\n").columns)[:2] == ["400.5", "401.0"]


def test_leaves_out_an_index_and_an_empty_last_column(read):
    table = read(",a,b,\n0,1,2,\n1,3,4,\n")
    assert lists(table) == {"a": [1, 3], "b": [2, 4]}
    assert len(table.notes) == 2


def test_reads_quotes_line_ends_and_lines_inside_of_values(read):
    assert lists(read('a,b\r\n"x ""q"", y","two\r\nlines"\r\n\r\n5" disk,\r\n')) == {
        "a": ['x "q", y', '5" disk'], "b": ["two\r\nlines", ""]
    }  # fmt: skip
    assert lists(read("a,b\r1,2\r3,4\r")) == {"a": [1, 3], "b": [2, 4]}


def test_reads_packed_files(tmp_path):
    with gzip.open(tmp_path / "rows.csv.gz", "wb") as stream:
        stream.write("größe;b\n1,5;2\n".encode("cp1252"))
    assert lists(read_csv(str(tmp_path / "rows.csv.gz"))) == {"größe": [1.5], "b": [2]}
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as packed:
        packed.writestr("a.csv", "a,b\n1,2\n")
        packed.writestr("b.csv", "a,b\n1,2\n")
    assert "it holds 2 files" in refused(lambda: read_csv(str(tmp_path / "rows.zip")), "X100")


def test_reads_a_file_of_names_alone_as_no_rows(read):
    assert {name: len(column) for name, column in read("a,b\n").columns.items()} == {"a": 0, "b": 0}


def test_keeps_values_of_the_data_out_of_what_it_says(read):
    for text in ("a;b\nJane;1.234\n", 'a,b\nJane,"x\n2,3\n', "a,b\nJane\n", "a,b\n1,Jane\n2,5\n3,6\n"):
        try:
            words = "".join(read(text).notes)
        except StepError as error:
            words = repr(error.diagnostics)
        assert words
        assert "Jane" not in words
