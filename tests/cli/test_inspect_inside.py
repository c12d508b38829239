"""`titrant inspect` of the inside of models: health, attention, two side by side, a run's original and its release."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

ATTENDING = '''
"""A user's own small transformer, and a network of the same inputs."""

import torch


class Attends(torch.nn.Module):
    """A table, an encoder layer, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(30, 8)
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = torch.nn.Linear(8, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.table(ids)).mean(1))


class Broken(Attends):
    """The same, with a weight that is NaN."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.head.weight[0, 0] = float("nan")
'''
IDS = '[{"name": "ids", "shape": ["batch", 5], "dtype": "int64"}]'

HEALTH = """\
health of 15 tensors: 1 fault
  fault: head: head.weight holds 1 NaN of 16 values
    helps: take an earlier checkpoint: nothing brings these values back
"""

ATTENTION = """\
attention of 1 layer, 1 of them fused: computed from queries and keys
  layer            rows  heads  places  spread by head  own place  first place
  layer.self_attn  8     2      5       0.9"""


@pytest.fixture
def attending(place):
    (place.folder / "own.py").write_text(ATTENDING, "utf-8")
    save_file({"a.weight": np.eye(3, dtype="float32")}, place.folder / "w.safetensors")
    return place


def test_says_what_is_broken_and_what_helps(attending):
    answer = attending.here("inspect", "own:Broken", "--health")
    assert (answer.code, answer.out) == (0, HEALTH)
    page = attending.here("inspect", "own:Broken", "--health", "--rows", "2", "--inputs", IDS, "--out", "h.html")
    assert "NaN first appears in its answer" in page.out
    html = (attending.folder / "h.html").read_text("utf-8")
    assert "✕ fault" in html
    assert "helps" in html


def test_shows_where_a_model_attends_and_tokens_only_on_request(attending):
    answer = attending.here("inspect", "own:Attends", "--attention", "--inputs", IDS, "--out", "a.html")
    page = (attending.folder / "a.html").read_text("utf-8")
    assert "<details" not in page  # heads are seen at once
    assert "head 1" in page
    assert answer.out.startswith(ATTENTION), answer.all
    assert "first row" not in answer.out
    assert "heads averaged" in (attending.folder / "a.html").read_text("utf-8")
    found = json.loads(attending.here("inspect", "own:Attends", "--attention", "--inputs", IDS, "--json").out)
    assert (found["tokens"], found["layers"][0]["first_row"]) == ([], [])
    found = json.loads(
        attending.here("inspect", "own:Attends", "--attention", "--inputs", IDS, "--json", "--show-data").out
    )
    assert len(found["tokens"]) == len(found["layers"][0]["first_row"]) == 5


def test_holds_two_models_side_by_side(attending):
    answer = attending.here("inspect", "own:Attends", "own:Broken", "--inputs", IDS)
    assert answer.out.startswith("own:Attends beside own:Broken: 6 layers, 5 alike, 1 changed\n"), answer.all
    assert (
        "\nnote: output 0 is not compared: 0 of its numbers in the one and 8 in the other are not finite" in answer.out
    )


def test_holds_a_runs_original_beside_what_it_released(finished):
    place, _ = finished
    answer = place.here("inspect", "latest", "latest", "--out", "pair.html")
    assert answer.out.startswith("latest original beside latest released: 2 layers, 2 alike\n"), answer.all
    assert "output output_0 on 8 rows: equal" in answer.out or "output logits on 8 rows: equal" in answer.out
    assert "Side by side" in (place.folder / "pair.html").read_text("utf-8")
    answer = place.here("inspect", "latest", "--health", "--rows", "20")
    assert answer.out.startswith("health of 4 tensors and 3 answers on 20 rows: ")
    assert place.here("inspect", "recipe.yaml", "--health").out == "health of 4 tensors: nothing is broken\n"


# What is written → the beginning of what is said.
WRONG = {
    ("net:Net", "--health", "--attention"): "error[P014]: --health and --attention are asked for at once",
    ("own:Attends", "own:Attends", "--health"): "error[P014]: --health and a second model are asked for at once",
    ("own:Attends", "--rows", "3"): "error[P014]: --rows has nothing to act on here",
    ("own:Attends", "--health", "--rows", "0"): "error[X671]: --rows is 0",
    ("own:Attends", "--health", "--rows", "2"): "error[X682]: nothing says what own:Attends takes",
    ("own:Attends", "--attention", "--data", "gone.npz"): "error[X702]: there is no file gone.npz",
    ("own:Attends", "--attention", "--data", "own.py"): "error[X682]: ",
    ("w.safetensors", "--attention"): "error[X682]: w.safetensors holds weights and no model",
    ("w.safetensors", "--health", "--rows", "2"): "error[X682]: w.safetensors holds weights and no model",
    ("gone.onnx", "--health"): "error[X702]: there is no file gone.onnx",
    ("rows.csv", "--health"): "error[P080]: rows.csv is no file that can be looked into",
    ("own:Attends", "--health", "--out", "h.png"): "error[X662]: what was seen inside a model cannot be saved as h.png",
    ("own:Attends", "--health", "--level", "balanced"): "error[P014]: --level has nothing to act on here",
    ("own:Attends", "--health", "--set", "seed=1"): "error[P014]: --set has nothing to act on in own:Attends",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_says_in_a_line_what_cannot_be(arguments, attending):
    answer = attending.here("inspect", *arguments)
    assert answer.code in (2, 4), answer.all
    assert answer.err.startswith(WRONG[arguments]), answer.all
    assert "Traceback" not in answer.err
