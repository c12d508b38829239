"""The digest of a recipe outlives titrant's versions: a lock and the ledger of looks tell a recipe by it.

A new key says nothing where it is not written, and then stands in no digest (`exclude_if`).
"""

from pathlib import Path

import pytest

from titrant.schema.language.parse import parse
from titrant.schema.recipe.recipe import recipe_value
from titrant.schema.values.canonical import sha256

RECIPES = Path(__file__).parents[2] / "recipes"
# As the first versions gave them. A digest changes where the recipe's text does, and for no key that it does not write.
DIGESTS = {
    "breast_cancer.yaml": "4be6d2003f0d90e1018767670f0a47e521718592d1ae614437668873d06705bb",
    "breast_cancer_critical.yaml": "723b909384ccf8624ee5a759a4e9b2fed267f426f5074474e88e92c830f7cfc0",
    "digits_cnn.yaml": "a9832516ad8855d013306fe0950519141258751712407b79bdbbece6a35e6cc7",
}
FOLDER_DIGEST = "0d929cc5f27cb13a9861f08eadbf70545a047c85eff38c31e9fe9e4330a2fa58"
FOLDER = """\
titrant: 1
name: scans
task: binary_classification
model: {onnx: net.onnx}
data:
  source: {image_folder: scans}
  transform: [{resize: {height: 8, width: 8}}, {normalize: {mean: 0.5, std: 0.5}}, standardize, impute, one_hot]
export: [{format: onnx}]
"""


@pytest.mark.parametrize("name", DIGESTS)
def test_keeps_the_digests_of_the_shipped_recipes(name):
    text = (RECIPES / name).read_text("utf-8").replace("{epochs: 5}", "{epochs: 12}")  # as digits_cnn had it then
    assert sha256(recipe_value(parse(text, name, folder=RECIPES).recipe)) == DIGESTS[name]


def test_keeps_the_digest_of_a_recipe_with_a_folder_and_every_transform():
    assert sha256(recipe_value(parse(FOLDER, "scans.yaml", folder=Path()).recipe)) == FOLDER_DIGEST
