"""An original that is not fit to be compared with ends the run, and says what would mend it."""

import numpy as np
import pytest

# Columns (0: well, 1: ill); well is the first output, though `ill` comes first in the alphabet.
SKILLED = """

class Skilled(torch.nn.Module):
    def __init__(self, end: str = "") -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)
        self.end = end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.linear(x)
        if self.end == "noise":
            return logits * torch.rand_like(logits)
        return torch.sigmoid(logits[:, 1:]) if self.end == "sigmoid" else logits
"""
CHANGES = (
    ("{features: auto, classes: auto}", "{end: ''}\n  weights: skilled.pt"),
    ("factory: net:Net", "factory: net:Skilled"),
    ("  transform: [standardize]\n", ""),
    ("train: {epochs: 4, learning_rate: 0.05}\n", ""),
    ("positive: 1", "positive: ill"),
)


@pytest.fixture
def skilled(place):
    """Give the place a model that was trained elsewhere, for a label of words."""
    import torch

    place.write("net.py", (place.folder / "net.py").read_text() + SKILLED)
    weight = np.array([2.0, -1.5, 1.0, 0.5], np.float32)
    tensors = {"linear.weight": torch.tensor(np.stack([-weight, weight])), "linear.bias": torch.zeros(2)}
    torch.save(tensors, place.folder / "skilled.pt")
    lines = (place.folder / "rows.csv").read_text().splitlines()
    words = [f"{line[:-1]}{'ill' if line[-1] == '1' else 'well'}" for line in lines[1:]]
    place.write("rows.csv", "\n".join([lines[0], *words]) + "\n")
    return place


def test_asks_for_the_order_of_the_classes_and_uses_it_to_the_end(skilled):
    import titrant

    answer = skilled.titrant("run", skilled.recipe(*CHANGES))
    assert answer.code == 2, answer.all
    assert "error[X425]" in answer.err
    assert "data: {classes: [well, ill]}" in answer.err
    assert "(data.label)" in answer.err
    assert "in the order [well, ill] 1.0000" in " ".join(answer.err.split())
    assert not list(skilled.home.glob("runs/*/outputs/*.onnx"))

    stated = ("label: sick", "label: sick\n  classes: [well, ill]")
    answer = skilled.titrant("run", skilled.recipe(*CHANGES, stated))
    assert answer.code == 0, answer.all
    assert "accuracy 1.0000 → 1.0000" in answer.out
    (released,) = skilled.home.glob("runs/*/outputs/titrant.json")
    with titrant.load(released.parent) as model:
        assert model.classes == ("well", "ill")
        assert model(np.array([[3.0, 0, 0, 0], [-3.0, 0, 0, 0]], np.float32)).decisions.tolist() == ["ill", "well"]

    turned = ("label: sick", "label: sick\n  classes: [ill, well]")
    answer = skilled.titrant("run", skilled.recipe(*CHANGES, turned))
    assert answer.code == 4, answer.all
    assert "error[X424]: the original is no better than a constant answer: its balanced accuracy" in answer.err


def test_refuses_a_class_that_is_not_listed_where_it_is_written(skilled):
    stated = ("label: sick", "label: sick\n  classes: [well, sick]")
    answer = skilled.here("plan", skilled.recipe(*CHANGES, stated))
    assert answer.code == 2
    assert "error[X128]: data.classes does not list `ill`, which the label has" in answer.err
    assert "classes: [well, sick]" in answer.err


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("sigmoid", 2, "error[X423]: the output 'logits' is read as logits"),
        ("noise", 4, "error[X421]: the model does not answer the same twice"),
    ],
)
def test_refuses_before_anything_is_made(skilled, end, code, words):
    stated = ("label: sick", "label: sick\n  classes: [well, ill]")
    answer = skilled.titrant("run", skilled.recipe(*CHANGES, stated, ("{end: ''}", f"{{end: {end}}}")))
    assert answer.code == code, answer.all
    assert words in answer.err
    assert code != 2 or "recipe.yaml:5:1 (model.output)" in answer.err
    assert "onnx-fp32 " not in answer.out.rpartition("released model:")[2]


def test_refuses_a_list_of_one_class(place):
    answer = place.here("check", place.recipe(("positive: 1", "classes: [1]")))
    assert answer.code == 2
    assert "`classes` names one class, and a classifier tells two or more apart" in " ".join(answer.err.split())


def test_refuses_an_order_of_classes_for_a_task_without_classes(place):
    recipe = place.recipe(("task: binary_classification", "task: regression"), ("positive: 1", "classes: [0, 1]"))
    answer = place.here("check", recipe)
    assert answer.code == 2
    assert "`classes` names a class, and `task: regression` has none" in answer.err
