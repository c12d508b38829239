"""What the Python of the page on recurrent state takes for granted: a released model, recordings, one in chunks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch  # noqa: TID253 - a page's model
from torch import nn  # noqa: TID253

os.environ["TITRANT_HOME"] = "voice-home"


class Voice(nn.Module):
    """Add what the chunks hold, so that a case is told by the sum of its samples."""

    def forward(self, audio: torch.Tensor, rate: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores (batch, 2) and state (1, batch, 24)."""
        state = h + audio.mean(1)[None, :, None] * (rate / 16000)
        return torch.stack([-state[0, :, 0], state[0, :, 0]], 1), state


names = {"input_names": ["audio", "rate", "h"], "output_names": ["score", "hn"]}
free = {"audio": {0: "batch"}, "h": {1: "batch"}, "score": {0: "batch"}, "hn": {1: "batch"}}
given = (torch.zeros(2, 64), torch.tensor(16000), torch.zeros(1, 2, 24))
torch.onnx.export(Voice(), given, "voice.onnx", dynamic_axes=free, dynamo=False, **names)
drawn = np.random.default_rng(0)
label = drawn.integers(0, 2, 200)
recordings = drawn.normal(label[:, None] - 0.5, 1, (200, 640)).astype(np.float32)
np.savez("recordings.npz", audio=recordings, label=label)
Path("voice.yaml").write_text(
    "titrant: 1\nname: voice\nlevel: minimal\ntask: multiclass_classification\nmodel:\n  onnx: voice.onnx\n"
    "  inputs:\n    - {name: audio, shape: [batch, 64]}\n"
    "    - {name: rate, shape: [], dtype: int64, value: 16000}\n  state: {hn: h}\n"
    "data:\n  source: {npz: recordings.npz}\n  label: label\n"
    "  split: {tuning: 0.2, calibration: 0.2, evaluation: 0.6}\n"
    "profile: {batches: [1], iterations: 20}\nvalidation: {retention: 0.8}\n"
)
subprocess.run([sys.executable, "-m", "titrant", "run", "-q", "voice.yaml"], check=True)
(run,) = Path("voice-home", "runs").glob("*-voice-*")
file = next(run.glob("outputs/**/*.onnx"))
chunks = recordings[:1].reshape(10, 1, 64)
