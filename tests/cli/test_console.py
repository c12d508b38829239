"""Text is filled to 100 columns, or to a narrower terminal, and nothing that belongs together is torn apart."""

import pytest

from titrant.api.run import is_up_to_date
from titrant.cli import console
from titrant.cli.console import table, wrapped
from titrant.cli.plan_rows import machine_words
from titrant.schema.facts import Gpu, HardwareIdentity
from titrant.schema.plan import StepPreview


def test_keeps_a_number_with_its_unit():
    text = "it takes 12.5 GiB of memory, 250 ms, 80 % of it, and 7 steps"
    lines = [wrapped(text, columns=columns) for columns in range(12, 60)]
    assert all("12.5 GiB" in line and "250 ms" in line and "80 %" in line for line in lines)
    assert {" ".join(line.split()) for line in lines} == {text}


def test_keeps_paths_and_commands_whole():
    path = "/a/very-long/path/that/goes/on.yaml"
    assert path in wrapped(f"see {path}", columns=20)


def test_fills_the_last_column_where_there_is_room(monkeypatch):
    monkeypatch.setattr(console, "width", lambda: 40)
    assert table([("a", "word " * 10), ("bcd", "")]).split("\n") == [
        "  a    word word word word word word",
        "       word word word word",
        "  bcd",
    ]
    assert len(table([("a" * 30, "word " * 10)]).split("\n")) == 1


@pytest.mark.parametrize(("columns", "width"), [(72, 72), (200, 100), (20, 60)])
def test_is_as_wide_as_a_terminal_that_is_narrower(monkeypatch, columns, width):
    monkeypatch.setattr(console.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert console.width() == width


def test_is_100_columns_wide_where_no_terminal_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    assert console.width() == 100


def test_names_the_accelerators_that_a_plan_is_for():
    gpus = tuple(Gpu(place, "NVIDIA H200", "cuda") for place in range(8))
    words = machine_words(HardwareIdentity("linux", "x86_64", "Xeon", (), 192, 2**41, gpus, "3.11", {}))
    assert words == "Xeon · 192 cores · 2.0 TiB · 8 × NVIDIA H200 · instruction sets unknown"


def test_is_not_up_to_date_while_a_step_cannot_run_here():
    assert is_up_to_date({"a": StepPreview("="), "b": StepPreview("?")})
    assert not is_up_to_date({"a": StepPreview("="), "b": StepPreview("!", "this machine has no cuda")})
