"""A network whose convolutions shall lie channels last: trained so, released so, loaded so, and again to the byte."""

import json

NET = '''
"""A user's own small convolutional model."""

import torch


class Net(torch.nn.Module):
    """Two convolutions over four numbers as an image of two by two, and a linear layer."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = torch.relu(self.first(x.reshape(-1, 1, 2, 2)))
        return self.head(torch.relu(self.second(image)).mean((2, 3)))
'''
ASKED = "[{format: torchscript}, {format: safetensors}]\nmemory: {layout: channels_last}"


def test_trains_releases_loads_and_repeats_it_channels_last(place):
    place.write("net.py", NET)
    recipe = place.recipe(("[{format: onnx}]", ASKED))
    answer = place.titrant("run", recipe)
    assert answer.code == 0, answer.all
    assert "2 in fp32, channels_last" in answer.out
    folder = next((place.home / "runs").iterdir())
    record = json.loads((folder / "record.json").read_text())
    assert record["released"] == ["torchscript-fp32.channels_last", "unchanged.channels_last"]
    report = (folder / "report.html").read_text("utf-8")
    assert "channels last: time of a step" in report
    assert "latency p50 against torchscript-fp32" in report
    again = place.titrant("rerun", "latest")
    assert "identical" in again.out, again.all
    names = ["model-torchscript", "model-safetensors"]
    code = (
        "import titrant\n"
        f"for name in {names!r}:\n"
        f"    with titrant.load({str(folder)!r}, name=name) as model:\n"
        "        print([layer.layout for layer in model.executed()])\n"
    )
    script = place.write("layouts.py", code)
    done = place.warm(script.name, cwd=place.folder, env={"TITRANT_HOME": str(place.home)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(["channels_last", "channels_last", ""])] * 2


def test_refuses_it_where_torch_runs_nothing(place):
    recipe = place.recipe(
        ("train: {epochs: 4, learning_rate: 0.05}\n", "memory: {layout: channels_last}\n"),
        ("factory: net:Net\n", "factory: net:Net\n  weights: included\n"),
    )
    place.write("net.py", NET)
    answer = place.titrant("plan", recipe)
    assert answer.code == 2, answer.all
    assert "R239" in answer.err
