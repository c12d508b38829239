"""What looking up versions promises: what importlib.metadata says, and never what was true a moment ago."""

import csv
import sys
from importlib import metadata
from zipfile import ZipFile

import pytest

from titrant.schema.values.distributions import distributions_with, installed_version, licenses, packages


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder at the head of `sys.path` in which distributions can be installed."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(folder, version, file="METADATA"):
        place = tmp_path / folder
        place.mkdir()
        (place / file).write_text(
            f"Metadata-Version: 2.1\nName: {folder.partition('-')[0]}\nVersion: {version}\n\nVersion: 9 of the text\n"
        )
        return place

    return install


def test_says_what_importlib_says_of_everything_installed_here():
    names = {one.metadata["Name"] for one in metadata.distributions()}
    assert len(names) > 20
    assert {name: installed_version(name) for name in names} == {name: metadata.version(name) for name in names}
    assert packages() == {one.metadata["Name"]: one.version for one in metadata.distributions()}


def test_reads_of_a_license_what_importlib_reads_of_everything_installed_here():
    fields = ("License", "License-Expression", "Classifier")
    texts = {
        one.metadata["Name"]: [one.metadata.get_all(name, []) for name in fields] for one in metadata.distributions()
    }
    short = {name: license[0] for name, (license, _, _) in texts.items() if license and len(license[0]) < 60}
    declared = {
        name: expression[0] if expression else short[name] if "\n" not in short.get(name, "\n") else classified[0]
        for name, (_, expression, classifiers) in texts.items()
        if (
            classified := [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License :: ")] or [""]
        )
    }
    expected = {name: " ".join(text.split()) for name, text in declared.items() if text}
    assert len(expected) > 20
    assert licenses([*texts, "no such thing at all"]) == expected


def test_reads_a_license_on_several_lines_and_none_from_the_description(site):
    place = site("worded-1.0.dist-info", "1.0")
    several = "Name: worded\r\nLICENSE: Some\r\n        License of 1.0\r\n"
    text = several + "classifier: License :: OSI Approved :: One\r\n\r\nLicense: no\r\n"
    (place / "METADATA").write_bytes(text.encode())
    assert licenses(["worded"]) == {"worded": "One"}
    (place / "METADATA").write_text("Name: worded\nLicense:\nLicense-Expression: MIT OR\n BSD\n\nLicense: no\n")
    assert licenses(["Worded"]) == {"Worded": "MIT OR BSD"}


@pytest.mark.parametrize("name", ["some_Package", "some-package", "some.package", "SOME_PACKAGE"])
def test_finds_a_name_however_it_is_written(site, name):
    site("Some_Package-1.5.dist-info", "1.5")
    assert installed_version(name) == metadata.version(name) == "1.5"


def test_reads_an_egg_too(site):
    site("old_egg-0.3-py3.11.egg-info", "0.3", "PKG-INFO")
    assert installed_version("old-egg") == metadata.version("old-egg") == "0.3"


def test_sees_an_upgrade_an_install_and_a_removal(site):
    assert installed_version("moving") is None
    place = site("moving-1.0.dist-info", "1.0")
    assert installed_version("moving") == packages()["moving"] == "1.0"
    (place / "METADATA").unlink()
    place.rmdir()
    site("moving-2.0.dist-info", "2.0")
    assert installed_version("moving") == packages()["moving"] == "2.0"


def test_says_nothing_of_metadata_that_are_broken(site):
    place = site("broken-1.0.dist-info", "1.0")
    (place / "METADATA").unlink()
    assert installed_version("broken") is None
    assert installed_version("no such thing at all") is None


def test_looks_into_an_archive_on_the_path(tmp_path, monkeypatch):
    with ZipFile(tmp_path / "zipped-4.0.egg", "w") as archive:
        archive.writestr("zipped-4.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 4.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "zipped-4.0.egg")])
    assert installed_version("zipped") == "4.0"
    assert installed_version("numpy") == metadata.version("numpy")


def test_names_what_brings_a_package_as_importlib_does(site):
    listed = {
        "folder-1.dist-info": ("RECORD", "pkg_x/__init__.py,,\n"),
        "quoted-1.dist-info": ("RECORD", 'a/b.py,,\n"pkg_x/a,b.py",,\n'),
        "module-1.dist-info": ("RECORD", "a/b.py,,\npkg_x.py,,\n"),
        "compiled-1.dist-info": ("RECORD", "pkg_so.abi3.so,,\n"),
        "declared-1.dist-info": ("top_level.txt", "other\npkg_x\n"),
        "deeper-1.dist-info": ("RECORD", "other/pkg_x/a.py,,\nother/pkg_x.py,,\npkg_xy/a.py,,\npkg_x-1.data/a,,\n"),
    }
    for folder, (file, text) in listed.items():
        place = site(folder, "1")
        (place / file).write_text(text)
        for path, *_ in csv.reader(text.splitlines() if file == "RECORD" else ()):
            (place.parent / path).parent.mkdir(parents=True, exist_ok=True)
            (place.parent / path).touch()  # Python 3.12 counts files that are there alone
    (site("both-1.dist-info", "1") / "top_level.txt").write_text("other\n")
    expected = metadata.packages_distributions()
    assert len(expected["pkg_x"]) == 4
    for package in ("pkg_x", "other", "pkg_xy", "sklearn", "yaml", "google"):
        assert distributions_with(package) == tuple(dict.fromkeys(expected.get(package, ()))), package
    assert distributions_with("pkg_so") == ("compiled",)  # Python 3.11 itself looks at `.py` files only
    assert distributions_with("nobody_brings_this") == ()
