"""A method's variants are candidates of their own under `auto`, where they may pay."""

import importlib.util
from dataclasses import replace
from pathlib import Path

from titrant.compiler.predict.price import arithmetic_with
from titrant.runtime.method import Method
from titrant.schema.cost import Arithmetic, Variant
from titrant.schema.facts import Layer

specification = importlib.util.spec_from_file_location("case", Path(__file__).parents[1] / "case.py")
case = importlib.util.module_from_spec(specification)
specification.loader.exec_module(case)

CONVOLUTION = Layer("c", "Conv2d", 9216, 36864, (32, 32, 3, 3), 10**6)
PRODUCT = Layer("p", "Linear", 8256, 33024, (64, 128), 2 * 8192)


def asked(*layers, changes=("level=balanced",)):
    model = replace(case.MODEL, layers=layers, flops=sum(layer.flops or 0 for layer in layers))
    return case.decide(case.bound(case.RECIPE, *changes), case.AVX2, model, case.DATA)


def rejected(decisions):
    lines = [line for line in decisions.decisions if line.subject == "quantization.method"]
    return {other.value: other.because for line in lines for other in line.rejected}


def test_offers_one_scale_for_a_weight_beside_one_a_channel_where_products_decide():
    chains = {chain.id: chain for chain in asked(PRODUCT).settled.chains}
    assert chains["ort.static.per_tensor"].method == "ort.static"
    assert chains["ort.static.per_tensor"].options["per_channel"] is False
    assert "per_channel" not in chains["ort.static"].options


def test_leaves_it_out_with_the_share_where_convolutions_decide():
    reasons = rejected(asked(CONVOLUTION, PRODUCT))
    assert reasons["ort.static.per_tensor"] == (
        "one scale for a weight makes products faster, and they are 2% of the arithmetic"
    )
    unknown = replace(PRODUCT, flops=None)
    assert "not known" in rejected(asked(unknown))["ort.static.per_tensor"]


def test_makes_no_variant_of_a_method_that_the_recipe_names():
    chains = asked(PRODUCT, changes=("quantization.method=ort.static",)).settled.chains
    assert [chain.id for chain in chains if not chain.mends] == ["ort.static"]


def test_prices_a_variant_by_its_own_arithmetic_wherever_its_options_come_from():
    usual, special = Arithmetic(held=0.5), Arithmetic(held=0.25)
    variants = (Variant("plain", {"a": 1}), Variant("special", {"b": False}, arithmetic=special))
    method = Method("toy", takes="onnx", arithmetic=usual, variants=variants)
    assert arithmetic_with(method, {"a": 1, "b": True}) is usual
    assert arithmetic_with(method, {"a": 2, "b": False}) is special


def test_offers_it_whatever_decides_where_size_comes_first_as_its_file_is_smaller():
    first = ("level=balanced", "search.objective=[size, latency]")
    assert "ort.static.per_tensor" in {chain.id for chain in asked(CONVOLUTION, PRODUCT, changes=first).settled.chains}
    second = ("level=balanced", "search.objective=[latency, size]")
    assert "ort.static.per_tensor" in rejected(asked(CONVOLUTION, PRODUCT, changes=second))
