"""A user's own operator: the same decorator in their own module is all it takes."""

import sys
from pathlib import Path

import pytest

from titrant.runtime import catalog
from titrant.runtime.api import apply
from titrant.runtime.operator_pages import page
from titrant.schema.diagnostics.diagnostics import RecipeError

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "operators")]


@pytest.fixture
def model():
    from titrant.runtime.backends.torch.factory import build, source_digest
    from titrant.runtime.values import TorchModel

    factory, args = "operator_nets:Stack", {"widths": [5, 8, 2]}
    inputs = (("x", ("batch", 5), "float32"),)
    return TorchModel(build(factory, args), factory, args, source_digest(factory), inputs, ("logits",))


def test_is_found_by_its_reference():
    declaration = catalog.get("user_operators:floor")
    assert (declaration.name, declaration.version, declaration.family) == ("mine.floor", 3, "prune")


def test_runs_by_its_reference(model):
    done = apply("user_operators:floor", {"model": model}, {"below": 0.2})
    assert 0 < done.outputs["zeros"] < 1
    assert done.measurements == {"zeros": done.outputs["zeros"]}
    assert all((one == 0).sum() == 0 for one in model.module.parameters())


def test_runs_as_the_function_itself(model):
    import user_operators

    params = user_operators.FloorParams(below=100.0)
    assert apply(user_operators.floor, {"model": model}, params).outputs["zeros"] == 1


def test_feeds_built_in_operators_and_is_kept_like_them(model, tmp_path):
    from titrant.runtime.backends import kinds

    floored = apply("user_operators:floor", {"model": model}).outputs["model"]
    fused = apply("model.fuse", {"model": floored}).outputs["model"]
    kinds.save("torch", fused, tmp_path)
    loaded = kinds.load("torch", tmp_path)
    assert loaded.module.state_dict()["layers.0.weight"].equal(floored.module.state_dict()["layers.0.weight"])


def test_has_a_page_like_the_built_in_ones():
    text = page(catalog.get("user_operators:floor"))
    assert "**Helps when.** small weights are noise." in text
    assert "| `below` | number > 0 | 0.1 | weights nearer to zero than this become zero |" in text


@pytest.mark.parametrize("reference", ["user_operators:nothing", "user_operators:undeclared", "no_such_module:floor"])
def test_says_that_a_reference_names_no_operator(reference):
    with pytest.raises(RecipeError, match="X230"):
        apply(reference, {})
