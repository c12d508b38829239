"""Of a folder the latest and the best are found, whatever else lies in it and whoever else works in it."""

import math
import os
import threading
from pathlib import Path

import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from titrant import checkpoints
from titrant.runtime.training.checkpoints import checkpoint_folder
from titrant.schema.diagnostics.diagnostics import StepError

PARTS = {"model": torch.nn.Linear(1, 1)}
VALUES = st.none() | st.floats(allow_nan=True) | st.sampled_from([0.5, 1.0])


def names(paths):
    return [int(path.stem.removeprefix("checkpoint-")) for path in paths]


def filled(folder, values):
    for step, value in enumerate(values):
        checkpoints.save(folder, PARTS, step=step, metrics={} if value is None else {"loss": value})


@settings(max_examples=25)
@given(st.lists(VALUES, max_size=4), st.sampled_from(["min", "max"]), st.integers(0, 3))
def test_keeps_the_best_and_the_latest(tmp_path_factory, values, mode, keep_best):
    folder = tmp_path_factory.mktemp("best")
    filled(folder, values)
    sign = 1 if mode == "min" else -1
    ranked = sorted(
        (sign * value, step) for step, value in enumerate(values) if math.isfinite(value or 0) and value is not None
    )
    best = checkpoints.best(folder, "loss", mode)
    assert (None if best is None else names([best])[0]) == (ranked[0][1] if ranked else None)
    gone = checkpoints.prune(folder, metric="loss", mode=mode, keep_best=keep_best)
    kept = {step for _, step in ranked[:keep_best]} | ({len(values) - 1} if values else set())
    assert names(sorted(folder.iterdir())) == sorted(kept)
    assert sorted(names(gone)) == sorted(set(range(len(values))) - kept)


def test_keeps_the_newest_without_a_metric_and_what_is_needed(tmp_path):
    filled(tmp_path, [1.0] * 6)
    checkpoints.prune(tmp_path, keep_best=2, keep=[tmp_path / "checkpoint-0000000001.safetensors"])
    assert names(sorted(tmp_path.iterdir())) == [1, 4, 5]


def test_orders_its_own_by_step_and_not_by_time(tmp_path):
    filled(tmp_path, [1.0] * 3)
    os.utime(tmp_path / "checkpoint-0000000000.safetensors", (2e9, 2e9))
    (tmp_path / "later.pt").write_bytes(b"")
    assert names([checkpoints.latest(tmp_path)]) == [2]


def test_numbers_what_has_neither_step_nor_epoch(tmp_path):
    files = [checkpoints.save(tmp_path, PARTS) for _ in range(2)]
    assert names([*files, checkpoints.save(tmp_path, PARTS, epoch=5), checkpoints.save(tmp_path, PARTS)]) == [
        0,
        1,
        5,
        6,
    ]


def test_passes_over_half_written_files(tmp_path):
    filled(tmp_path, [0.3, 0.2, 0.1])
    newest = tmp_path / "checkpoint-0000000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    (tmp_path / ".unfinished-checkpoint-0000000003.safetensors-1-ab").write_bytes(b"half")
    assert names([checkpoints.latest(tmp_path)]) == [1]
    assert names([checkpoints.best(tmp_path, "loss")]) == [1]
    checkpoints.prune(tmp_path, keep_best=0)
    assert newest.exists()


@pytest.mark.parametrize("missing", ["folder", "empty"])
def test_answers_that_there_is_none(tmp_path, missing):
    folder = tmp_path / "none" if missing == "folder" else tmp_path
    assert checkpoints.latest(folder) is None
    assert checkpoints.best(folder, "loss") is None
    assert checkpoints.prune(folder) == ()


def test_refuses_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "file.pt").write_bytes(b"")
    with pytest.raises(StepError, match="X535"):
        checkpoints.latest(tmp_path / "file.pt")


@pytest.mark.parametrize("mode", ["minimum", "", None])
def test_refuses_another_mode(tmp_path, mode):
    with pytest.raises(ValueError, match="min or max"):
        checkpoints.best(tmp_path, "loss", mode)


def foreign(folder):
    """Write files of other programs, each later than those before; return the names that are whole checkpoints."""
    net = torch.nn.Linear(2, 2)
    state = net.state_dict()
    torch.save(state, folder / "a.pt")
    torch.save({"epoch": 3, "state_dict": state}, folder / "b.ckpt")
    torch.save(state, folder / "c.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "d.safetensors")
    whole = ["a.pt", "b.ckpt", "c.pth", "d.safetensors"]
    for number, name in enumerate(whole):
        (folder / f"half-{number}{Path(name).suffix}").write_bytes((folder / name).read_bytes()[:-90])
    torch.jit.script(net).save(folder / "program.pt")
    torch.save(net, folder / "module.pt")
    save_file(state, folder / "released.safetensors", metadata={"titrant": '{"factory": "m:Net"}'})
    (folder / "notes.txt").write_text("later")
    (folder / "folder.pt").mkdir()
    (folder / "gone.pt").symlink_to(folder / "nowhere.pt")
    order = [*whole, *sorted(file.name for file in folder.iterdir() if file.is_file() and file.name not in whole)]
    for number, name in enumerate(order):
        os.utime(folder / name, (1e9 + number, 1e9 + number))
    return whole


def test_orders_others_by_time_and_passes_over_what_is_no_checkpoint(tmp_path):
    whole = foreign(tmp_path)
    while whole:
        assert checkpoints.latest(tmp_path) == tmp_path / whole[-1]
        (tmp_path / whole.pop()).unlink()
    assert checkpoints.latest(tmp_path) is None


def test_takes_a_pattern(tmp_path):
    foreign(tmp_path)
    filled(tmp_path, [1.0])
    torch.save({}, tmp_path / "epoch=3.bin")
    assert checkpoints.latest(tmp_path, "*.ckpt") == tmp_path / "b.ckpt"
    assert checkpoints.latest(tmp_path, "epoch=*") == tmp_path / "epoch=3.bin"
    assert names([checkpoints.latest(tmp_path)]) == [0]


def test_restores_a_module_alone_from_another_programs_file(tmp_path):
    net, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    torch.save({"epoch": 3, "state_dict": net.state_dict()}, tmp_path / "last.ckpt")
    restored = checkpoints.load(tmp_path, {"model": other})
    assert torch.equal(other.weight, net.weight)
    assert restored.epoch is None
    with pytest.raises(StepError, match="X530"):
        checkpoints.load(tmp_path, {"model": other, "optimizer": torch.optim.SGD(other.parameters())})


def test_reads_a_file_again_only_when_it_changed(tmp_path, monkeypatch):
    filled(tmp_path, [0.3, 0.2, 0.1])
    read = []
    brief_of = checkpoint_folder.brief_of
    monkeypatch.setattr(checkpoint_folder, "brief_of", lambda file: read.append(file) or brief_of(file))
    assert names([checkpoints.best(tmp_path, "loss")]) == [2]
    assert len(read) == 3
    checkpoints.save(tmp_path, PARTS, step=1, metrics={"loss": 0.01})
    assert names([checkpoints.best(tmp_path, "loss")]) == [1]
    assert len(read) == 4


def test_reads_only_the_newest_for_the_latest(tmp_path, monkeypatch):
    filled(tmp_path, [0.3, 0.2, 0.1])
    read = []
    brief_of = checkpoint_folder.brief_of
    monkeypatch.setattr(checkpoint_folder, "brief_of", lambda file: read.append(file) or brief_of(file))
    checkpoints.latest(tmp_path)
    assert names(map(Path, read)) == [2]


def test_stands_files_that_vanish_while_it_looks(tmp_path, monkeypatch):
    filled(tmp_path, [0.3, 0.2, 0.1])
    listed = checkpoint_folder._listed

    def vanishing(folder):
        files = listed(folder)
        (tmp_path / "checkpoint-0000000002.safetensors").unlink(missing_ok=True)
        return files

    monkeypatch.setattr(checkpoint_folder, "_listed", vanishing)
    assert names([checkpoints.latest(tmp_path)]) == [1]
    assert names([checkpoints.best(tmp_path, "loss")]) == [1]


def test_is_used_from_many_threads(tmp_path):
    failed, barrier = [], threading.Barrier(4)

    def work(number):
        try:
            barrier.wait()
            for step in range(number * 10, number * 10 + 6):
                checkpoints.save(tmp_path, PARTS, step=step, metrics={"loss": 1 / (step + 1)})
                checkpoints.latest(tmp_path)
                checkpoints.best(tmp_path, "loss")
                checkpoints.prune(tmp_path, metric="loss", keep_best=2)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the test's
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert names([checkpoints.latest(tmp_path)]) == [35]
    assert names([checkpoints.best(tmp_path, "loss")]) == [35]


def test_removes_what_a_killed_process_left_unfinished_once_nobody_can_be_writing_it(tmp_path):
    fresh, old = (tmp_path / f".unfinished-checkpoint-{name}" for name in ("fresh", "old"))
    for file in (fresh, old):
        file.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    checkpoints.prune(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [fresh.name]
