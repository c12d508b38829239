"""What the Python of the page on medical images takes for granted: a released model of X-rays, and one of them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

os.environ["TITRANT_HOME"] = "xrays-home"
drawn = np.random.default_rng(0)
for name, white in (("healthy", 20000), ("ill", 60000)):
    Path("xrays", name).mkdir(parents=True)
    for place in range(60):
        pixels = drawn.integers(0, white, (8, 8)).astype(np.uint16)
        Image.fromarray(pixels).save(Path("xrays", name, f"{place}.png"))
Image.fromarray(pixels).save("scan.png")
Path("xrays_net.py").write_text(
    "import torch\ndef net() -> torch.nn.Module:\n"
    "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))\n"
)
Path("xrays.yaml").write_text(
    "titrant: 1\nname: xrays\nlevel: minimal\ntask: binary_classification\nmodel: {factory: 'xrays_net:net'}\n"
    "data:\n  source: {image_folder: {path: xrays, color: gray}}\n  positive: ill\n"
    "train: {epochs: 20, learning_rate: 0.1}\nvalidation: {retention: 0.8, safety: none}\nexport: [{format: onnx}]\n"
    "profile: {batches: [1], iterations: 20}\n"
)
subprocess.run([sys.executable, "-m", "titrant", "run", "-q", "xrays.yaml"], check=True)
