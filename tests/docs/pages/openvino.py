"""What the Python of the page on OpenVINO takes for granted: a model that was released in OpenVINO's format."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ["TITRANT_HOME"] = "openvino-home"
Path("in-openvino.yaml").write_text(
    "titrant: 1\nname: in-openvino\nlevel: minimal\ntask: binary_classification\n"
    "model: {factory: 'titrant.recipes.models:TabularNet', args: {features: 30, classes: 2}}\n"
    "data: {source: {sklearn: breast_cancer}, label: target, positive: malignant, transform: [standardize]}\n"
    "train: {epochs: 10}\ntarget: {engine: openvino}\nquantization: {method: none}\n"
    "validation: {retention: 0.9}\nexport: [{format: openvino}]\n"
    "profile: {batches: [1], iterations: 20}\n"
)
subprocess.run([sys.executable, "-m", "titrant", "run", "-q", "in-openvino.yaml"], check=True)
shutil.copytree(next(Path("openvino-home", "runs").glob("*/outputs")), "outputs")
