"""Headers of weights files: read without values, and never believed when they are wrong."""

import contextlib
import json

import pytest
import torch  # noqa: TID253 - the tests save weights
from hypothesis import given
from hypothesis import strategies as some
from safetensors.torch import save_file

from titrant.runtime.backends.torch.checkpoint import read_saved
from titrant.runtime.backends.torch.safetensors_header import meta_state, read_header
from titrant.schema.diagnostics.diagnostics import StepError


def write(file, entries, size):
    text = json.dumps(entries).encode()
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        opened.truncate(8 + len(text) + size)
    return file


def test_lists_what_the_library_wrote(tmp_path):
    half, none = torch.zeros(3, 4, dtype=torch.bfloat16), torch.zeros(0, 2, dtype=torch.int64)
    tensors = {"a.weight": half, "b": torch.tensor(1.0), "c": none}
    save_file(tensors, tmp_path / "w.safetensors", metadata={"by": "me"})
    found = {one.name: (one.dtype, one.shape, one.size_bytes) for one in read_header(tmp_path / "w.safetensors")}
    assert found == {
        "a.weight": ("bfloat16", (3, 4), 24), "b": ("float32", (), 4), "c": ("int64", (0, 2), 0),
    }  # fmt: skip
    state = meta_state(tmp_path / "w.safetensors")
    assert {name: (one.dtype, one.shape, one.device.type) for name, one in state.items()} == {
        name: (one.dtype, one.shape, "meta") for name, one in tensors.items()
    }


def test_reads_no_value_of_a_file_larger_than_memory(tmp_path):
    size = 1 << 40
    file = write(
        tmp_path / "w.safetensors", {"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}, size
    )
    state = read_saved(str(file), values=False).tensors[()]
    assert state["w"].shape == (size // 4,)


@pytest.mark.parametrize(
    ("entries", "size", "problem"),
    [
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 7, "describes"),
        ({"w": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}, 8, "not known"),
        ({"w": 3}, 8, "not known"),
        ([], 0, "is not a mapping"),
        ({"w": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 4]}}, 4, "gives w 4 bytes from 0, not 4611686"),
        ({"w": {"dtype": "BOOL", "shape": [4], "data_offsets": [4, 8]}}, 8, "gives w 4 bytes from 4, not 4 from 0"),
        (
            {name: {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]} for name in "ab"},
            4,
            "gives b 4 bytes from 0, not 4 from 4",
        ),
    ],
)
def test_refuses_a_header_that_is_wrong(tmp_path, entries, size, problem):
    file = write(tmp_path / "w.safetensors", entries, size)
    with pytest.raises(ValueError, match=problem):
        read_header(file)
    with pytest.raises(StepError) as caught:
        read_saved(str(file), values=False)
    assert caught.value.diagnostics[0].code == "X152"


@given(some.binary(max_size=200))
def test_never_fails_otherwise_on_any_bytes(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "w.safetensors"
    file.write_bytes(content)
    with contextlib.suppress(ValueError):
        read_header(file)


def test_reads_the_names_of_a_checkpoint_without_its_values(tmp_path):
    torch.save({"state_dict": {"module.w": torch.zeros(3, 2)}}, tmp_path / "w.pt")
    state = read_saved(str(tmp_path / "w.pt"), values=False).tensors[("state_dict",)]
    assert {name: (tuple(one.shape), one.device.type) for name, one in state.items()} == {"module.w": ((3, 2), "meta")}
