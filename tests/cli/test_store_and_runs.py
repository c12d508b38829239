"""`titrant store` and `titrant show runs` on a home that toy runs filled."""

import json
import shutil
from pathlib import Path

import pytest

import titrant
from titrant.cli.main import main

from ..runtime import conftest  # noqa: TID252 - tests are no package that is installed
from ..runtime.run import test_crash_points as crash  # noqa: TID252

TOYS = Path(__file__).parents[1] / "runtime"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three runs of a toy recipe: one that releases, one that does not, one that did not come to its end."""
    base = tmp_path_factory.mktemp("store")
    folder = base / "recipe"
    folder.mkdir()
    (folder / "toys.py").write_text((TOYS / "toys.py").read_text())
    (folder / "toy_numbers.py").write_text("PLUS = 1\n")
    from titrant.runtime.store.home import open_home

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_LOG", str(base / "ran.txt"))
        toy = conftest.Toy(folder, open_home(base / "home"), base / "ran.txt")
        crash.run_here(toy, conftest.toy_plan((1, 2)))
        crash.run_here(toy, conftest.toy_plan((1,), verdicts={1: "FAIL"}))
        with pytest.raises(titrant.TitrantError):
            crash.run_here(toy, conftest.toy_plan((1,), make={1: {"do": "raise"}}))
    return toy.home


@pytest.fixture
def call(home, monkeypatch, capsys):
    """Run a command in this process; give its exit code, answer and messages."""
    monkeypatch.setenv("TITRANT_HOME", str(home.path))

    def run(*arguments):
        code = main([*arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_lists_runs_newest_first_with_what_they_released(call):
    code, out, _ = call("show", "runs")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["run", "verdict", "released", "size", "latency", "accuracy"]
    assert max(map(len, lines)) <= 100
    assert [line.split()[1:3] for line in lines[1:]] == [["UNFINISHED", "-"], ["FAIL", "-"], ["PASS", "c2"]]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("--verdict", "pass"), ["PASS"]),
        (("--verdict", "PASS", "--verdict", "unfinished"), ["UNFINISHED", "PASS"]),
        (("--recipe", "toy"), ["UNFINISHED", "FAIL", "PASS"]),
        (("--recipe", "other"), []),
        (("--metric", "latency<0.4 s"), ["PASS"]),
        (("--metric", "latency<0.4 s", "--metric", "size>1 GiB"), []),
        (("--metric", "accuracy>=0.9"), ["FAIL", "PASS"]),
        (("--metric", "no_such_figure=1"), []),
    ],
)
def test_searches_runs(call, given, found):
    code, out, _ = call("show", "runs", *given, "--json")
    assert (code, [row["verdict"] for row in json.loads(out)]) == (0, found)


def test_names_a_figure_that_no_run_has(call):
    code, out, _ = call("show", "runs", "--metric", "acuracy>=0.9")
    assert code == 0
    assert out.startswith("no run of this home fits: none has a figure `acuracy`; there are accuracy, ")
    assert call("show", "runs", "--metric", "accuracy>2")[1] == "no run of this home fits\n"


@pytest.mark.parametrize(
    "given", [("--metric", "accuracy"), ("--metric", "size<=20 parsecs"), ("--verdict", "splendid")], ids=str
)
def test_refuses_a_filter_that_it_cannot_read(call, given):
    code, _, err = call("show", "runs", *given)
    assert (code, "P072" in err) == (2, True)


def test_looks_runs_up_without_writing_in_their_home(call, home, tmp_path):
    """As in an archive on a disk that is read-only."""
    archive = tmp_path / "archive"
    shutil.copytree(home.path, archive)
    for name in ("locks", "unfinished", "facts", ".gitignore"):
        gone = archive / name
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TITRANT_HOME", str(archive))
        assert [main(["show", "runs"]), main(["store", "verify"])] == [0, 0]
    assert sorted(path.name for path in archive.iterdir()) == ["results", "runs", "store"]


def test_refuses_options_of_the_other_action(call):
    for given in (("verify", "--keep", "1 GiB"), ("verify", "--dry-run"), ("gc", "--repair")):
        code, _, err = call("store", *given)
        assert (code, "P014" in err) == (2, True)


def test_refuses_filters_where_there_are_no_runs(call):
    assert call("show", "operators", "--verdict", "PASS")[0] == 2
    assert call("show", "runs", "toy")[0] == 2


def test_verifies_an_intact_store_and_finds_what_was_flipped(call, home):
    code, out, _ = call("store", "verify")
    assert (code, out.splitlines()[-1]) == (0, "everything is intact")
    file = next(path for path in (home.store / "blake3").rglob("*") if path.is_file() and b"xxxx" in path.read_bytes())
    file.chmod(0o644)
    data = file.read_bytes()
    file.write_bytes(data.replace(b"xxxx", b"xxyx"))
    code, out, _ = call("store", "verify")
    assert code == 4
    assert f"damaged: store/blake3/{file.parent.name}/{file.name}: its content has the digest" in out
    assert json.loads(call("store", "verify", "--json")[1])["findings"][0]["path"].endswith(file.name)
    file.write_bytes(data)
    assert call("store", "verify")[0] == 0


def test_says_what_cleaning_would_free_and_what_holds_it(call):
    code, out, _ = call("store", "gc", "--dry-run", "--keep", "1 KiB")
    assert code == 0
    assert out.startswith("would free 0 B: 0 results, 0 files\n")
    assert "because runs or locks refer to them" in out


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (("--keep", "10"), "P070"),
        (("--older-than", "soon"), "P070"),
        (("--forget-runs", "3 fortnights"), "P070"),
        (("--lock", "no-such.lock.yaml"), "P071"),
    ],
)
def test_refuses_ages_sizes_and_locks_that_it_cannot_read(call, given, code):
    exit_code, _, err = call("store", "gc", *given)
    assert (exit_code, code in err) == (2, True)


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_refuses_no_time_to_run_in(call, minutes):
    code, _, err = call("run", "any.yaml", f"--max-minutes={minutes}")
    assert (code, "P073" in err) == (2, True)


def test_offers_the_same_as_functions(home, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(home.path))
    assert titrant.verify_store().intact
    assert titrant.clean_store(keep="1 GiB", dry_run=True).bytes == 0
    assert [row.verdict for row in titrant.search_runs(home.path, verdicts=["PASS"])] == ["PASS"]
