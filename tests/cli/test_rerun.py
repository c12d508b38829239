"""A recorded run is repeated from its stored recipe, compared, and held to its lock (one run, shared)."""

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from titrant.api.rerun import locked_run

# A net that nothing but a variable of the system changes: no file, parameter or key tells.
UNSTEADY = "        self.second = torch.nn.Linear(16, classes)\n"
NOISE = UNSTEADY + "        self.second.bias.data += float(dict(__import__('os').environ).get('NOISE', 0))\n"


@pytest.fixture(scope="module")
def done(shared_place):
    """One run, with its folder."""
    place = shared_place
    net = place.folder / "net.py"
    net.write_text(net.read_text().replace(UNSTEADY, NOISE))
    recipe = place.recipe(("epochs: 4", "epochs: 2"))
    answer = place.titrant("run", recipe)
    assert answer.code == 0, answer.all
    (folder,) = (place.home / "runs").iterdir()
    return SimpleNamespace(
        place=place, recipe=recipe, folder=folder, answer=answer, lock=place.folder / "recipe.lock.yaml", net=net
    )


def contents(*folders):
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_comes_out_identical_without_the_recipe_and_names_what_would_restore_the_environment(done, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(done.folder, copied)
    environment = json.loads((copied / "environment.json").read_text())
    environment["packages"]["numpy"] = "1.0.0"
    (copied / "environment.json").write_text(json.dumps(environment))
    text = done.recipe.read_text()
    done.recipe.unlink()
    before = contents(done.folder, done.place.home / "results")
    answer = done.place.titrant("rerun", copied, "--json")
    done.recipe.write_text(text)
    assert answer.code == 0, answer.all
    found = json.loads(answer.out)
    assert found["verdict"] == "identical"
    assert found["cause"] == ""
    assert found["same"] >= 15
    assert found["restore"] == "pip install numpy==1.0.0"
    assert any("packages.numpy was 1.0.0 and is 2" in change for change in found["changes"])
    assert contents(done.folder, done.place.home / "results") == before
    record = json.loads((done.place.home / "runs" / found["run"] / "record.json").read_text())
    assert record["reused"] == 0
    assert json.loads((done.place.home / "runs" / found["run"] / "rerun.json").read_text()) == found
    again = done.place.home / "runs" / found["run"] / "outputs" / "model.onnx"
    assert again.read_bytes() == (done.folder / "outputs" / "model.onnx").read_bytes()


def test_repeats_the_latest_run_that_ended_and_is_different_after_the_model_changed(done):
    begun = done.place.home / "runs" / "29990101T000000Z-small-00000000"
    shutil.copytree(done.folder, begun)
    (begun / "record.json").unlink()
    text = done.net.read_text()
    done.net.write_text(text.replace("torch.relu", "torch.tanh"))
    answer = done.place.titrant("rerun", "latest")
    done.net.write_text(text)
    shutil.rmtree(begun)
    assert answer.code == 7, answer.all
    assert f"{begun.name} did not come to its end: " in answer.err
    assert " is the latest that did" in answer.err
    assert "not reproduced, different" in answer.out
    assert "first cause: inputs: net.py changed" in answer.out
    assert "largest difference: " in answer.out


def test_leaves_unexplained_what_no_key_can_see(done):
    answer = done.place.titrant("rerun", done.folder.name, NOISE="0.25")
    assert answer.code == 7, answer.all
    assert "not reproduced, unexplained" in answer.out
    told = " ".join(answer.out.split())
    assert "model.model differs under the same key, and model.load claims exact" in told
    assert "second.bias" in told


def test_writes_a_lock_that_stands_when_nothing_changed(done):
    assert "lock: " in done.answer.err
    text = done.lock.read_text()
    assert f"run: {done.folder.name}" in text
    assert max(map(len, text.splitlines())) < 200
    again = done.place.titrant("run", done.recipe)
    assert again.code == 0
    assert "lock" not in again.err
    checked = done.place.titrant("lock", done.recipe, "--check")
    assert (checked.code, checked.out.strip()) == (0, f"{done.lock}: up to date")
    checked = done.place.titrant("lock", done.recipe, "--check", "--json")
    assert json.loads(checked.out) == {"file": str(done.lock), "holds": True, "unchecked": ""}
    locked = done.place.titrant("run", done.recipe, "--locked")
    assert locked.code == 0, locked.all
    assert "nothing executed" in locked.out
    done.lock.unlink()
    written = json.loads(done.place.titrant("lock", done.recipe, "--json").out)
    assert (written["file"], written["change"]) == (str(done.lock), "a new entry")
    assert done.lock.read_text() == text


def test_refuses_with_the_lock_after_the_recipe_changed(done):
    text, runs = done.recipe.read_text(), set((done.place.home / "runs").iterdir())
    done.recipe.write_text(text.replace("epochs: 2", "epochs: 3"))
    answers = [done.place.titrant("lock", done.recipe, "--check"), done.place.titrant("run", done.recipe, "--locked")]
    done.recipe.write_text(text)
    for answer in answers:
        assert answer.code == 6, answer.all
        assert "error[P092]" in answer.err
        assert "the recipe changed: train.epochs was 2 and is 3" in answer.err
    assert set((done.place.home / "runs").iterdir()) == runs


def test_refuses_a_locked_run_that_comes_out_otherwise_and_releases_nothing(done):
    text = done.lock.read_text()
    digest = text.split("      fit:")[1].split("model: ")[1][:64]
    done.lock.write_text(text.replace(digest, "0" * 64))
    answer = done.place.titrant("run", done.recipe, "--locked")
    done.lock.write_text(text)
    assert answer.code == 6
    assert "the output fit.model differs (under the same key)" in " ".join(answer.err.split())


def test_repeats_what_a_lock_says_in_a_home_that_knows_nothing_of_its_run(done, tmp_path):
    """One digest of the lock is another one, so that the rest shows what is the same and it what is not."""
    text = done.lock.read_text()
    digest = text.split("      fit:")[1].split("model: ")[1][:64]
    done.lock.write_text(text.replace(digest, "0" * 64))
    answer = done.place.titrant("rerun", done.lock, "--json", TITRANT_HOME=str(tmp_path / "empty"))
    done.lock.write_text(text)
    assert answer.code == 7, answer.all
    found = json.loads(answer.out)
    assert (found["of"], found["verdict"]) == ("the lock", "unexplained")
    assert found["cause"] == "outputs: fit.model differs under the same key, and train.fit claims exact"
    assert found["same"] >= 15
    assert [one["output"] for one in found["tensors"]] == ["fit.model"]


def test_means_the_code_beside_a_lock_that_was_cloned(done, tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(done.place.home))
    clone = tmp_path / "clone"
    shutil.copytree(done.place.folder, clone, ignore=shutil.ignore_patterns(".titrant", "home"))
    for lock in (clone / done.lock.name, done.lock):
        workers = []
        repeated = locked_run(lock, redecide=False, trust=False, keep_worker=workers)
        for worker in workers:
            worker.close()
        assert Path(repeated.planned.folder) == lock.parent


def test_says_in_the_report_and_the_lock_how_often_these_rows_were_looked_at(done):
    report = (done.folder / "report.md").read_text()
    assert "First look at these evaluation rows, as far as is known" in report
    assert "      runs: 1\n" in done.lock.read_text()
    looks = done.place.home / "looks" / "ledger.jsonl"
    assert len(looks.read_text().splitlines()) == 1  # reruns choose nothing


def test_says_when_there_is_no_lock_or_no_entry_for_this_machine(done):
    text = done.lock.read_text()
    done.lock.unlink()
    missing = done.place.titrant("lock", done.recipe, "--check")
    done.lock.write_text(text.replace("linux-x86_64", "plan9-mips"))
    elsewhere = done.place.titrant("run", done.recipe, "--locked")
    checked = done.place.titrant("lock", done.recipe, "--check")
    done.lock.write_text(text)
    assert (missing.code, elsewhere.code, checked.code) == (6, 6, 0)
    assert "error[P090]" in missing.err
    assert "run without --locked to add one" in elsewhere.err
    assert "no entry for this hardware class" in checked.err


def test_refuses_a_run_that_did_not_end(done):
    broken = done.place.home / "runs" / "20000101T000000Z-small-00000000"
    shutil.copytree(done.folder, broken)
    (broken / "record.json").unlink()
    answer = done.place.titrant("rerun", broken.name)
    shutil.rmtree(broken)
    assert answer.code == 2
    assert "did not come to its end" in answer.err


@pytest.fixture
def copied(done):
    """The run once more in its home, as another one, to change files of."""
    folder = done.place.home / "runs" / "20000102T000000Z-small-00000000"
    shutil.copytree(done.folder, folder)
    yield folder
    shutil.rmtree(folder)


def test_is_different_where_the_recorded_recipe_was_changed(done, copied):
    """The steps give the same bytes, and are asked something else."""
    recipe = copied / "recipe.yaml"
    text = recipe.read_text()
    assert "retention: 0.9" in text
    recipe.write_text(text.replace("retention: 0.9", "retention: 0.1"))
    answer = done.place.titrant("rerun", copied.name)
    assert answer.code == 7, answer.all
    assert "recipe.yaml of the recorded run changed after it had ended" in answer.out


def test_neither_confirms_nor_locks_a_record_that_was_changed(done, copied):
    record = copied / "record.json"
    figures = json.loads(record.read_text())
    for candidate in figures["candidates"]:
        candidate["figures"]["latency_p50"] = 1e-9
    record.write_text(json.dumps(figures))
    before = done.lock.read_text()
    answer = done.place.titrant("lock", done.recipe, copied.name)
    assert answer.code == 4, answer.all
    assert "error[X589]" in answer.err
    assert done.lock.read_text() == before
    answer = done.place.titrant("rerun", copied.name)
    assert answer.code == 7, answer.all
    assert "record.json of the recorded run changed after it had ended" in answer.out
