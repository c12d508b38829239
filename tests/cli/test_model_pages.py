"""The pages on checkpoints and recurrent state: what they show happens, with the recipes as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Place

ROOT = Path(__file__).parents[2]
VOICE = """
import torch
from torch import nn


class Voice(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Linear(64, 24)
        self.gru = nn.GRU(24, 24)
        self.head = nn.Linear(24, 2)

    def forward(self, audio, rate, h):
        front = torch.relu(self.front(audio)) * (rate.to(audio.dtype) / 16000)
        seen, hn = self.gru(front.unsqueeze(0), h)
        return self.head(seen.squeeze(0)), hn
"""
MAKE = """
import numpy as np
import torch
import voice

torch.manual_seed(0)
model = voice.Voice().eval()
audio = np.random.default_rng(0).normal(size=(200, 640)).astype("f4") * np.linspace(0.2, 2, 200, dtype="f4")[:, None]


def last():
    h, chunks = torch.zeros(1, len(audio), 24), torch.tensor(audio).split(64, dim=1)
    with torch.no_grad():
        for chunk in chunks:
            score, h = model(chunk, torch.tensor(16000), h)
    return score.numpy()


score = last()
model.head.bias.data[0] += float(np.median(score[:, 1] - score[:, 0]))
free = {"audio": {0: "batch"}, "h": {1: "batch"}, "score": {0: "batch"}, "hn": {1: "batch"}}
inputs = (torch.zeros(2, 64), torch.tensor(16000), torch.zeros(1, 2, 24))
torch.onnx.export(model, inputs, "voice.onnx", dynamo=False, input_names=["audio", "rate", "h"],
                  output_names=["score", "hn"], dynamic_axes=free)
torch.save({"model": model.state_dict(), "model_ema": model.state_dict()}, "two.pt")
torch.save({"state_dict": {f"net.{k}": t for k, t in model.state_dict().items()}, "epoch": 3}, "voice.pt")
np.savez("recordings.npz", audio=audio, label=last().argmax(1))
"""


def blocks(page, language):
    text = (ROOT / "docs" / "how-to" / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.fixture(scope="module")
def voice(tmp_path_factory, warm):
    folder = tmp_path_factory.mktemp("voice")
    place = Place(folder, folder / "home", warm)
    place.write("voice.py", VOICE)
    place.write("make.py", MAKE)
    assert warm("make.py", cwd=folder, env={}).returncode == 0
    recipe, factory = blocks("stateful-model.md", "yaml")
    place.write("voice.yaml", recipe)
    start, rest = recipe.index("model:"), recipe.index("data:")
    place.write("factory.yaml", (recipe[:start] + factory + recipe[rest:]).replace("name: voice", "name: factory"))
    return place


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "changes"),
    # What is exported of the factory's module is quantized as the file is.
    [("voice.yaml", ()), ("factory.yaml", ("--set", "quantization.method=none"))],
    ids=["file", "factory"],
)
def test_runs_judges_and_times_a_stateful_model(voice, recipe, changes):
    plan = " ".join(voice.here("plan", recipe).all.split())
    assert "steps: 10 a case, of audio (batch, 64)" in plan
    assert "zeros (1, batch, 24) at the start of each case" in plan
    assert "answer of a case: that of its last step" in plan
    assert "timed: one step" in plan
    answer = voice.titrant("run", recipe, *changes)
    assert answer.code == 0, answer.all
    assert "accuracy 1.0000 → 1.0000" in answer.all


@pytest.mark.slow
def test_asks_which_weights_are_meant_and_takes_the_line_that_it_gives(voice):
    text = (voice.folder / "factory.yaml").read_text("utf-8")
    voice.write("asked.yaml", text.replace("weights: voice.pt", "weights: two.pt"))
    asked = voice.here("plan", "asked.yaml")
    assert asked.code == 2
    said = " ".join(asked.all.split())
    assert "error[X163]" in said
    assert "asked.yaml:7:" in said
    assert "`weights: {path: …, key: model}`, or with `key: model_ema`" in said
    voice.write("told.yaml", text.replace("weights: voice.pt", "weights: {path: two.pt, key: model_ema}"))
    plan = voice.here("plan", "told.yaml")
    assert plan.code == 0, plan.all
    assert "weights key: key 'model_ema' → those under `model_ema` of two.pt" in " ".join(plan.all.split())


@pytest.mark.slow
def test_loads_and_streams_what_was_released(voice, monkeypatch):
    import onnxruntime

    import titrant

    before = set((voice.home / "runs").glob("*"))
    answer = voice.titrant("run", "voice.yaml", "--set", "quantization.method=none")
    assert answer.code == 0, answer.all
    [run] = set((voice.home / "runs").iterdir()) - before
    recordings = np.load(voice.folder / "recordings.npz")["audio"][:20]
    with titrant.load(run) as model:
        judged = model({"audio": recordings})
    file = str(next((run / "outputs").glob("*.onnx")))
    with np.errstate(all="ignore"):
        streamed = []
        for case in recordings:
            names = {"file": file, "chunks": case.reshape(10, 1, 64), "np": np, "onnxruntime": onnxruntime}
            exec(blocks("stateful-model.md", "python")[1], names)
            streamed.append(names["score"][0])
    assert np.array_equal(np.argmax(streamed, 1), judged.decisions)
