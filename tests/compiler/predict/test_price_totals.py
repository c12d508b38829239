"""Totals: what adds up."""

import importlib.util
from pathlib import Path

from titrant.compiler.predict.price import Totals, totals
from titrant.schema.plan import Prediction

specification = importlib.util.spec_from_file_location("toy_plan", Path(__file__).parents[1] / "toy_plan.py")
toys = importlib.util.module_from_spec(specification)
specification.loader.exec_module(toys)


def test_adds_up_time_and_output_and_takes_the_largest_peak():
    steps = [
        toys.step("a", "rows", prediction=Prediction(1.5, 100, 10, "counted")),
        toys.step("b", "rows", prediction=Prediction(0.5, 300, 20, "modelled")),
        toys.step("c", "rows", prediction=Prediction(None, None, 5, "measured")),
    ]
    assert totals(steps) == Totals(3, 2.0, 300, 35, 1)


def test_adds_the_loading_of_a_library_once():
    steps = [
        toys.step("a", "rows", prediction=Prediction(1.0, loads={"torch": 2.0, "onnx": 0.5})),
        toys.step("b", "rows", prediction=Prediction(1.0, loads={"torch": 2.5})),
    ]
    assert totals(steps).seconds == 1.0 + 1.0 + 2.5 + 0.5


def test_knows_nothing_of_nothing():
    assert totals([]) == Totals(0, None, None, None, 0)
    assert totals([toys.step("a", "rows", prediction=Prediction(peak_bytes=7))]) == Totals(1, None, 7, None, 1)
