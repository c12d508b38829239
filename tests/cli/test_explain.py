"""`titrant explain RECIPE PATH`: where a value comes from and why, word for word."""

import importlib.util
from pathlib import Path

import pytest

from titrant.api.explain_value import ABOUT, DECIDED, explain_value
from titrant.cli.explain import explained_text
from titrant.cli.main import main
from titrant.schema.diagnostics.diagnostics import RecipeError

HERE = Path(__file__).parent
BASE = """\
titrant: 1
name: base
level: balanced
task: binary_classification
model:
  factory: titrant.recipes.models:TabularNet
  args: {features: 30, classes: 2}
data:
  source: {sklearn: breast_cancer}
  label: target
  positive: malignant
  subgroups: {size: {column: mean radius, bins: [12]}}
train: {epochs: 3, batch_size: 32}
target: {latency: {p95: 5 ms}}
validation: {retention: 0.9}
"""
CHILD = """\
titrant: 1
extends: base.yaml
train: {epochs: 5}
data: {subgroups: none}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    (folder / "base.yaml").write_text(BASE)
    (folder / "child.yaml").write_text(CHILD)
    return folder


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TITRANT_HOME", str(folder / "home"))


def explained(path, *overrides, recipe="child.yaml"):
    return explained_text(explain_value(Path(recipe), path, overrides, False))


# --- what needs neither the machine nor the model

WRITTEN = """\
train.epochs: 5
  written at child.yaml:3:9
  in place of 3 at base.yaml:13:9
  meaning: passes over the train rows, at most
  takes: a whole number, 1 or more"""
INHERITED = """\
train.batch_size: 32
  written in the base, base.yaml:13:20, which child.yaml:2:10 extends
  meaning: cases in a step
  takes: a whole number, 1 or more"""
FLAG = """\
target.latency.p95: 4 ms
  given by --set target.latency.p95=4 ms
  in place of 5 ms at base.yaml:14:20
  meaning: 95th percentile, such as `8 ms`
  takes: a time such as `250 ms`"""
DEFAULT = """\
train.weight_decay: 0.01 (the default)
  not written in child.yaml or its base
  meaning: decay of the weights, 0 or more
  takes: a number, 0 or more"""
SECTION = """\
train: {"epochs": 5, "batch_size": 32}
  written at child.yaml:3:1
    train.epochs: 5  [child.yaml:3:9]
    train.batch_size: 32  [base.yaml:13:20]"""
LATER = """\
batching.strategy: later (its default, timeout, does nothing in this version)
  not written in child.yaml or its base
  meaning: when a batch is closed
  takes: `timeout`, `latency_aware` or `memory_aware`
  `batching` is not available in this version, other than `none`"""
ACTIVE = """\
memory.guard.high: later (its default, 0.85, does nothing in this version)
  not written in child.yaml or its base
  meaning: share of the memory that is high pressure
  takes: a fraction from 0 to 1
  `memory.guard` is not available in this version"""
PLAIN = {
    ("train.epochs",): WRITTEN,
    ("train.batch_size",): INHERITED,
    ("target.latency.p95", "target.latency.p95=4 ms"): FLAG,
    ("train.weight_decay",): DEFAULT,
    ("batching.strategy",): LATER,
    ("memory.guard.high",): ACTIVE,
}


@pytest.mark.parametrize("given", PLAIN, ids=lambda given: given[0])
def test_says_where_a_value_comes_from_without_a_plan(given, tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    assert explained(*given) == PLAIN[given]
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nonsense", "no `nonsense` at the top of a recipe"),
        ("validation.retentoin", r"no `retentoin` in `validation` \(did you mean `validation.retention`"),
        ("train.p95", "it belongs at `target.latency.p95`"),
        ("name.deep", "`name` has no keys of its own"),
        ("a..b", "not a path"),
    ],
)
def test_refuses_a_path_that_no_recipe_has(path, words):
    with pytest.raises(RecipeError, match=words):
        explained(path)


# --- what a rule may decide


def test_shows_the_decision_of_a_rule_and_the_level_that_supplies_it(folder):
    assert (
        explained("validation.require")
        == """\
validation.require: none (the default)
  not written in child.yaml or its base
  meaning: what releases; default: by level
  takes: `proof` or `evidence`
decided for this machine, model and data:
  validation.require: not written → evidence
      level balanced supplies it: a good estimate is released, as not proven (require.level)"""
    )
    assert explained("train.learning_rate").endswith("""\
decided for this machine, model and data:
  train.learning_rate: auto → 0.001 · what adamw starts well with (learning_rate.auto)""")
    assert explained("train").startswith(SECTION)


def test_shows_what_was_taken_out_and_the_row_of_the_contract():
    assert explained("data.subgroups").startswith("""\
data.subgroups: {} (the default)
  taken out: child.yaml:4:8 says none
  in place of {"size": {"column": "mean radius", "bins": [12]}} at base.yaml:12:3
""")
    found = explained("validation.retention")
    assert "in the contract:\n  retention: accuracy ≥ 0.9 of the original" in found
    assert found.endswith("base.yaml:15:14")


def test_says_so_where_the_model_cannot_be_looked_at(folder, capsys):
    (folder / "broken.py").write_text("def Net(): raise RuntimeError('out of luck')\n")
    text = BASE.replace("titrant.recipes.models:TabularNet", "broken:Net").replace("{features: 30, classes: 2}", "{}")
    (folder / "broken.yaml").write_text(text)
    assert main(["explain", "broken.yaml", "train.learning_rate"]) == 0
    out = capsys.readouterr().out
    assert "train.learning_rate: auto (the default)" in out
    assert "what the rules make of it is not known, since the recipe cannot be planned" in out
    assert "RuntimeError (broken.py:1)" in " ".join(out.split())
    assert "out of luck" not in out  # it may hold rows


def test_plans_wherever_a_rule_has_a_say():
    """Every decision about a path of the recipe is about one that `explain` asks the rules for."""
    specification = importlib.util.spec_from_file_location("case", HERE.parent / "compiler" / "case.py")
    case = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(case)
    from titrant.schema.language.spans import parse_path

    texts = [(case.RECIPE, f"level={level}") for level in ("auto", "minimal", "balanced", "aggressive")]
    texts += [(case.RECIPE, "level=medical_critical"), (case.RECIPE, "preserve=medical"), (case.UNLABELED, "seed=1")]
    texts += [(case.RECIPE, "search.budget={minutes: 5}"), (case.RECIPE, "search.check_sensitivity=true")]
    for text, flag in texts:
        for one in case.decided(text, flag).decisions:
            if one.subject not in ABOUT:
                subject = parse_path(one.subject)
                assert any(subject[: len(path)] == path for path in DECIDED), one.subject
