"""Write the wards' table and the net that the page on several sites speaks of, into the current folder."""

from pathlib import Path

import numpy as np

drawn = np.random.default_rng(0)
rows = ["age,lab,site,ill"]
for age, lab in zip(drawn.integers(20, 90, 1200), drawn.normal(0, 1, 1200), strict=True):
    ill = int(drawn.random() < 1 / (1 + np.exp(-(lab + (age - 60) / 20))))
    rows.append(f"{age},{lab:.3f},{drawn.choice(['north', 'south', 'coast'], p=[0.5, 0.45, 0.05])},{ill}")
Path("wards.csv").write_text("\n".join(rows) + "\n")
Path("ward_net.py").write_text(
    "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self, features: int): super().__init__(features, 2)\n"
)
