"""What a report says of a reduced network: what is gone, and what is only zero."""

from types import SimpleNamespace

import pytest

from titrant.runtime.report.gain_rows import reduced_words
from titrant.schema.record import Measurement


def record(**measured):
    """A chain of steps from the original to the candidate, each with what it measured; another branch beside."""
    names = ["fit", *measured]
    steps = [
        SimpleNamespace(id=name, operator=f"prune.{name}", inputs={"model": f"{before}.model"} if before else {})
        for name, before in zip(names, ["", *names], strict=False)
    ]
    results = [
        SimpleNamespace(
            step=name,
            result=SimpleNamespace(measurements=tuple(Measurement(key, value) for key, value in values.items())),
        )
        for name, values in measured.items()
    ]
    beside = SimpleNamespace(step="beside", result=SimpleNamespace(measurements=(Measurement("weights_masked", 0.9),)))
    other = SimpleNamespace(id="beside", inputs={"model": "fit.model"})
    candidate = SimpleNamespace(model=f"{names[-1]}.model")
    return SimpleNamespace(
        plan=SimpleNamespace(steps=(*steps, other)), run=SimpleNamespace(steps=(*results, beside))
    ), candidate


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (
            {"blocks": {"parameters_removed": 0.25}, "file": {}},
            "prune.blocks: 0.2500 of the parameters are gone, compressed 1.33 times",
        ),
        ({"mask": {"weights_masked": 0.5}, "file": {}}, "prune.mask: 0.5000 of the weights are 0 and still there"),
        (
            {"a": {"parameters_removed": 0.5}, "b": {"parameters_removed": 0.5}, "c": {"weights_masked": 0.1}},
            "prune.a: 0.5000 of the parameters are gone, compressed 2.00 times; "
            "prune.b: 0.5000 of the parameters are gone, compressed 2.00 times; "
            "prune.c: 0.1000 of the weights are 0 and still there",
        ),
        ({"file": {}}, ""),
    ],
)  # fmt: skip
def test_tells_what_is_gone_from_what_is_zero(measured, words):
    assert reduced_words(*record(**measured)) == words
