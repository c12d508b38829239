"""A user's own operator: described by a worker, entered in the catalog, and planned like any other."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.decide.rule import Chain
from titrant.compiler.facts.cache import FileDigests
from titrant.compiler.facts.user_operators import enter_user_operators
from titrant.compiler.lower.lower import lower
from titrant.compiler.passes import passes
from titrant.compiler.predict.layer_coverage import left_because
from titrant.compiler.predict.price import price
from titrant.runtime import catalog
from titrant.runtime.store.home import open_home
from titrant.runtime.worker.parent import Worker
from titrant.schema.cost import Unmet, Work
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.facts import HardwareVolatile, Layer
from titrant.schema.recipe.reduce import Quantization

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)

pytestmark = pytest.mark.usefixtures("warm_workers")

OPERATOR = '''
"""A user's operator."""
from titrant.runtime.catalog import Params, operator
from titrant.runtime.method import Method

class HalveParams(Params):
    keep: float = 0.5

@operator(
    "halve", version=3, family="quantize", params=HalveParams, inputs={"model": "onnx", "calibration": "rows"},
    outputs={"model": "onnx"}, libraries=("onnx",), user_code=True,
    method=Method("halve", takes="onnx", engine="onnxruntime", format="onnx", bits=(8,), rank=3),
)
def halve(params, context, *, model, calibration):
    """Halve."""
    return {"model": model}

@operator("plain", version=1, family="prune", params=HalveParams, inputs={}, outputs={})
def plain(params, context):
    """Do nothing."""
    return {}
'''

FORETELLING = '''
"""A user's operator that says what it needs and would cost."""
from titrant import Method, Params, Prediction, Unmet, operator
from pydantic import Field

class ShrinkParams(Params):
    keep: float = Field(0.5, gt=0)

def requires(params, hardware, model):
    lacks = [] if hardware.identity.cores > 1 else [Unmet("it shrinks on two cores", "use a larger machine")]
    if model is not None and not any(layer.type == "Linear" for layer in model.layers):
        lacks.append(Unmet("it shrinks linear layers and the model has none"))
    return tuple(lacks)

def predict(params, hardware, model, work):
    return Prediction(seconds=model.parameters * params.keep, output_bytes=1000 + work.candidates)

@operator(
    "shrink", version=1, family="quantize", params=ShrinkParams, inputs={"model": "onnx"}, outputs={"model": "onnx"},
    requires=requires, predict=predict, user_code=True,
    method=Method("shrink", takes="onnx", engine="onnxruntime", format="onnx", bits=(8,), rank=3),
)
def shrink(params, context, *, model):
    """Shrink."""
    return {"model": model}
'''


class Counting:
    """A worker that counts how often it is asked."""

    def __init__(self, worker):
        self.worker, self.asked = worker, 0

    def __call__(self, request):
        self.asked += 1
        return self.worker.ask(request)


@pytest.fixture
def ask(tmp_path):
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "halving.py").write_text(OPERATOR)
    with Worker(open_home(tmp_path / "home"), folder, 1, 42) as worker:
        yield Counting(worker)


def bound(folder, method="halving:halve", options=None):
    made = small.bind(small.TABULAR, folder)
    quantization = made.recipe.quantization.model_copy(update={"method": method, "options": options or {}})
    return replace(made, recipe=made.recipe.model_copy(update={"quantization": quantization}))


def test_plans_with_a_users_operator_without_importing_it(tmp_path, ask):
    recipe = bound(tmp_path / "recipe", options={"keep": 0.25})
    enter_user_operators(recipe, ask, tmp_path / "facts", FileDigests())
    assert "halving" not in sys.modules
    chain = Chain("halving:halve", "halving:halve", 8, "onnxruntime", "onnx", 0, {"keep": 0.25})
    plan = passes.run(
        lower(recipe, small.decisions(chain, training={}), small.HARDWARE, small.MODEL, small.DATA)
    )  # fmt: skip
    step = next(step for step in plan.steps if step.operator == "halving:halve")
    assert (step.version, step.params) == (3, {"keep": 0.25})
    assert step.inputs["calibration"] == "transform.calibration"
    assert plan.candidates[0].model == "halving:halve.model"
    assert catalog.get("halving:halve").libraries == ("onnx",)


def test_asks_again_only_when_the_users_file_changes(tmp_path, ask):
    recipe = bound(tmp_path / "recipe")
    enter_user_operators(recipe, ask, tmp_path / "facts", FileDigests())
    enter_user_operators(recipe, ask, tmp_path / "facts", FileDigests())
    assert ask.asked == 1
    (answer,) = (tmp_path / "facts").glob("operator-*.json")
    assert [file["path"] for file in json.loads(answer.read_text())["dependencies"]] == ["halving.py"]
    (tmp_path / "recipe" / "halving.py").write_text(OPERATOR + "\nx = 1\n")
    enter_user_operators(recipe, ask, tmp_path / "facts", FileDigests())
    assert ask.asked == 2


@pytest.mark.parametrize(
    ("part", "value"), [("declared", {}), ("operator", ["halve"]), ("method", 3), ("version", "3"), ("digest", None)]
)
def test_asks_again_where_what_was_kept_has_another_form(tmp_path, ask, part, value):
    recipe = bound(tmp_path / "recipe")
    enter_user_operators(recipe, ask, tmp_path / "facts", FileDigests())
    (file,) = (tmp_path / "facts").glob("operator-*.json")
    answer = json.loads(file.read_text())
    holders = (answer, answer["declared"], answer["operator"], *answer["dependencies"])
    next(holder for holder in holders if part in holder)[part] = value
    file.write_text(json.dumps(answer))
    enter_user_operators(recipe, ask, tmp_path / "facts", FileDigests())
    assert ask.asked == 2
    assert catalog.get("halving:halve").version == 3


def test_refuses_an_option_that_the_operator_does_not_have(tmp_path, ask):
    recipe = bound(tmp_path / "recipe", options={"kep": 0.25})
    with pytest.raises(RecipeError, match=r"P012: halving:halve has no option `kep`.*its options are keep"):
        enter_user_operators(recipe, ask, tmp_path / "facts", FileDigests())


def test_refuses_an_operator_that_is_no_reduction(tmp_path, ask):
    with pytest.raises(RecipeError, match="P011: halving:plain cannot be a quantization method"):
        enter_user_operators(bound(tmp_path / "recipe", "halving:plain"), ask, tmp_path / "facts", FileDigests())


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("version=3", 'version="a"', "X314: halving:halve is declared wrongly: `version` is text where a whole number"),
        (
            "bits=(8,)",
            "bits=8",
            "X314: halving:halve is declared wrongly: `method.bits` is a whole number where a list",
        ),
        ('("onnx",)', '"onnx"', "X314: halving:halve is declared wrongly: `libraries` is text where a list is due"),
        ("version=3", 'version=3, determinism="no"', "X314: .* `determinism` is 'no' where one of exact, tolerance"),
        ("params=HalveParams", "params=int", "X314: halving:halve is declared wrongly: `params` is no class"),
        ("version=3", "version=3, idle=True", "X314: halving:halve is declared wrongly: `idle` is no function"),
        (
            'takes="onnx"',
            'takes="torch"',
            "P011: halving:halve .* it takes torch, and its `model` input is declared as onnx",
        ),
    ],
)
def test_refuses_a_wrong_declaration(tmp_path, ask, written, instead, message):
    module = tmp_path / "recipe" / "halving.py"
    module.write_text(OPERATOR.replace(written, instead, 1))
    for _ in range(2):
        with pytest.raises(RecipeError, match=message) as refused:
            enter_user_operators(bound(tmp_path / "recipe"), ask, tmp_path / "facts", FileDigests())
    assert refused.value.diagnostics[0].where is not None


def test_asks_nothing_where_the_method_is_built_in(tmp_path):
    enter_user_operators(small.bind(small.TABULAR, tmp_path), None, tmp_path, FileDigests())


@pytest.fixture
def shrinking(tmp_path, ask):
    """The declaration of an operator that says what it needs and costs, and the worker that it is asked in."""
    (tmp_path / "recipe" / "shrinking.py").write_text(FORETELLING)

    def entered():
        recipe = bound(tmp_path / "recipe", "shrinking:shrink", {"keep": 0.25})
        enter_user_operators(recipe, ask, tmp_path / "facts", FileDigests())
        return catalog.get("shrinking:shrink")

    return entered


def test_asks_a_users_operator_what_it_needs_and_costs_once(shrinking, ask):
    found, work = shrinking(), Work(candidates=3)
    params = found.params(keep=0.25)
    made = found.predict(params, small.HARDWARE, small.MODEL, work)
    assert (made.seconds, made.output_bytes) == (small.MODEL.parameters * 0.25, 1003)
    single = replace(small.HARDWARE, identity=replace(small.HARDWARE.identity, cores=1))
    assert found.requires(params, single, small.MODEL) == (Unmet("it shrinks on two cores", "use a larger machine"),)
    asked = ask.asked
    busy = replace(single, volatile=HardwareVolatile(memory_available_bytes=1))
    assert shrinking().requires(params, busy, small.MODEL) == found.requires(params, single, small.MODEL)
    assert ask.asked == asked
    assert found.requires(params, small.HARDWARE, small.MODEL) == ()
    assert ask.asked == asked + 1


def test_tells_which_layers_a_users_operator_would_take(shrinking, ask):
    found = shrinking()
    params = found.params(keep=0.25)
    one = replace(small.HARDWARE, identity=replace(small.HARDWARE.identity, cores=1))
    layers = (
        Layer("a", "Linear", 9, 36, (3, 3)), Layer("b", "Conv2d", 9, 36, (1, 1, 3, 3)),
        Layer("c", "Linear", 9, 36, (3, 3)), Layer("d", "Linear", 6, 24, (3, 2)), Layer("e", "ReLU", 0, 0),
    )  # fmt: skip
    asked = ask.asked
    told = left_because(found, params, one, replace(small.MODEL, layers=layers), Quantization(skip=("d",)))
    none = "it shrinks linear layers and the model has none"
    assert told == ("", none, "", "quantization.skip has d", "it has no weights")
    # In general, and once for each kind of layer that no pattern leaves out.
    assert ask.asked == asked + 3


def test_takes_the_types_of_layers_that_a_users_method_declares(tmp_path, ask):
    text = OPERATOR.replace("rank=3)", 'rank=3, layers=("Conv2d",))')
    (tmp_path / "recipe" / "halving.py").write_text(text)
    enter_user_operators(bound(tmp_path / "recipe"), ask, tmp_path / "facts", FileDigests())
    found, layers = catalog.get("halving:halve"), (Layer("a", "Linear", 9, 36), Layer("b", "Conv2d", 9, 36))
    told = left_because(found, found.params(), small.HARDWARE, replace(small.MODEL, layers=layers), Quantization())
    assert told == ("halving:halve quantizes Conv2d only", "")


IDLING = FORETELLING.replace(
    "requires=requires, predict=predict,",
    "predict=predict, loads=lambda params: ('json', 'onnx') if params.keep < 1 else (), costless=('keep',),\n"
    "    idle=lambda params, model: params.keep == 1 and model.parameters > 0,",
)


def test_asks_a_users_operator_what_it_loads_and_whether_it_has_anything_to_do(tmp_path, shrinking, ask):
    (tmp_path / "recipe" / "shrinking.py").write_text(IDLING)
    shrinking()
    asked = ask.asked

    def planned(keep):
        chain = Chain("shrinking:shrink", "shrinking:shrink", 8, "onnxruntime", "onnx", 0, {"keep": keep})
        recipe = bound(tmp_path / "recipe", "shrinking:shrink", {"keep": keep})
        plan = lower(recipe, small.decisions(chain, training={}), small.HARDWARE, small.MODEL, small.DATA)
        plan = passes.run(plan, passes.standard(small.MODEL))
        return {step.id: step for step in price(plan, small.HARDWARE, small.MODEL, small.DATA).steps}

    predicted = planned(0.5)["shrinking:shrink"].prediction
    assert {"json", "onnx"} <= set(predicted.loads)
    # Nothing to do: it is asked twice, by the pass and by the check of the pass, and the child once.
    assert "shrinking:shrink" not in planned(1.0)
    # Idle and loads of the one, whose prediction is asked too, and idle of the other.
    assert ask.asked == asked + 4
    assert catalog.get("shrinking:shrink").costless == ("keep",)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("return Prediction(", "return dict(", "X316: `predict` of shrinking:shrink answers with dict"),
        ("return tuple(lacks)", "return 'nothing'", "X316: `requires` of shrinking:shrink answers with str"),
        ("predict=predict,", "loads=lambda params: 'onnx',", "X316: `loads` of shrinking:shrink answers with str"),
        ("predict=predict,", "idle=lambda *_: None,", "X316: `idle` of shrinking:shrink answers with NoneType"),
        ("gt=0)", "gt=1)", "X316: shrinking:shrink does not take its option keep: Input should be greater than 1"),
        ("model.parameters * params.keep", "1 / 0", r"X312: ZeroDivisionError \(shrinking.py:16\)"),
    ],
)
def test_points_at_an_operator_that_answers_with_nonsense(tmp_path, shrinking, old, new, sentence):
    (tmp_path / "recipe" / "shrinking.py").write_text(FORETELLING.replace(old, new))
    found = catalog.get(shrinking().name)
    params = found.params(keep=0.25)

    def ask_both():
        found.requires(params, small.HARDWARE, small.MODEL)
        found.predict(params, small.HARDWARE, small.MODEL)
        found.loads(params)
        found.idle(params, small.MODEL)

    with pytest.raises((RecipeError, StepError), match=sentence):
        ask_both()
