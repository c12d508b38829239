"""What the Python of the page on tables takes for granted: a released model of a ward's table."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

os.environ["TITRANT_HOME"] = "ward-home"
drawn = np.random.default_rng(0)
rows = ["age;sex;lab;outcome"]
for age in drawn.integers(20, 90, 300):
    lab = "" if age % 9 == 0 else f"{drawn.uniform(1, 9):.1f}".replace(".", ",")
    rows.append(f"{age};{drawn.choice(['m', 'w'])};{lab};{'NA' if age > 55 else 'well'}")
Path("ward.csv").write_text("\n".join(rows))
Path("ward_net.py").write_text(
    "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self, features: int): super().__init__(features, 2)\n"
)
Path("ward.yaml").write_text(
    "titrant: 1\nname: ward\nlevel: minimal\ntask: binary_classification\n"
    "model: {factory: 'ward_net:Net', args: {features: auto}}\ndata:\n  source: {csv: ward.csv}\n  label: outcome\n"
    "  transform: [{impute: {strategy: median, indicator: true}}, one_hot, standardize]\n"
    "train: {epochs: 20, learning_rate: 0.1}\nvalidation: {retention: 0.8, safety: none}\nexport: [{format: onnx}]\n"
    "profile: {batches: [1], iterations: 20}\n"
)
subprocess.run([sys.executable, "-m", "titrant", "run", "-q", "ward.yaml"], check=True)
