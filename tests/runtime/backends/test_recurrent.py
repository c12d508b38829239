"""Recurrent state: zero at the start of each case, fed back within it, in every engine and file, and never across."""

from functools import cache

import numpy as np
import onnx  # noqa: TID253 - the tests write files
import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from hypothesis import given
from hypothesis import strategies as st
from torch import nn  # noqa: TID253

from titrant.runtime.backends import kinds
from titrant.runtime.backends.onnxruntime.graph import note_recurrence
from titrant.runtime.backends.recurrent import first_step
from titrant.runtime.backends.session import open_session
from titrant.runtime.operators.model.load import ModelLoadParams, load_torch
from titrant.runtime.values import OnnxModel, Recurrence, Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.recurrent import Steps, common_count, steps_of

CHUNK, WIDTH = 4, 3
AUDIO, RATE = ("audio", ("batch", CHUNK), "float32"), ("rate", (), "int64")


class Streaming(nn.Module):
    """One step: a chunk, a rate, and the state of (layers, batch, width)."""

    def __init__(self):
        super().__init__()
        self.front = nn.Linear(CHUNK, WIDTH)
        self.gru = nn.GRU(WIDTH, WIDTH, num_layers=2)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, audio, rate, h):
        front = torch.tanh(self.front(audio)) * (rate.to(audio.dtype) / 16000)
        seen, hn = self.gru(front.unsqueeze(0), h)
        return self.head(seen.squeeze(0)), hn


def torch_model(batch="batch", answer="last"):
    torch.manual_seed(0)
    audio = ("audio", (batch, CHUNK), "float32")
    return TorchModel(
        module=Streaming().eval(),
        factory="",
        args={},
        source_digest="",
        inputs=(audio, RATE, ("h", (2, batch, WIDTH), "float32")),
        outputs=("output_0", "output_1"),
        recurrence=Recurrence({"output_1": "h"}, answer, (audio, RATE)),
    )


def onnx_model(folder, batch="batch", answer="last"):
    torch.manual_seed(0)
    free = {"audio": {0: "batch"}, "h": {1: "batch"}, "score": {0: "batch"}, "hn": {1: "batch"}}
    torch.onnx.export(
        Streaming().eval(),
        (torch.zeros(1, CHUNK), torch.tensor(16000), torch.zeros(2, 1, WIDTH)),
        str(folder / "raw.onnx"),
        dynamo=False,
        input_names=["audio", "rate", "h"],
        output_names=["score", "hn"],
        dynamic_axes=free if batch == "batch" else {},
    )
    graph = onnx.load(folder / "raw.onnx")
    note_recurrence(graph, Recurrence({"hn": "h"}, answer, (("audio", (batch, CHUNK), "float32"), RATE)))
    onnx.save(graph, folder / "model.onnx")
    return OnnxModel(folder / "model.onnx")


def ir_model(folder, **given):
    from titrant.runtime.backends.openvino.convert import converted, write_ir

    return write_ir(*converted(onnx_model(folder, **given).path), folder / "ir")


MODELS = {
    "torch": lambda folder, **given: ("torch", torch_model(**given)),
    "onnx": lambda folder, **given: ("onnxruntime", onnx_model(folder, **given)),
    "ir": lambda folder, **given: ("openvino", ir_model(folder, **given)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return an engine and a model of a kind for it, which is made once."""

    @cache
    def make(kind, batch="batch", answer="last"):
        return MODELS[kind](tmp_path_factory.mktemp(kind), batch=batch, answer=answer)

    return make


def by_hand(audio, answer="last"):
    """Answer (cases, steps, chunk) one case and one step at a time."""
    model = torch_model().module
    answers = []
    with torch.no_grad():
        for case in torch.from_numpy(audio):
            h, steps = torch.zeros(2, 1, WIDTH), []
            for chunk in case:
                step, h = model(chunk[None], torch.tensor(16000), h)
                steps.append(step[0])
            answers.append(torch.stack(steps))
    whole = torch.stack(answers).numpy()
    return whole[:, -1] if answer == "last" else whole


def cases(count=5, steps=6):
    audio = np.random.default_rng(0).normal(size=(count, steps, CHUNK)).astype(np.float32)
    return {"audio": audio, "rate": np.full(count, 16000)}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("answer", ["last", "steps"])
@pytest.mark.parametrize("batch", ["batch", 1])
@pytest.mark.parametrize("flat", [False, True])
def test_answers_a_case_as_one_does_by_hand(made, kind, answer, batch, flat):
    inputs = cases()
    expected = by_hand(inputs["audio"], answer)
    if flat:
        inputs["audio"] = inputs["audio"].reshape(5, -1)
    engine, model = made(kind, batch=batch, answer=answer)
    with open_session(engine, model, threads=1) as session:
        assert session.input_names == ("audio", "rate")
        assert len(session.output_names) == 1
        answers = session.run(inputs)
    assert np.allclose(next(iter(answers.values())), expected, atol=1e-6)


@pytest.mark.parametrize("kind", MODELS)
def test_carries_no_state_to_the_next_case_or_call(made, kind):
    inputs = cases()
    engine, model = made(kind)
    with open_session(engine, model, threads=1) as session:
        once, again = session.run(inputs), session.run(inputs)
        alone = session.run({name: array[2:3] for name, array in inputs.items()})
    for name, answers in once.items():
        assert np.array_equal(answers, again[name])
        assert np.allclose(answers[2:3], alone[name], atol=1e-6)


def test_answers_rows_of_other_rates_apart(made):
    inputs = cases()
    inputs["rate"] = np.array([16000, 16000, 8000, 8000, 16000])
    engine, model = made("onnx")
    with open_session(engine, model, threads=1) as session:
        answers = session.run(inputs)["score"]
    expected = by_hand(inputs["audio"])
    assert np.allclose(answers[[0, 1, 4]], expected[[0, 1, 4]], atol=1e-6)
    assert not np.allclose(answers[2:4], expected[2:4], atol=1e-3)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("batch", ["batch", 1])
def test_times_one_step(made, kind, batch):
    engine, model = made(kind, batch=batch, answer="steps")
    with open_session(engine, model, threads=1) as session:
        step = first_step(session, cases())
        assert step["audio"].shape == (5, CHUNK)
        assert next(iter(session.run(step).values())).shape == (5, 1, 2)


@pytest.mark.parametrize(
    "steps",
    [
        ("export.torchscript",),
        ("quantize.torch_dynamic",),
        ("export.onnx",),
        ("export.onnx", "quantize.ort_dynamic"),
        ("export.onnx", "quantize.ort_static"),
        ("model.cast", "export.torchscript"),
    ],
    ids=" ".join,
)
def test_keeps_the_state_in_every_file_that_is_made(apply, steps):
    inputs = cases(count=20)
    numbers = np.arange(20)
    rows = Rows("calibration", inputs, None, numbers, numbers.astype(np.uint64))
    model = torch_model(answer="steps")
    for name in steps:
        beside = {"example": rows} if name.startswith(("export", "quantize.torch")) else {}
        beside |= {"calibration": rows} if name == "quantize.ort_static" else {}
        model = apply(name, {"model": model, **beside}).outputs["model"]
    engine = "onnxruntime" if isinstance(model, OnnxModel) else "torch"
    with open_session(engine, model, threads=1) as session:
        answers = next(iter(session.run(inputs).values()))
    expected = by_hand(inputs["audio"], "steps")
    assert answers.shape == expected.shape
    assert np.abs(answers - expected).max() < 0.1


def test_keeps_the_state_of_a_module_that_is_saved(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "plain_net.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x, h):\n        return x + h, x + h\n"
    )
    specs = (("x", ("batch", 2), "float32"),)
    recurrence = Recurrence({"output_1": "h"}, "last", specs)
    params = ModelLoadParams.model_validate(
        {
            "factory": "plain_net:Net",
            "weights": "included",
            "inputs": [{"name": name, "shape": ["batch", 2], "dtype": "float32"} for name in "xh"],
            "outputs": [{"name": "output_0"}, {"name": "output_1"}],
            "state": {"feeds": {"output_1": "h"}, "answer": "last", "inputs": [{"name": "x", "shape": ["batch", 2]}]},
        }
    )
    model, _ = load_torch(params, seed=0)
    folder = tmp_path / "saved"
    folder.mkdir()
    kinds.save("torch", model, folder)
    again = kinds.load("torch", folder)
    assert again.recurrence == model.recurrence == recurrence
    with open_session("torch", again, threads=1) as session:
        summed = session.run({"x": np.ones((3, 4, 2), np.float32)})
    assert np.array_equal(summed["output_0"], np.full((3, 2), 4.0))


def test_refuses_a_case_that_is_not_whole_steps(made):
    inputs = cases()
    engine, model = made("onnx")
    with open_session(engine, model, threads=1) as session, pytest.raises(StepError) as caught:
        session.run({**inputs, "audio": inputs["audio"].reshape(5, -1)[:, :-1]})
    assert caught.value.diagnostics[0].code == "X201"


SIZES = st.lists(st.integers(1, 5), max_size=3)


@given(sizes=SIZES, steps=st.integers(1, 7), free=st.sets(st.integers(0, 2)), flat=st.booleans())
def test_finds_as_many_steps_as_a_case_was_made_of(sizes, steps, free, flat):
    step = ("batch", *(("free" if place in free else size) for place, size in enumerate(sizes)))
    if not flat or not sizes:
        assert steps_of(step, ("batch", steps, *sizes)) == Steps(steps, ("batch", *sizes), axis=True)
        return
    given = ("batch", steps * sizes[0], *sizes[1:])
    expected = 0 if steps == 1 or 0 in free else steps
    found = steps_of(step, given)
    assert found.count == expected
    assert found.shape == ("batch", *(given[1:] if expected == 0 else sizes))


@given(sizes=SIZES, other=SIZES)
def test_says_nothing_of_shapes_that_do_not_fit(sizes, other):
    found = steps_of(("batch", *sizes), ("batch", *other))
    if found is None:
        return
    whole = int(np.prod(other, dtype=int))
    assert whole == max(found.count, 1) * int(np.prod(sizes, dtype=int))


def test_finds_one_count_for_all_inputs():
    axis, same = Steps(3, ("batch", 2), axis=True), Steps(0, ("batch", 5))
    assert common_count([axis, same]) == 3
    assert common_count([same]) == 1
    assert common_count([axis, Steps(2, ("batch", 2))]) is None
