"""What of the user's a result depends on: modules, what they import, files, folder listings."""

import json
import shutil
import sys

import pytest

from titrant.runtime.worker.parent import Worker
from titrant.runtime.worker.user_watch import UserWatch
from titrant.schema.values.files import digest_file

pytestmark = pytest.mark.usefixtures("warm_workers")

PROBE = '''
from titrant.runtime.catalog import Params, operator


@operator(f"{__name__}.probe", version=1, family="toy", params=Params, inputs={}, outputs={"value": "value"})
def probe(params, context):
    """Answer."""
    return {"value": 1}
'''


READ = "files that toys:load read"


def read_by(toy, operator):
    """Everything that the results of an operator, which stay in the home, depend on."""
    kept = [json.loads(path.read_text()) for path in toy.home.results.rglob("*.json")]
    return {
        item["path"]: item["digest"]
        for value in kept
        if value.get("operator") == operator
        for item in value.get("dependencies", ())
    }


def dependencies(record, name):
    return {d.path: d.digest for s in record.steps if s.step == name for d in s.result.dependencies}


def test_records_the_modules_that_a_step_loaded_and_what_those_import(toy, make_plan):
    record = toy.run(make_plan((1,)))
    assert set(dependencies(record, "load")) == {"toys.py", "toy_numbers.py", "package:pydantic"}
    # The second step finds the modules loaded already, and depends on them all the same.
    assert set(dependencies(record, "c1")) == {"toys.py", "toy_numbers.py", "package:pydantic"}


def test_runs_again_what_depends_on_a_changed_module(toy, ran, make_plan):
    ran(make_plan((1,)))
    toy.ran()
    (toy.folder / "toy_numbers.py").write_text("PLUS = 2\n")
    record = toy.run(make_plan((1,)))
    assert "load" in toy.ran()
    assert record.executed == 8


def test_runs_nothing_again_when_files_were_only_touched_or_the_folder_was_moved(toy, make_plan, tmp_path):
    toy.run(make_plan((1,)))
    (toy.folder / "toys.py").touch()
    shutil.move(toy.folder, tmp_path / "moved")
    toy.folder = tmp_path / "moved"
    assert toy.run(make_plan((1,))).executed == 0


def test_executes_the_text_that_is_there_and_never_older_bytecode(toy, make_plan):
    """Python trusts cached bytecode of the same second and size; a result would be recorded under the wrong text."""
    import py_compile

    module = toy.folder / "toy_numbers.py"
    py_compile.compile(str(module))
    state = module.stat()
    module.write_text("PLUS = 9\n")
    import os

    os.utime(module, ns=(state.st_atime_ns, state.st_mtime_ns))
    record = toy.run(make_plan((1,)))
    rows = next(s.result.outputs["rows"] for s in record.steps if s.step == "load")
    from titrant.runtime.store.artifacts import Store

    assert Store(toy.home).value(rows)["plus"] == 9


def test_depends_on_a_file_that_user_code_opens(toy, make_plan, tmp_path):
    file = tmp_path / "number.txt"
    file.write_text("5")
    plan = make_plan((1,), load={"opens": str(file)})
    record = toy.run(plan)
    assert str(file) in read_by(toy, "toys:load")
    assert READ in dependencies(record, "load")
    file.touch()
    assert toy.run(plan).executed == 0
    file.write_text("6")
    toy.ran()
    again = toy.run(plan)
    assert again.executed > 0
    assert "load" in toy.ran()
    assert dependencies(again, "load")[READ] != dependencies(record, "load")[READ]


def test_believes_no_result_of_a_file_that_was_replaced_while_user_code_read_it(toy, make_plan, tmp_path):
    """The rows are the old ones, and a digest afterwards is of the new ones."""
    file, go = tmp_path / "number.txt", tmp_path / "go"
    file.write_text("5")
    plan = make_plan((1,), load={"opens": str(file), "until": str(go)})

    def replace(event):
        if event["event"] == "measured" and event["name"] == "read":
            (tmp_path / "beside").write_text("6")
            (tmp_path / "beside").replace(file)
            go.touch()

    first = toy.run(plan, hear=replace)
    assert any("a file changed while your code read it" in event.get("text", "") for event in toy.events)
    toy.ran()
    again = toy.run(plan)
    assert "load" in toy.ran()
    assert again.steps[0].result.outputs["rows"] != first.steps[0].result.outputs["rows"]
    assert toy.run(plan).executed == 0


def test_tells_no_name_of_a_file_that_user_code_opens(toy, make_plan, tmp_path):
    """A file may be called by a patient's name; only the home's own results hold it."""
    file = tmp_path / "jane-doe.txt"
    file.write_text("5")
    plan = make_plan((1,), load={"opens": str(file)})
    toy.run(plan)
    file.write_text("6")
    toy.run(plan)
    told = json.dumps(toy.events) + "".join(
        path.read_text("utf-8", "replace")
        for path in toy.home.runs.rglob("*")
        if path.is_file() and path.name != "plan.json"
    )
    assert "jane-doe" not in told.replace(json.dumps(str(file)), "")
    assert "one of the files that toys:load read changed" in told


def test_depends_on_which_files_a_folder_holds_where_user_code_lists_it(toy, make_plan, tmp_path):
    folder = tmp_path / "cases"
    folder.mkdir()
    plan = make_plan((1,), load={"lists": str(folder)})
    toy.run(plan)
    assert toy.run(plan).executed == 0
    (folder / "new").write_text("")
    toy.ran()
    toy.run(plan)
    assert "load" in toy.ran()


def test_leaves_files_that_the_key_holds_to_the_key(toy, make_plan, tmp_path):
    file = tmp_path / "number.txt"
    file.write_text("5")
    digest = digest_file(file)
    given = {"opens": str(file), "file": {"path": str(file), "digest": digest}}
    assert str(file) not in dependencies(toy.run(make_plan((1,), load=given)), "load")
    moved = tmp_path / "elsewhere.txt"
    file.rename(moved)
    again = make_plan((1,), load={"opens": str(file), "file": {"path": str(moved), "digest": digest}})
    assert toy.run(again).executed == 0


@pytest.mark.parametrize("plus", [3])
def test_says_why_in_the_journal(toy, ran, make_plan, plus):
    ran(make_plan((1,)))
    (toy.folder / "toy_numbers.py").write_text(f"PLUS = {plus}\n")
    toy.run(make_plan((1,)))
    started = [event for event in toy.events if event["event"] == "started"]
    assert started[0]["because"] == "toy_numbers.py changed"


def test_keeps_descriptions_of_user_operators_until_their_module_changes(toy, make_plan):
    toy.run(make_plan((1,)))
    kept = list((toy.home.facts / "operators").iterdir())
    assert len(kept) == 7
    assert json.loads(kept[0].read_text())["operator"]["version"] == 1


def test_does_not_take_what_imports_look_at_for_what_the_user_opens(toy, make_plan):
    """Finding a package lists every folder on the path, the recipe's own among them."""
    (toy.folder / "toy_numbers.py").write_text("from importlib import metadata\nmetadata.version('numpy')\nPLUS = 1\n")
    plan = make_plan((1,))
    assert set(dependencies(toy.run(plan), "load")) == {"toys.py", "toy_numbers.py", "package:pydantic"}
    (toy.folder / "notes.txt").write_text("")
    assert toy.run(plan).executed == 0


def test_depends_on_a_file_that_a_module_read_when_it_was_imported_also_in_later_steps(toy, make_plan):
    """The worker may have imported the module long before the step, as when it inspected the model."""
    file = toy.folder / "plus.txt"
    file.write_text("1")
    (toy.folder / "toy_numbers.py").write_text(
        "from pathlib import Path\nPLUS = int((Path(__file__).parent / 'plus.txt').read_text())\n"
    )
    plan = make_plan((1,))
    record = toy.run(plan)
    assert READ in dependencies(record, "load")
    assert read_by(toy, "toys:load")["plus.txt"] == digest_file(file)
    assert any(path.startswith("files that") for path in dependencies(record, "c1.contract"))
    file.write_text("2")
    toy.ran()
    assert toy.run(plan).executed > 0
    assert "load" in toy.ran()


def test_depends_on_a_file_that_a_module_read_once_and_keeps(toy, make_plan):
    (toy.folder / "plus.txt").write_text("1")
    (toy.folder / "toy_numbers.py").write_text(
        "from functools import cache\nfrom pathlib import Path\n\n\n@cache\ndef kept():\n"
        "    return (Path(__file__).parent / 'plus.txt').read_text()\n\n\nPLUS = 1\n"
    )
    toys = (toy.folder / "toys.py").read_text()
    (toy.folder / "toys.py").write_text(toys.replace('ran(f"make', 'toy_numbers.kept()\n    ran(f"make'))
    record = toy.run(make_plan())
    assert "files that toys:make read" in dependencies(record, "c1")
    assert "files that toys:make read" in dependencies(record, "c2")
    assert "plus.txt" in read_by(toy, "toys:make")


def test_names_no_file_that_another_module_read(toy, make_plan):
    (toy.folder / "plus.txt").write_text("1")
    (toy.folder / "reader.py").write_text(
        "from pathlib import Path\nTEXT = (Path(__file__).parent / 'plus.txt').read_text()\n"
    )
    (toy.folder / "lonely.py").write_text("VALUE = 1\n")
    with Worker(toy.home, toy.folder, 1, 7) as worker:
        asked = {"do": "run", "step": "s", "params": {}, "inputs": {}, "seed": 7, "threads": 1, "deterministic": True}
        for name, body in (("first", "import reader"), ("second", "import lonely")):
            (toy.folder / f"{name}.py").write_text(f"{body}\n{PROBE}")
        first = worker.ask({**asked, "operator": "first:probe"})
        second = worker.ask({**asked, "operator": "second:probe"})
    assert {item["path"] for item in first["dependencies"]} == {"first.py", "reader.py", "plus.txt"}
    assert {item["path"] for item in second["dependencies"]} == {"second.py", "lonely.py"}


# How a module learns something otherwise than by opening a file that is there, and what its result then depends on.
LEARNED = {
    "variable": ("import os\nos.getenv('TOY_ROWS')\ndict(os.environ)\n'HOME' in [*os.environ]", "variable:TOY_ROWS"),
    "secret": ("import os\nos.environ.get('TOY_PASSWORD')", None),
    "asked": ("from pathlib import Path\nPath(__file__).with_name('not_there').exists()", "presence:not_there"),
    "joined": ("import os\nos.path.isfile(os.path.dirname(__file__) + '/no_file')", "presence:no_file"),
    "optional": (
        "from contextlib import suppress\nwith suppress(OSError):\n    open('HERE/gone.txt')",
        "presence:gone.txt",
    ),
    "passing": (
        "import os, tempfile\nwith tempfile.TemporaryDirectory() as folder:\n    os.path.exists(folder + '/a')",
        None,
    ),
    "packaged": ("import pkgutil\npkgutil.get_data('rows', 'a.txt')", "rows/a.txt"),
    "database": ("import sqlite3\nsqlite3.connect('HERE/a.db').close()", "a.db"),
    "table": ("import pyarrow.parquet\npyarrow.parquet.read_table('HERE/parts')", "parts/a.parquet"),
    "weights": ("from safetensors.numpy import load_file\nload_file('HERE/a.safetensors')", "a.safetensors"),
    "command": ("import subprocess\nsubprocess.run('cat < HERE/a.txt', shell=True, stdout=-3)", "a.txt"),
    "copied": (
        "import os\nif not os.fork():\n    open('HERE/a.txt').close()\n    os._exit(0)\nos.wait()",
        "a.txt",
    ),
}


def test_depends_on_what_is_learned_otherwise_than_by_opening_a_file(toy):
    import sqlite3

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.numpy import save_file

    for folder in ("rows", "parts"):
        (toy.folder / folder).mkdir()
    for name in ("rows/__init__.py", "rows/a.txt", "a.txt"):
        (toy.folder / name).write_text("")
    pq.write_table(pa.table({"a": [1]}), toy.folder / "parts" / "a.parquet")
    save_file({"a": np.zeros(1)}, toy.folder / "a.safetensors")
    sqlite3.connect(toy.folder / "a.db").close()
    for name, (learns, _) in LEARNED.items():
        (toy.folder / f"{name}.py").write_text(f"{learns.replace('HERE', str(toy.folder))}\n{PROBE}")
    asked = {"do": "run", "step": "s", "params": {}, "inputs": {}, "seed": 7, "threads": 1, "deterministic": True}
    with Worker(toy.home, toy.folder, 1, 7) as worker:
        told = {name: worker.ask({**asked, "operator": f"{name}:probe"})["dependencies"] for name in LEARNED}
    paths = {name: {item["path"] for item in told[name] if not item["path"].startswith("package:")} for name in told}
    expected = {name: {f"{name}.py"} | ({what} if what else set()) for name, (_, what) in LEARNED.items()}
    expected["table"].add("parts/")
    expected["packaged"].add("rows/__init__.py")
    assert paths == expected


def test_tells_a_training_what_its_code_is_before_the_code_is_called(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unseen_losses.py").write_text("def mine(output, labels):\n    import unseen_parts\n")
    (tmp_path / "unseen_parts.py").write_text("")
    code = UserWatch(tmp_path).code_of({"loss": "unseen_losses:mine", "model": "torch.nn:Linear"}, ())
    assert code == {name: digest_file(tmp_path / name) for name in ("unseen_losses.py", "unseen_parts.py")}
    assert "unseen_parts" not in sys.modules
    del sys.modules["unseen_losses"]


def test_runs_again_where_a_variable_that_the_code_reads_has_another_value(toy, make_plan, monkeypatch):
    (toy.folder / "toy_numbers.py").write_text("import os\nPLUS = int(os.environ.get('TOY_PLUS', 1))\n")
    toy.run(make_plan((1,)))
    monkeypatch.setenv("TOY_PLUS", "2")
    assert toy.run(make_plan((1,))).executed == 8
    assert "environment variable TOY_PLUS changed" in {event.get("because") for event in toy.events}


def test_sees_a_module_that_is_loaded_where_another_was_taken_away(tmp_path, monkeypatch):
    for name in ("watched_gone", "watched_new"):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    watch = UserWatch(tmp_path)
    __import__("watched_gone")
    with watch.watching():
        del sys.modules["watched_gone"]
        __import__("watched_new")
        assert watch.roots() == {"watched_new"}
    assert watch.roots() == {"watched_new"}
    del sys.modules["watched_new"]
