"""What is read of a csv file is what was written into it, or it is refused with the line that reads it: any file."""

import csv
import io

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from titrant.runtime.data.delimited.read import read_csv
from titrant.runtime.data.parameters import CsvOptions
from titrant.schema.diagnostics.diagnostics import StepError

MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
WORDS = {
    "utf-8": ["größe", "naïve", "a, b", "x;y", 'say "so"', "two\nlines", "7 Uhr", "東京", "имя", "€ 5", "plain"],
    "cp1252": ["größe", "naïve", "São Tomé", "a, b", "x;y", 'say "so"', "it’s", "€ 5", "5 µg", "m²", "plain"],
    "cp1251": ["привет", "Москва", "имя", "plain"],
    "shift_jis": ["東京都", "大阪府", "カタカナ", "plain"],
}
WORDS |= {"utf-8-sig": WORDS["utf-8"], "utf-16": WORDS["utf-8"], "latin-1": WORDS["cp1252"][:6]}
MARKED = ["NA", "None", "null", "nan", "?", "-", "n/a", "True", "Severe", "Mild"]
MISSING = ["", "NA", "?", "-", "n/a", "NaN", "null", "#N/A", "unbekannt", "-999"]
NUMBERS = ("whole", "large", "fraction", "thousandth", "beyond")
NOTATIONS = [(".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", "'"), (".", " ")]


@st.composite
def columns(draw, encoding, rows):
    """Draw the values of one column, and of which kind it is: numbers with None for missing, or texts."""
    kind = draw(
        st.sampled_from(["whole", "large", "fraction", "thousandth", "code", "beyond", "truth", "word", "marked"])
    )
    several = {
        "whole": st.integers(-999, 999),
        "large": st.integers(-(10**9), 10**9),
        "fraction": st.decimals(-(10**6), 10**6, places=2),
        "thousandth": st.decimals(1, 999, places=3),
        "code": st.integers(1, 99).map(lambda number: f"{number:04d}"),
        "beyond": st.integers(2**53, 2**63 - 1),
        "truth": st.booleans(),
        "word": st.sampled_from(WORDS[encoding]),
        "marked": st.sampled_from(MARKED),
    }[kind]
    values = draw(st.lists(several, min_size=rows, max_size=rows))
    if kind in NUMBERS:
        gaps = draw(st.lists(st.booleans(), min_size=rows, max_size=rows)) if draw(st.booleans()) else [False] * rows
        values = [None if gap else value for gap, value in zip(gaps, values, strict=True)]
    return kind, values


@st.composite
def files(draw):
    """Draw a table and how it is written."""
    encoding = draw(st.sampled_from(sorted(WORDS)))
    rows = draw(st.integers(1, 12))
    table = draw(st.lists(columns(encoding, rows), min_size=2, max_size=5))
    decimal, thousands = draw(st.sampled_from(NOTATIONS))
    return {
        "encoding": encoding,
        "table": {f"c{place}": column for place, column in enumerate(table)},
        "separator": draw(st.sampled_from([",", ";", "\t", "|"])),
        "decimal": decimal,
        "thousands": thousands,
        "missing": draw(st.sampled_from(MISSING)),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        "end": draw(st.sampled_from(["\n", "\r\n"])),
    }


def cell(kind, value, file):
    """Write one value as the file does."""
    if value is None:
        return file["missing"]
    if kind in ("whole", "large", "fraction", "thousandth"):
        text = f"{value:,}" if file["thousands"] else f"{value:f}" if kind in ("fraction", "thousandth") else str(value)
        return text.replace(",", "T").replace(".", file["decimal"]).replace("T", file["thousands"])
    return str(value)


def write(path, file):
    """Write the file, and return the cells of each column as they stand in it."""
    cells = {name: [cell(kind, value, file) for value in values] for name, (kind, values) in file["table"].items()}
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=file["separator"], quoting=file["quoting"], lineterminator=file["end"])
    writer.writerow(list(cells))
    writer.writerows(zip(*cells.values(), strict=True))
    path.write_bytes(text.getvalue().encode(file["encoding"]))
    return cells


def check(table, file, cells):
    """Compare every column with what was written: its values, or, where a note says so, its text."""
    assert list(table.columns) == list(cells)
    notes = "\n".join(table.notes)
    for name, (kind, values) in file["table"].items():
        column = table.columns[name]
        if column.dtype.kind == "U":
            kept = [
                "" if text in (file["missing"] if name in table.marks else "", "") else text for text in cells[name]
            ]
            assert column.tolist() == kept
            numbers = sum(value is not None for value in values) if kind in NUMBERS else 0
            assert numbers * 2 < len(values) or not numbers or f"{name} " in notes, (name, kind)
        elif kind == "marked" and column.dtype.kind == "f":
            assert set(cells[name]) <= {file["missing"], ""}  # of marks alone, those that stand for missing
            assert np.isnan(column).all()
        elif column.dtype.kind == "b":
            assert kind in ("truth", "marked")  # of marks alone, those that are all `True`
            assert column.tolist() == [str(value) == "True" for value in values]
        else:
            assert kind not in ("code", "word"), (name, kind)
            numbers = [np.nan if value is None else float(value) for value in values if kind != "marked"]
            stand_in = -999.0 if file["missing"] == "-999" and name not in table.marks else np.nan
            numbers = [stand_in if value != value else value for value in numbers]  # noqa: PLR0124
            np.testing.assert_array_equal(column.astype(float), numbers)
            if kind == "beyond":
                there = [
                    int(number) for number, value in zip(column.tolist(), values, strict=True) if value is not None
                ]
                assert there == [value for value in values if value is not None]
            if column.dtype.kind in "iu":
                assert column.tolist() == [-999 if value is None else int(value) for value in values]


@MANY
@given(file=files())
def test_reads_what_was_written_or_refuses(tmp_path, file):
    path = tmp_path / "any.csv"
    cells = write(path, file)
    # In a file that commas separate, `1.000` alone is one: whoever writes a decimal comma there has to quote it.
    assume(not (file["separator"] == file["decimal"] == "," and file["thousands"] == "."))
    try:
        table = read_csv(str(path))
    except StepError as error:
        (diagnostic,) = error.diagnostics
        assert diagnostic.code == "X234"
        assert any(key in diagnostic.help for key in ("encoding", "separator", "decimal", "thousands"))
    else:
        check(table, file, cells)


@MANY
@given(file=files())
def test_reads_what_was_written_where_the_recipe_says_how(tmp_path, file):
    path = tmp_path / "any.csv"
    cells = write(path, file)
    stated = CsvOptions(
        separator=file["separator"], encoding=file["encoding"], decimal=file["decimal"],
        thousands=file["thousands"] or "none", missing=(file["missing"],) if file["missing"] else (),
    )  # fmt: skip
    check(read_csv(str(path), stated), file, cells)
