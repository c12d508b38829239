"""Prices: what adds up."""

import importlib.util
from pathlib import Path

from titrant.compiler.price import Totals, totals
from titrant.schema.plan import Prediction

specification = importlib.util.spec_from_file_location("toy_plan", Path(__file__).parent / "toy_plan.py")
toys = importlib.util.module_from_spec(specification)
specification.loader.exec_module(toys)


def test_adds_up_time_and_output_and_takes_the_largest_peak():
    steps = [
        toys.step("a", "rows", prediction=Prediction(1.5, 100, 10, "counted")),
        toys.step("b", "rows", prediction=Prediction(0.5, 300, 20, "modelled")),
        toys.step("c", "rows", prediction=Prediction(None, None, 5, "measured")),
    ]
    assert totals(steps) == Totals(3, 2.0, 300, 35, "modelled", 1)
    assert totals([]) == Totals(0, 0.0, 0, 0, "counted", 0)
