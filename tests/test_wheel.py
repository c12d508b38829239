"""The wheel holds what the checkout links together, as plain files: nothing but it is needed to plan and to report."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("compiler", "recipes", "runtime", "schema", "src")
# What is read at run time beside the modules.
DATA = (
    "titrant/compiler/machine/profiles/nvidia-t4.yaml",
    "titrant/recipes/breast_cancer.yaml",
    "titrant/runtime/report/templates/report.html.jinja",
    "titrant/schema/diagnostics/codes.yaml",
    "titrant/py.typed",
)
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return a wheel that was built of a copy of the checkout, without a network, as a file."""
    place = tmp_path_factory.mktemp("wheel")
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for room in ROOMS:
        shutil.copytree(ROOT / room, place / room, symlinks=True, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    done = subprocess.run([sys.executable, "-c", BUILD, place], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with ZipFile(place / done.stdout.splitlines()[-1]) as opened:
        yield opened


def test_holds_plain_files_and_no_links(wheel):
    modes = {item.filename: item.external_attr >> 16 for item in wheel.infolist()}
    assert all(stat.S_ISREG(mode) for mode in modes.values()), modes


def test_holds_every_file_of_the_checkout(wheel):
    files = {
        (Path(folder) / name).relative_to(ROOT / "src").as_posix()
        for folder, _, names in os.walk(ROOT / "src" / "titrant", followlinks=True)
        for name in names
        if "__pycache__" not in folder
    }
    assert set(DATA) < files
    assert {name for name in wheel.namelist() if name.startswith("titrant/")} == files


def test_brings_the_command(wheel):
    (entries,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "titrant = titrant.cli.main:entry" in wheel.read(entries).decode()
