"""Recipes built in Python: they are what their text is, and are refused as it is."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import titrant
from titrant.api.sections import sections as constructors
from titrant.api.sections.recipe import recipe as build
from titrant.schema.diagnostics.diagnostics import RecipeError
from titrant.schema.recipe.recipe import Recipe, recipe_value
from titrant.schema.recipe.terms import Section

S = titrant.sections
MODEL = S.Model(factory="titrant.recipes.models:TabularNet", args={"features": 30, "classes": 2})
DATA = S.Data(source=S.Source(sklearn="breast_cancer"), label="target", positive="malignant")


def test_builds_what_its_text_gives(tmp_path):
    built = titrant.recipe(
        "built",
        "binary_classification",
        MODEL,
        data=S.Data(
            source=S.Source(csv=S.CsvFile(path=Path("rows.csv"), separator=";")),
            label="target",
            positive="malignant",
            transform=[S.Standardize(), S.Impute(columns=("age",), strategy="median"), S.Resize(height=8, width=8)],
        ),
        target=S.Target(size=200 * 1024, latency=S.Latency(p95=0.005)),
        train=S.Train(epochs=np.int64(3), early_stop=None),
        quantization=S.Quantization(method="ort.static", options={"calibration": "mse"}),
        validation=S.Validation(
            retention=np.float32(0.5),
            gates=[S.FreeGate(metric="sensitivity", comparison="at_least", threshold=0.8)],
            safety="none",
        ),
        folder=tmp_path,
    )
    file = titrant.write(built, tmp_path / "built.yaml")
    read = titrant.read(file)
    assert recipe_value(read.recipe) == recipe_value(built.recipe)
    assert read.text == built.text
    assert built.recipe.target.size == 200 * 1024
    assert built.recipe.target.latency.p95 == 0.005
    assert built.recipe.train.early_stop is None
    assert [step.name for step in built.recipe.data.transform] == ["standardize", "impute", "resize"]


@pytest.mark.usefixtures("warm_workers")
def test_plans_as_its_file_does(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    built = titrant.recipe("built", "binary_classification", MODEL, data=DATA, train=S.Train(epochs=1), folder=tmp_path)
    assert titrant.check(built) == ()
    read = titrant.read(titrant.write(built, tmp_path / "built.yaml"))
    assert titrant.plan(built).digest == titrant.plan(read).digest


@pytest.mark.parametrize(("call", "message"), [
    (lambda: S.Quantization(bits=7), "R014: `bits` is 4, 8, 16 or `auto`, not the number `7`, at quantization.bits"),
    (lambda: S.Quantization(bitss=8),
     "R012: unknown option `bitss` in `quantization`, at quantization.bitss (did you mean `bits`?)"),
    (lambda: S.Quantization(method="ort.statik"),
     "R017: `ort.statik` is not a known value of `method`, at quantization.method (did you mean `ort.static`?)"),
    (lambda: S.Target(size="200"), "R015: `200` has no unit, at target.size (a size is written like `12 GiB`)"),
    (lambda: S.Train(epochs=True), "R014: `epochs` is a whole number, 1 or more, not `true`, at train.epochs"),
    (lambda: S.Resize(height=0, width=8), "R016: `0` is out of range: `height` is a whole number, 1 or more, at "
     "data.transform[0].resize.height"),
    (lambda: S.Quantization(8), "R011: Quantization takes its options by name (they are method, bits, skip, only, "
     "options, repair, adapt)"),
    (lambda: S.FreeGate(metric="accuracy", comparison="at_least"), "R013: `validation.gates[0]` has no `threshold`, at "
     "validation.gates[0] (add `threshold: …`: what the metric is compared with)"),
    (lambda: titrant.recipe("x", "binary_classification", MODEL, data=DATA), "R022: this model has neither weights nor "
     "training, at model.factory (add `weights:` (a file, or `included` if the factory loads its own), or a `train:` "
     "section)"),
])  # fmt: skip
def test_says_what_its_text_would_be_refused_for_with_the_path(call, message):
    with pytest.raises(RecipeError) as refused:
        call()
    assert str(refused.value) == message


class Net:
    def named_parameters(self):
        return ()


@pytest.mark.parametrize(("call", "words"), [
    (lambda: S.Model(factory=Net()), r"`model\.factory` is given a Net.*titrant\.export"),
    (lambda: S.Source(npz=np.zeros(3)), r"`data\.source\.npz` is given a ndarray.*np\.savez"),
    (lambda: S.Source(factory=iter([1])), r"`data\.source\.factory` is given a list_iterator.*np\.savez"),
    (lambda: S.Source(factory=len), r"`data\.source\.factory` is given a builtin_function_or_method.*module:name"),
    (lambda: S.Model(factory="nets:Net", args={"net": Net()}), r"`model\.args\.net` is given a Net"),
])  # fmt: skip
def test_refuses_what_lives_in_this_process_and_says_what_to_do(call, words):
    with pytest.raises(RecipeError, match=f"R246: {words}"):
        call()


def test_writes_where_its_paths_start_and_over_nothing_else(tmp_path):
    built = build("built", "binary_classification", MODEL, data=DATA, train=S.Train(epochs=1), folder=tmp_path)
    file = titrant.write(built, tmp_path / "built.yaml")
    assert titrant.write(built, file) == file
    (tmp_path / "other.yaml").write_text("titrant: 1\n")
    (tmp_path / "below").mkdir()
    places = {
        "built.txt": "no name of a recipe",
        "built.lock.yaml": "no name of a recipe",
        "other.yaml": "is there already",
        "below/built.yaml": "stands elsewhere",
    }
    for name, words in places.items():
        with pytest.raises(RecipeError, match=f"P083: .*{words}"):
            titrant.write(built, tmp_path / name)
    assert titrant.write(built, tmp_path / "other.yaml", force=True).read_text() == built.text


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: titrant.plan("a.yaml"), r"P084: a\.yaml is the path of a recipe, and not read yet \(titrant\.read"),
        (lambda: titrant.plan(3), "P084: a int is no recipe"),
        (lambda: titrant.write(3, "a.yaml"), "P084: a int is no recipe"),
        (lambda: titrant.run("a.yaml"), r"P084: a str is no plan \(plan the recipe first"),
    ],
)
def test_refuses_what_is_no_recipe_and_no_plan(call, said):
    with pytest.raises(RecipeError, match=said):
        call()


def test_builds_every_section_of_a_recipe():
    def below(kind):
        yield kind
        for inner in kind.__subclasses__():
            yield from below(inner)

    missing = {kind.__name__ for kind in below(Section)} - {*vars(constructors)} - {Recipe.__name__, Section.__name__}
    assert missing == set()


@given(st.integers(1, 2**50), st.floats(1e-9, 1e6))
@settings(max_examples=60, deadline=None)
def test_keeps_every_size_and_time(size, seconds):
    target = S.Target(size=size, latency=S.Latency(p50=seconds))
    assert (target.size, target.latency.p50) == (size, seconds)
