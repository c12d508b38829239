"""A checkpoint is one safetensors file, written whole or not at all, and nobody takes a damaged one for a whole."""

import json
import resource

import pytest
import torch  # noqa: TID253 - its very subject
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from titrant import checkpoints
from titrant.runtime.training.checkpoints import checkpoint_file
from titrant.schema.diagnostics.diagnostics import StepError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a checkpoint, its bytes, and the weight that it holds."""
    folder = tmp_path_factory.mktemp("whole")
    net = torch.nn.Linear(3, 2)
    file = checkpoints.save(folder, {"model": net}, step=7, metrics={"loss": 0.5}, custom={"rows": (3, None)})
    return folder, file.read_bytes(), net.weight.detach().clone()


def test_is_read_by_the_library_of_the_format(whole):
    folder, _, weight = whole
    tensors = load_file(folder / "checkpoint-0000000007.safetensors")
    assert torch.equal(tensors["model.weight"], weight)
    assert json.loads(bytes(tensors["json"].numpy()))


def test_returns_what_it_was_given(whole):
    restored = checkpoints.load(whole[0], {})
    assert (restored.epoch, restored.step) == (None, 7)
    assert restored.metrics == {"loss": 0.5}
    assert restored.custom == {"rows": (3, None)}
    assert {"time", "titrant_version", "torch_version"} <= set(restored.made)


@settings(max_examples=40)
@given(st.data())
def test_takes_no_damaged_file_for_a_whole_one(whole, tmp_path_factory, data):
    _, content, weight = whole
    folder = tmp_path_factory.mktemp("damaged")
    file = folder / "checkpoint-0000000007.safetensors"
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    if data.draw(st.booleans(), "cut"):
        damaged = damaged[:place]
    else:
        damaged[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(damaged)
    net = torch.nn.Linear(3, 2)
    before = net.weight.detach().clone()
    try:
        checkpoints.load(file, {"model": net})
    except StepError as error:
        assert error.diagnostics[0].code in ("X530", "X531", "X532")  # noqa: PT017
        assert torch.equal(net.weight, before)
    else:  # the change was in a part that says only when and by what it was made, or in a metric
        assert torch.equal(net.weight, weight)


@pytest.mark.parametrize("back", [1, 5, 9, 13, 500, 5000])
def test_refuses_content_that_is_not_what_was_written(whole, tmp_path, back):
    content = bytearray(whole[1])
    content[-back] ^= 1
    file = tmp_path / "checkpoint-0000000007.safetensors"
    file.write_bytes(content)
    with pytest.raises(StepError, match=r"X532.*not what was written"):
        checkpoints.load(file, {})


def test_refuses_a_later_format(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_file, "FORMAT", 2)
    checkpoints.save(tmp_path, {"model": torch.nn.Linear(1, 1)})
    monkeypatch.undo()
    with pytest.raises(StepError, match=r"X531.*format 2.*format 1"):
        checkpoints.load(tmp_path / "checkpoint-0000000000.safetensors", {})


def test_says_that_there_is_none(tmp_path):
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(StepError, match="X532: there is no checkpoint"):
            checkpoints.load(path, {})


def test_leaves_earlier_ones_when_the_disk_is_full(tmp_path):
    first = checkpoints.save(tmp_path, {"model": torch.nn.Linear(2, 2)}, step=1)
    content = first.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        for step in (1, 2):
            with pytest.raises(StepError, match=r"X533.*disk is full.*from before are as they were"):
                checkpoints.save(tmp_path, {"model": torch.nn.Linear(100, 100)}, step=step)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == [first.name]
    assert first.read_bytes() == content


def test_names_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StepError, match="X533"):
        checkpoints.save(tmp_path / "file", {"model": torch.nn.Linear(1, 1)}, step=1)


@pytest.mark.parametrize("metrics", [{"loss": "low"}, {"loss": None}, {"loss": torch.zeros(2)}])
def test_refuses_a_metric_that_is_no_number(tmp_path, metrics):
    with pytest.raises(ValueError, match="loss"):
        checkpoints.save(tmp_path, {"model": torch.nn.Linear(1, 1)}, metrics=metrics)
