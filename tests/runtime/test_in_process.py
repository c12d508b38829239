"""A worker in the tests' own process leaves nothing in it that the next one would have to ask as well."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

from titrant.runtime.store.home import Home

spec = importlib.util.spec_from_file_location("in_process_alone", Path(__file__).with_name("in_process.py"))
in_process = importlib.util.module_from_spec(spec)
sys.modules["in_process_alone"] = in_process
spec.loader.exec_module(in_process)


def _layers(function):
    """Count the functions of which each calls the next, as `functools.wraps` writes it down."""
    return 1 + _layers(function.__wrapped__) if hasattr(function, "__wrapped__") else 1


def _asked_in_process():
    asked = [_layers(getattr(Path, name)) for name in ("exists", "is_file", "is_dir")]
    asked += [_layers(getattr(os.path, name)) for name in ("exists", "isfile", "isdir", "lexists")]
    finders = len(sys.meta_path), len(sys.path_hooks), len(sys.path)
    return asked, type(os.environ).__mro__[1:], finders, importlib.import_module.__qualname__


def test_watches_the_code_of_one_folder_at_a_time(tmp_path):
    home, asked = Home(tmp_path / "home"), []
    home.unfinished.mkdir(parents=True)
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        in_process.InProcessWorker(home, folder).close()
        asked.append(_asked_in_process())
    assert all(each == asked[0] for each in asked)
    assert max(asked[0][0]) <= 2
