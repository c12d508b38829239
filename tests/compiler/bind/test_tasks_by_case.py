"""Recipes of language models and embeddings: what fits them, and what is refused under the token that is wrong."""

from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.decide.measuring import comparisons
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.facts import TensorSpec
from titrant.schema.language.parse import parse

CASE = Path(__file__).parent.parent / "bind_mistakes" / "case"
BASE = """titrant: 1
name: a
task: {task}
model: {{factory: "nets:Net"{weights}{output}}}
data:
  source: {{npz: rows.npz}}
  inputs: [tokens]
{data}{more}"""


def recipe(task, *, data="", more="", output="", weights=", weights: included"):
    data = "".join(f"  {line}\n" for line in data.splitlines())
    return BASE.format(task=task, data=data, more=more, output=output, weights=weights)


def findings(text):
    """Return the findings but for files that are not there."""
    try:
        bind(parse(text, "recipe.yaml", folder=CASE))
    except RecipeError as error:
        return [one for one in error.diagnostics if one.code not in ("R102", "R104", "R106")]
    return []


@pytest.mark.parametrize("said", ["", "validation: {agreement: {measure: same_class}}"])
def test_compares_several_labels_as_they_are_decided(said):
    made = parse(recipe("multilabel_classification", data="label: [a, b]", more=said), "recipe.yaml", folder=CASE)
    for shape in (("batch", 2), ("batch", 2, 1)):
        outputs = [TensorSpec("y", shape, "float32")]
        assert [compared.measure for compared in comparisons(made.recipe, outputs)] == ["same_labels"]


GATE = "validation: {{gates: [{{metric: {}, comparison: {}, threshold: 0.5}}]}}"


OWN = 'search: {objective: ["scores:harm", size]}'


@pytest.mark.parametrize(
    ("task", "given"),
    [
        ("language_modeling", {}),
        ("language_modeling", {"data": "label: next"}),
        ("language_modeling", {"more": "validation: {retention: 0.9, agreement: {measure: same_class}}"}),
        ("language_modeling", {"more": GATE.format("perplexity", "at_most")}),
        ("language_modeling", {"more": "train: {loss: cross_entropy}", "weights": ""}),
        ("embedding", {}),
        ("embedding", {"more": "validation: {agreement: {measure: neighbor}}"}),
        ("multiclass_classification", {"data": "label: a\nclasses: [x, y, z]", "more": GATE.format("sensitivity",
         "retention").replace("comparison", "slice: class y, comparison")}),
        ("multiclass_classification", {"data": "label: a\nclasses: [x, y, z]", "more": GATE.format("calibration_slope",
         "drop_at_most").replace("comparison", "slice: class y, comparison")}),
        ("embedding", {"data": "label: group", "more": "validation: {baseline: {metric: recall_at_1, at_least: 0.5}}"}),
        ("embedding", {"data": "label: group", "more": "train: {loss: 'nets:Near'}", "weights": ""}),
    ],
)  # fmt: skip
def test_takes_what_fits(task, given):
    assert findings(recipe(task, **given)) == []


@pytest.mark.parametrize(
    ("task", "given", "code", "token", "words"),
    [
        ("language_modeling", {"more": GATE.format("accuracy", "retention")}, "R111", "accuracy", "token_agreement"),
        ("language_modeling", {"more": GATE.format("perplexity", "rise_at_most")}, "R112", "rise_at_most", "at_most"),
        ("language_modeling", {"more": GATE.format("perplexity", "at_least")}, "R125", "at_least", "at_most"),
        ("language_modeling", {"more": GATE.format("token_agreement", "retention")}, "R112", "retention", "at_least"),
        ("language_modeling", {"more": "validation: {agreement: {measure: cosine}}"}, "R112", "cosine", "same_class"),
        ("language_modeling", {"more": "validation: {agreement: {at_least: 0.9}}"}, "R112", "at_least", "agreement"),
        ("language_modeling", {"more": "validation: {baseline: {metric: perplexity, at_least: 9}}"}, "R125",
         "perplexity", "comparison: at_most"),
        ("language_modeling", {"more": "validation: {baseline: {metric: token_agreement, at_least: 0.9}}"}, "R112",
         "token_agreement", "labels"),
        ("language_modeling", {"more": "validation: {safety: 0.9}"}, "R110", "0.9", "perplexity"),
        ("language_modeling", {"more": "validation: {calibration: {rise_at_most: 0.1}}"}, "R110", "", "perplexity"),
        ("language_modeling", {"data": "label: tokens"}, "R022", "tokens", ""),
        ("language_modeling", {"more": "train: {loss: mse_loss}", "weights": ""}, "R190", "mse_loss", "cross_entropy"),
        ("language_modeling", {"more": "train: {class_weights: balanced}", "weights": ""}, "R191", "class_weights", ""),
        ("language_modeling", {"more": "train: {}", "weights": "", "output": ", output: {kind: probabilities}"}, "R190",
         "", "softmax"),
        ("embedding", {"more": OWN}, "R111", '"scores:harm"', "write `quality`"),
        ("embedding", {"more": GATE.format("recall_at_1", "retention")}, "R110", "recall_at_1", "label"),
        ("embedding", {"more": GATE.format("perplexity", "at_most")}, "R111", "perplexity", "neighbor"),
        ("embedding", {"more": "train: {}", "weights": ""}, "R117", "train", "data.label"),
        ("embedding", {"data": "label: group", "more": "train: {}", "weights": ""}, "R190", "train", "module:Name"),
        ("embedding", {"data": "label: group\npositive: a"}, "R022", "positive", ""),
        ("multilabel_classification", {"data": "label: [a, b]",
         "more": "validation: {operating_point: {threshold: 0.2}}"}, "R114", "operating_point", "each label"),
    ],
)  # fmt: skip
def test_says_what_is_wrong_under_the_token_that_is_wrong(task, given, code, token, words):
    found = findings(recipe(task, **given))
    assert [one.code for one in found] == [code], [one.message for one in found]
    (one,) = found
    where = one.where
    assert token in where.text[where.column - 1 : where.column - 1 + where.width]
    assert words in f"{one.message} {one.help}"
