"""The pretrained ResNet-20, narrowed without training after: what is gone, and what it costs on real images."""

import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253 - the test runs the model
from PIL import Image

import titrant

REAL = os.environ.get("TITRANT_DATA", "")
pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason="TITRANT_DATA does not name the real data"),
]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def images():
    """Every tenth of the 5,000 test images, and their labels."""
    pixels, names = [], []
    with tarfile.open(f"{REAL}/cifar10_jpeg/cifar10_test_even_jpeg.tar") as archive:
        members = sorted((item for item in archive if item.isfile()), key=lambda item: item.name)
        for member in members[::10]:
            image = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
            pixels.append(((np.asarray(image) / 255 - MEAN) / STD).transpose(2, 0, 1))
            names.append(member.name.split("/")[-2])
    return np.stack(pixels).astype(np.float32), np.unique(names, return_inverse=True)[1]


@pytest.fixture(scope="module")
def network():
    sys.path.insert(0, str(Path(__file__).parents[3] / "models"))
    from resnet20 import ResNet20

    module = ResNet20().eval()
    state = torch.load(f"{REAL}/resnet20_cifar10/resnet20-12fca82f.th", map_location="cpu", weights_only=True)
    module.load_state_dict({name.removeprefix("module."): value for name, value in state["state_dict"].items()})
    return module


def accuracy(module, images):
    pixels, labels = images
    with torch.inference_mode():
        answers = torch.cat([module(part).argmax(1) for part in torch.from_numpy(pixels).split(250)])
    return float((answers.numpy() == labels).mean())


@pytest.mark.parametrize(("sparsity", "least", "distribution"), [(0.15, 0.65, "uniform"), (0.3, 0.45, "heterogeneous")])
def test_narrows_inner_channels_and_leaves_padded_shortcuts(network, images, sparsity, least, distribution):
    rows = {"image": images[0][::5]}
    pruned = titrant.prune(network, rows, sparsity=sparsity)
    summary = pruned.summary
    assert summary["parameters_before"] == 269_722
    assert 0.85 * sparsity <= pruned.measurements["parameters_removed"] <= sparsity
    assert summary["multiply_adds_after"] < 0.97 * summary["multiply_adds_before"]
    assert {group["group"] for group in summary["groups"]} == {
        f"layer{stage}.{block}.conv1" for stage in (2, 3) for block in range(3)
    }
    assert all(group["kept"] % 16 == 0 for group in summary["groups"])
    left = {each["layer"]: each["because"] for each in summary["left"]}
    assert "16 channels" in left["layer1.0.conv1"]
    assert summary["distribution"] == distribution
    # .810 whole; nothing is trained back.
    assert accuracy(pruned.model, images) > least
