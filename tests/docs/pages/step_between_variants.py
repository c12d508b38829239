"""What the Python of the page on variants takes for granted: a run that released a ladder of them."""

import os
import subprocess
import sys
from pathlib import Path

os.environ["TITRANT_HOME"] = "ladder-home"
Path("ladder.yaml").write_text(
    "titrant: 1\nname: ladder\nlevel: balanced\ntask: binary_classification\n"
    "model: {factory: 'titrant.recipes.models:TabularNet', args: {features: 30, classes: 2}}\n"
    "data: {source: {sklearn: breast_cancer}, label: target, positive: malignant, transform: [standardize]}\n"
    "train: {epochs: 10}\ntarget: {engine: onnxruntime}\nquantization: {adapt: [none, ort.static]}\n"
    "validation: {retention: 0.8}\nprofile: {batches: [1], iterations: 20}\n"
)
subprocess.run([sys.executable, "-m", "titrant", "run", "-q", "ladder.yaml"], check=True)
