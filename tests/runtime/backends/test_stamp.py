"""Facts about a release go into a file of any kind, change no byte that answers, and come back."""

import contextlib
import json
import random

import numpy as np
import onnx  # noqa: TID253 - the formats' own libraries
import onnxruntime  # noqa: TID253 - the formats' own libraries
import pytest
import torch  # noqa: TID253 - the formats' own libraries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from titrant.runtime.backends.stamp import KEY, digest, size, write
from titrant.runtime.store.run_folder import stamp_of
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.files import digest_file

ROWS = torch.linspace(-2, 2, 20).reshape(5, 4)
STAMPS = {
    ".onnx": stamp_of("onnx"),
    ".pt": stamp_of("torchscript"),
    ".safetensors": stamp_of("torch"),
}
FACTS = {"verdict": "PASS", "passed": ["retention"], "batch": 64}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return one tiny model as a file of every kind, by suffix."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    made = {suffix: folder / f"net{suffix}" for suffix in STAMPS}
    torch.onnx.export(net, (ROWS,), str(made[".onnx"]), dynamo=False, input_names=["x"], dynamic_axes={"x": [0]})
    script = torch.jit.freeze(torch.jit.trace(net, ROWS))
    torch.jit.save(script, str(made[".pt"]), _extra_files={"titrant.json": "{}"})
    save_file(net.state_dict(), str(made[".safetensors"]))
    return made


def answers(file):
    """Return what a file answers, as bytes."""
    if file.suffix == ".onnx":
        return onnxruntime.InferenceSession(str(file)).run(None, {"x": ROWS.numpy()})[0].tobytes()
    if file.suffix == ".pt":
        return torch.jit.load(str(file))(ROWS).numpy(force=True).tobytes()
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(str(file)).items()}


def copied(file, folder):
    copy = folder / f"{random.Random(file.name).random()}{file.suffix}"
    copy.write_bytes(file.read_bytes())
    return copy


@pytest.mark.parametrize("suffix", STAMPS)
def test_answers_bit_for_bit_as_before_and_says_what_it_was_given(suffix, files, tmp_path):
    stamp, file = STAMPS[suffix], copied(files[suffix], tmp_path)
    assert stamp.read(file) == ""
    write(stamp, file, FACTS)
    assert stamp.read(file) == canonical_json(FACTS)
    assert answers(file) == answers(files[suffix])
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", STAMPS)
def test_digests_and_counts_what_it_would_write_without_writing(suffix, files, tmp_path):
    stamp, file = STAMPS[suffix], copied(files[suffix], tmp_path)
    told = digest(stamp, file, FACTS)
    larger = size(stamp, file, FACTS)
    assert digest_file(file) == digest_file(files[suffix]) != told
    write(stamp, file, FACTS)
    assert file.stat().st_size == larger > files[suffix].stat().st_size
    assert digest_file(file) == told
    assert digest(stamp, files[suffix], {**FACTS, "batch": 65}) != told


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(
    suffix=st.sampled_from(sorted(STAMPS)),
    every=st.lists(st.dictionaries(st.text(max_size=8), st.text(max_size=300), max_size=4), min_size=1, max_size=3),
)
def test_holds_any_facts_the_latest_where_there_were_others(suffix, every, files, tmp_path):
    stamp, file = STAMPS[suffix], copied(files[suffix], tmp_path)
    for facts in every:
        write(stamp, file, facts)
    assert json.loads(stamp.read(file)) == every[-1]
    assert answers(file) == answers(files[suffix])


def test_is_read_by_the_libraries_of_the_formats_themselves(files, tmp_path):
    text = canonical_json(FACTS)
    for suffix, stamp in STAMPS.items():
        write(stamp, copied(files[suffix], tmp_path), FACTS)
    graph, script, tensors = (next(tmp_path.glob(f"*{suffix}")) for suffix in STAMPS)
    [entry] = onnx.load(str(graph)).metadata_props
    assert (entry.key, entry.value) == (KEY, text)
    assert onnxruntime.InferenceSession(str(graph)).get_modelmeta().custom_metadata_map == {KEY: text}
    extra = {KEY: "", "titrant.json": ""}
    torch.jit.load(str(script), _extra_files=extra)
    assert extra == {KEY: text.encode(), "titrant.json": b"{}"}
    with safe_open(str(tensors), "pt") as opened:
        assert opened.metadata() == {KEY: text}


@pytest.mark.parametrize("suffix", STAMPS)
@pytest.mark.parametrize("data", [b"", b"\xff" * 9, b"PK\3\4", np.arange(99).tobytes(), b"\x0a\xff\xff\xff\xff\x0f"])
def test_reads_no_facts_out_of_what_is_no_such_file(suffix, data, tmp_path):
    file = tmp_path / f"x{suffix}"
    file.write_bytes(data)
    with contextlib.suppress(ValueError):
        assert STAMPS[suffix].read(file) == ""


def test_replaces_what_an_onnx_file_says_of_an_earlier_release(files, tmp_path):
    """What was released may be the original of the next release, and be released again as it is."""
    once, twice = (
        copied(files[".onnx"], tmp_path / name) for name in ("once", "twice") if not (tmp_path / name).mkdir()
    )
    write(STAMPS[".onnx"], once, FACTS)
    write(STAMPS[".onnx"], twice, {"verdict": "FAIL", "release": "another" * 40})
    write(STAMPS[".onnx"], twice, FACTS)
    assert twice.read_bytes() == once.read_bytes()
    onnx.checker.check_model(str(twice))
    assert answers(twice) == answers(files[".onnx"])
