"""The pretrained ResNet-20 on every tenth of the CIFAR-10 JPEG test images; tests/real runs it on others as well."""

import os
import tarfile
from pathlib import Path

import pytest
import torch  # noqa: TID253 - the test runs the model

from titrant.runtime.operators.data.load import DataLoadParams, load
from titrant.runtime.operators.data.split import DataSplitParams, split
from titrant.runtime.operators.data.transform import DataTransformParams, transform
from titrant.runtime.operators.model.load import ModelLoadParams, load_torch

REAL = os.environ.get("TITRANT_DATA", "")
pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason="TITRANT_DATA does not name the real data"),
]


def test_reaches_its_reference_accuracy(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "models")
    with tarfile.open(f"{REAL}/cifar10_jpeg/cifar10_test_even_jpeg.tar") as archive:
        images = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
        archive.extractall(tmp_path, images[::10], filter="data")
    folder = {"path": str(tmp_path / "test"), "digest": "0"}
    tables = load(DataLoadParams(sources={"source": {"image_folder": folder}}, label="label"), seed=42)
    parts = split(DataSplitParams(roles={"evaluation": {"source": 1.0}}, label="label"), tables, seed=42)
    mean_std = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    steps = [{"name": "normalize", **mean_std}]
    params = DataTransformParams(task="multiclass_classification", label="label", transforms=steps)
    evaluation = transform(params, tables, parts)[0]["evaluation"]
    weights = {"path": f"{REAL}/resnet20_cifar10/resnet20-12fca82f.th", "digest": "0"}
    model, loaded = load_torch(ModelLoadParams(factory="resnet20:ResNet20", weights=weights), seed=42)
    with torch.no_grad():
        answers = torch.cat([model.module(x) for x in torch.from_numpy(evaluation.inputs["image"]).split(100)])
    accuracy = (answers.argmax(1).numpy() == evaluation.labels).mean()
    assert accuracy == pytest.approx(0.8, abs=0.003)  # as without titrant; of all 5,000 it is 0.81
    assert (loaded.key, loaded.prefix) == ("state_dict", "module.")
