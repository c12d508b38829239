"""Every kind of node of the ONNX standard is answered as the standard says, or refused: none ends in a traceback."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import node_cases

# Every so many of the functions that make the 1,884: all of them take a minute, as `benchmarks/node_cases.py`.
EVERY = 24


def test_a_sample_of_all_node_cases_is_answered_rightly_or_refused():
    found = list(node_cases.outcomes(node_cases.cases(EVERY)))
    assert [case for case in found if case.kind in node_cases.WRONG] == []
    answered = [case for case in found if case.kind == "answered and planned"]
    assert len(answered) > len(found) // 3
    assert all(case.reason for case in found if case not in answered)
