"""Weights: what was taken off, chosen and left out stands in the plan, each as a line with its place."""

from dataclasses import replace

import pytest
from tests.compiler import case

from titrant.schema.seen import LoadedWeights

PLAIN = LoadedWeights("w.ckpt", 4, 643)


def lines(loaded):
    model = replace(case.MODEL, weights=loaded)
    decisions = case.decided(case.RECIPE, "model.weights=included", model=model).decisions
    return {line.rule: line for line in decisions if line.rule.startswith("weights.")}


def test_says_nothing_of_a_file_that_is_as_the_model_is():
    assert lines(None) == lines(PLAIN) == {}


@pytest.mark.parametrize(
    ("change", "rule", "chosen"),
    [
        ({"key": "state_dict"}, "weights.key", "those under `state_dict` of w.ckpt"),
        ({"prefix": "module."}, "weights.prefix", "`module.` is removed from 4 names"),
        ({"added": "net."}, "weights.added", "`net.` is put before 4 names"),
        ({"wrappers": ("_orig_mod",)}, "weights.wrappers", "`_orig_mod` are dropped from names"),
        ({"casts": (("float16", "float32", 1),)}, "weights.type", "float16 → float32, 1 tensor"),
        ({"others": tuple("abcdef")}, "weights.beside", "not read: a, b, c, d and 2 more"),
        ({"shards": 3}, "weights.shards", "3 files as one"),
        ({"counters": 2}, "weights.counters", "2 batch counters start at 0"),
        ({"tied": 1}, "weights.tied", "1 tensor held once"),
        ({"values_read": False}, "weights.values", "names and shapes compared so far"),
    ],
)
def test_says_each_adjustment_once_with_its_place(change, rule, chosen):
    made = lines(replace(PLAIN, **change))
    assert list(made) == [rule]
    assert made[rule].chosen == chosen
    assert made[rule].where


def test_says_what_of_the_file_was_left_out():
    line = lines(replace(PLAIN, left_out=(("model_ema", 4),)))["weights.key"]
    assert [(rejected.value, rejected.because) for rejected in line.rejected] == [("model_ema", "4 tensors left out")]
