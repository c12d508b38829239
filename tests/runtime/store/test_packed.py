"""A packed run is the run, the same bytes each time, and is refused where it is not whole."""

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titrant.api.report import packed_report, report
from titrant.runtime.store import packed
from titrant.runtime.store.packed import pack, packed_file, unpack
from titrant.schema.diagnostics.diagnostics import RecipeError

KEY = "0f" * 32


@pytest.fixture
def run(ran, toy, make_plan):
    """Return the folder of a finished run: one that ran once, copied for each test."""
    ran(make_plan())
    (folder,) = toy.home.runs.iterdir()
    return folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("key", [None, KEY])
def test_gives_back_every_file_and_folder(run, tmp_path, monkeypatch, key):
    monkeypatch.setenv("TITRANT_KEY", key or "")
    (run / "large").write_bytes(os.urandom(300_000))
    pack(run, tmp_path / "run.pack", key=key)
    unpack(tmp_path / "run.pack", tmp_path / "again")
    assert content(tmp_path / "again") == content(run)
    assert (tmp_path / "again" / "quarantine").is_dir()
    assert packed_file(tmp_path / "run.pack", "report.html") == b"PASS"


def test_gives_the_same_bytes_wherever_and_whenever_the_run_lies(run, tmp_path, monkeypatch):
    pack(run, tmp_path / "one", key=None)
    again = shutil.copytree(run, tmp_path / "elsewhere" / run.name, copy_function=shutil.copyfile)
    for path in again.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    entries = Path.iterdir  # in whatever order a file system has them
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(sorted(entries(folder), reverse=True)))
    pack(again, tmp_path / "two", key=None)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_is_an_archive_that_any_tool_opens(run, tmp_path):
    pack(run, tmp_path / "run.tar.gz", key=None)
    with tarfile.open(tmp_path / "run.tar.gz") as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {run.name}


def test_leaves_out_links(run, tmp_path):
    (tmp_path / "secret").write_text("not of the run")
    (run / "link").symlink_to(tmp_path / "secret")
    (run / "folder").symlink_to(tmp_path)
    pack(run, tmp_path / "run.pack", key=None)
    unpack(tmp_path / "run.pack", tmp_path / "again")
    assert not {"link", "folder"} & {path.name for path in (tmp_path / "again").iterdir()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example writes the file anew
@given(st.floats(0, 1), st.sampled_from(["a byte", "cut", "longer"]), st.booleans())
def test_refuses_a_pack_that_was_changed_or_cut_short(whole_packs, at, kind, is_sealed):
    file, whole = whole_packs[is_sealed]
    place = min(int(at * len(whole)), len(whole) - 1)
    wrong = {
        "a byte": whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :],
        "cut": whole[:place],
        "longer": whole + b"more",
    }[kind]
    file.write_bytes(wrong)
    # Of gzip's own first bytes some say nothing of what follows: a time, a name of the system.
    if kind == "a byte" and not is_sealed and 4 <= place < 10:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TITRANT_KEY", KEY)
        with pytest.raises(RecipeError, match=r"R217|X596"):
            packed_file(file, "report.html")


@pytest.fixture
def whole_packs(run, tmp_path):
    """Return a pack that is not sealed and one that is: a file, and what it holds."""
    packs = []
    for key in (None, KEY):
        file = tmp_path / f"{key}.pack"
        pack(run, file, key=key)
        packs.append(Whole(file, file.read_bytes()))
    return packs


class Whole(tuple):
    """A pack and what it holds, too long to be shown."""

    __slots__ = ()

    def __new__(cls, *parts):
        return super().__new__(cls, parts)

    def __repr__(self):
        return str(self[0])


def archive(*members):
    """Write an archive with files of some names and types."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb") as compressed, tarfile.open(fileobj=compressed, mode="w") as written:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/passwd", 2 * (kind == tarfile.REGTYPE)
            written.addfile(member, io.BytesIO(b"{}"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("run/../../outside", tarfile.REGTYPE)], "leads out of the run's folder"),
        ([("/etc/outside", tarfile.REGTYPE)], "leads out of the run's folder"),
        ([("run/record.json", tarfile.REGTYPE), ("other/x", tarfile.REGTYPE)], "leads out of the run's folder"),
        ([("run/link", tarfile.SYMTYPE)], "is neither a file nor a folder"),
        ([("run/link", tarfile.LNKTYPE)], "is neither a file nor a folder"),
        ([("run/device", tarfile.CHRTYPE)], "is neither a file nor a folder"),
        ([("run/recipe.yaml", tarfile.REGTYPE)], "it has no record.json"),
        ([], "it has no record.json"),
    ],
)
def test_keeps_nothing_of_an_archive_that_is_no_run(tmp_path, members, said):
    (tmp_path / "x.pack").write_bytes(archive(*members))
    with pytest.raises(RecipeError, match=said):
        unpack(tmp_path / "x.pack", tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pack"]


def test_refuses_a_run_whose_outputs_are_not_what_it_put_out(run, tmp_path):
    (run / "outputs" / "toy.json").write_text("{}")
    pack(run, tmp_path / "run.pack", key=None)
    with pytest.raises(RecipeError, match=r"X596.*outputs/toy.json"):
        unpack(tmp_path / "run.pack", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_replaces_nothing_and_leaves_no_half(run, tmp_path, monkeypatch):
    (tmp_path / "there").write_text("mine")
    for place in (tmp_path / "there", run / "inside.pack", tmp_path / "no" / "folder"):
        with pytest.raises(RecipeError, match="X595"):
            pack(run, place, key=None)
    with pytest.raises(RecipeError, match="X595"):
        unpack(tmp_path / "there", tmp_path)

    def full(run, stream, key):
        stream.write(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed, "_write", full)
    with pytest.raises(RecipeError, match=r"X595.*no space left on device"):
        pack(run, tmp_path / "new", key=None)
    assert (tmp_path / "there").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"there", "recipe", "home", "ran.txt"} & {
        path.name for path in tmp_path.iterdir()
    }


def test_is_packed_shown_and_unpacked_by_the_verb(run, tmp_path, monkeypatch):
    monkeypatch.delenv("TITRANT_KEY", raising=False)
    (run / "report.md").write_text("# PASS\n")
    (run / "report.json").unlink(missing_ok=True)
    assert report(str(run), pack=tmp_path / "x.pack") == tmp_path / "x.pack"
    assert packed_report(tmp_path / "x.pack") == "# PASS\n"
    assert report(str(tmp_path / "x.pack"), unpack=tmp_path / "again") == tmp_path / "again" / "report.html"
    monkeypatch.setenv("TITRANT_KEY", KEY)
    report(str(run), pack=tmp_path / "y.pack")
    assert b"PASS" not in (tmp_path / "y.pack").read_bytes()
    assert packed_report(tmp_path / "y.pack", "md") == "# PASS\n"
    with pytest.raises(RecipeError, match=r"P008.*has no report\.json"):
        packed_report(tmp_path / "y.pack", "json")
    with pytest.raises(RecipeError, match="P036: --pack takes one run, and 2 are named"):
        report(str(run), str(run), pack=tmp_path / "z.pack")
    monkeypatch.setenv("TITRANT_KEY", "short")
    with pytest.raises(RecipeError, match="R216"):
        report(str(run), pack=tmp_path / "z.pack")
    assert not (tmp_path / "z.pack").exists()


def test_packs_a_run_whose_recipe_leaves_a_format_out(run, tmp_path):
    (run / "report.html").unlink()
    assert report(str(run), pack=tmp_path / "run.pack") == tmp_path / "run.pack"
    assert packed_file(tmp_path / "run.pack", "record.json")
