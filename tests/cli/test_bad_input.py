"""Bad input: a one-line cause with what would fix it, the right exit code, no traceback, nothing released."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest


def refused(place, answer, code, *words):
    assert answer.code == code, answer.all
    assert "Traceback" not in answer.all
    for word in words:
        assert word in answer.err, answer.err
    assert "help:" in answer.err
    assert not [file for file in place.home.glob("runs/*/outputs/*") if file.is_file()]


def with_weights(place, file):
    given = ("classes: auto}\n", f"classes: auto}}\n  weights: {file}\n")
    return place.recipe(("train: {epochs: 4, learning_rate: 0.05}\n", ""), given)


def test_refuses_a_missing_recipe(place):
    refused(place, place.titrant("run", "nothing.yaml"), 2, "nothing.yaml")


def test_refuses_a_missing_data_file(place):
    recipe = place.recipe(("rows.csv", "row.csv"))
    refused(place, place.titrant("run", recipe), 2, "row.csv", "rows.csv", "recipe.yaml:9:")


def test_refuses_a_column_that_is_not_there(place):
    recipe = place.recipe(("label: sick", "label: sik"))
    refused(place, place.titrant("run", recipe), 2, "`sik`", "`sick`", "recipe.yaml:10:10")


def test_refuses_a_pickle_that_could_run_code(place):
    """As it refuses all weights that cannot be loaded: tests/runtime/backends/torch/test_weights.py shows which."""
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("owned",))

    (place.folder / "weights.pt").write_bytes(pickle.dumps(Evil()))
    recipe = with_weights(place, "weights.pt")
    answer = place.titrant("run", recipe)
    refused(place, answer, 4, "weights.pt")
    assert "owned" not in answer.out


def test_refuses_data_with_missing_values_unless_they_are_imputed(place):
    lines = (place.folder / "rows.csv").read_text().splitlines()
    lines[5] = "," + lines[5].split(",", 1)[1]
    place.write("rows.csv", "\n".join(lines) + "\n")
    answer = place.titrant("run", place.recipe())
    refused(place, answer, 4, "one", "impute")


def test_refuses_data_of_one_class_only(place):
    lines = (place.folder / "rows.csv").read_text().splitlines()
    place.write("rows.csv", "\n".join([lines[0], *(line[:-1] + "1" for line in lines[1:])]) + "\n")
    answer = place.titrant("run", place.recipe())
    refused(place, answer, 4, "one class only")


def test_refuses_a_split_without_evaluation_rows(place):
    recipe = place.recipe(("  label: sick\n", "  label: sick\n  split: {train: 0.8, tuning: 0.1, calibration: 0.1}\n"))
    refused(place, place.titrant("run", recipe), 2, "evaluation")


def test_refuses_an_opset_that_cannot_be_exported(place):
    recipe = place.recipe(("{format: onnx}", "{format: onnx, opset: 99}"))
    answer = place.titrant("run", recipe)
    refused(place, answer, 3, "99", "opset", "recipe.yaml")


def test_refuses_an_engine_that_is_not_there(place):
    recipe = place.recipe(("quantization:", "target: {engine: tensorrt}\nquantization:"))
    answer = place.titrant("run", recipe)
    refused(place, answer, 2, "tensorrt")


def test_says_that_the_users_code_raised_without_a_traceback(place):
    place.write(
        "net.py",
        (place.folder / "net.py").read_text().replace("super().__init__()", "raise OSError('no weights at home')"),
    )
    answer = place.titrant("run", place.recipe())
    refused(place, answer, 4, "raised OSError (net.py:", "net:Net")
    assert "no weights at home" not in answer.all  # it may hold rows


def test_refuses_a_home_that_is_no_folder(place):
    place.home.write_text("a file in its place")
    answer = place.titrant("run", place.recipe())
    assert answer.code == 2, answer.all
    assert "Traceback" not in answer.all
    assert str(place.home) in answer.err
    assert "TITRANT_HOME" in answer.err


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 3 MiB, which only the superuser can."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a small file system needs the superuser")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_says_that_the_disk_is_full_and_goes_on_with_more_room(place, small_disk):
    home = replace(place, home=small_disk / "home")
    recipe = place.recipe()
    (small_disk / "filler").write_bytes(bytes(2_900_000))
    answer = home.titrant("run", recipe)
    assert answer.code in (2, 4), answer.all
    refused(home, answer, answer.code, "disk is full")
    (small_disk / "filler").unlink()
    assert home.titrant("run", recipe).code == 0


def test_says_what_would_run_in_a_home_on_a_read_only_disk_and_runs_nothing(place, small_disk):
    home = replace(place, home=small_disk / "home")
    home.home.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    recipe = place.recipe()
    refused(home, home.titrant("run", recipe), 2, "read-only", "TITRANT_HOME")
    answer = home.titrant("status", recipe)
    assert (answer.code, answer.err) == (0, ""), answer.all
    assert "to run, 0 reused" in answer.out
    assert list(home.home.iterdir()) == []


def test_lets_two_runs_share_a_home(place):
    recipe = place.recipe()
    command = [sys.executable, "-m", "titrant", "run", str(recipe)]
    environment = {**os.environ, "TITRANT_HOME": str(place.home), "CI": "true"}
    files = [place.folder.with_name(f"printed-{number}") for number in range(2)]
    both = []
    for file in files:
        with file.open("wb") as end:
            both.append(place.warm.start(command, cwd=place.folder, env=environment, stdout=end, stderr=end))
    codes = [process.wait(600) for process in both]
    printed = [file.read_text("utf-8") for file in files]
    assert codes == [0, 0], printed
    assert not any("Traceback" in text for text in printed)
    assert "nothing executed" in place.titrant("run", recipe).out


def test_says_how_the_worker_died(place):
    """Here by one death; test_execute.py tells them all apart."""
    forward = "return self.second(torch.relu(self.first(x)))"
    code = (place.folder / "net.py").read_text()
    # The inspection looks at the model on a few rows at most; training dies.
    dies = "import os\n        if self.training and x.shape[0] > 8: os.kill(os.getpid(), 9)"
    code = code.replace(forward, f"{dies}\n        {forward}")
    place.write("net.py", code)
    answer = place.titrant("run", place.recipe())
    refused(place, answer, 4, "fit", "SIGKILL")
