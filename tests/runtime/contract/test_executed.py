"""The row `executed` fails a layer that runs otherwise than asked, and stays open where that cannot be told."""

from dataclasses import replace

import numpy as np
import pytest

from titrant.runtime.contract.evidence import Evidence
from titrant.runtime.contract.judge import judgement
from titrant.runtime.values import Rows
from titrant.schema.gate import AS_PLANNED, EXECUTED, Contract, Gate
from titrant.schema.record import ENGINES_CHOICE, UNKNOWN, LayerPrecision, share_as_planned
from titrant.schema.values.canonical import plain

GATE = Gate(EXECUTED, EXECUTED, AS_PLANNED, "all", "at_least", 1.0, "read_back", "every contract")
SIZE = Gate("size", "target", "size", "all", "at_most", 100.0, "counted", "x", "B")
NONE = np.zeros(2, np.int64)
ROWS = Rows("evaluation", {"x": np.zeros((2, 1), np.float32)}, None, NONE, NONE.astype(np.uint64), (), None)

RIGHT = LayerPrecision("a", "int8", "int8", "QGemm")
FLOAT = LayerPrecision("b", "fp32", "fp32", "Conv")
WRONG = LayerPrecision("c", "fp32", "int8", "QLinearConv")
LOST = LayerPrecision("d", "int8", UNKNOWN, "")
CHOSEN = LayerPrecision("e", ENGINES_CHOICE, "fp32", "Convolution")
BESIDE = LayerPrecision("", ENGINES_CHOICE, "fp32", "MatMul")


def judged(*layers, untold="", require="proof", gates=(GATE, SIZE), asked=True):
    executed = {"layers": plain(layers), "untold": untold} if asked else None
    evidence = Evidence(ROWS, None, None, np.ones(2, bool), size=10, executed=executed)
    return judgement(Contract(gates, 0.95, require), "c", evidence)


def test_passes_where_every_layer_runs_as_planned_and_counts_them():
    result = judged(RIGHT, replace(RIGHT, name="z"), FLOAT).results[0]
    assert (result.verdict, result.estimate, result.cases) == ("PASS", 1.0, 3)
    assert result.reason.startswith("every layer runs as planned: 2 in int8, 1 in fp32")


@pytest.mark.parametrize("require", ["proof", "evidence"])
def test_fails_and_is_not_released_where_one_layer_runs_otherwise(require):
    made = judged(RIGHT, FLOAT, WRONG, LOST, require=require)
    assert (made.verdict, made.released, made.results[0].changed) == ("FAIL", False, 1)
    assert "the engine runs c in int8 (QLinearConv), planned fp32, and 2 layers as planned" in made.results[0].reason


@pytest.mark.parametrize(("require", "released"), [("proof", False), ("evidence", True)])
def test_stays_open_where_a_layer_cannot_be_found(require, released):
    made = judged(RIGHT, LOST, require=require)
    assert (made.verdict, made.released, made.proven) == ("INCONCLUSIVE", released, False)
    assert "d cannot be found in what the engine runs" in made.results[0].reason


@pytest.mark.parametrize("require", ["proof", "evidence"])
def test_stays_open_where_the_engine_cannot_tell_or_was_not_asked(require):
    for made in (judged(untold="it has no such call", require=require), judged(asked=False, require=require)):
        assert (made.results[0].verdict, made.released) == ("INCONCLUSIVE", False)


def test_says_what_runs_where_no_layer_has_a_planned_precision():
    made = judged(replace(BESIDE, executed="int8", engine_op="QGemm"))
    assert made.results[0].verdict == "PASS"
    assert "no layer whose precision is planned; the engine runs int8 (QGemm)" in made.results[0].reason


def test_asks_nothing_of_what_the_engine_chooses():
    result = judged(RIGHT, CHOSEN, BESIDE).results[0]
    assert result.verdict == "PASS"
    assert "1 in fp32 by the engine's choice" in result.reason


def test_proves_nothing_alone():
    """That a file runs as planned says nothing of its answers."""
    assert judged(RIGHT, gates=(GATE,)).verdict == "INCONCLUSIVE"


def test_counts_a_layer_once_however_often_it_runs():
    assert share_as_planned((RIGHT, replace(RIGHT, executed="fp32"), FLOAT)) == 0.5
    assert share_as_planned((CHOSEN, LOST)) is None
