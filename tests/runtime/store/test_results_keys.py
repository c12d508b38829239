"""Step keys change with everything that can change a result, and with nothing else."""

from dataclasses import replace

import pytest

from titrant.runtime.store.declarations import Described
from titrant.runtime.store.results import step_key
from titrant.schema.record import Artifact

DESCRIBED = Described("toy.make", 1, "exact", ("numpy", "absent-library"), {"model": "value"})
FILE = {"path": "/a/weights.pt", "digest": "d1"}
INPUTS = {"model": Artifact("value", "aa", 3), "more": {"x": Artifact("value", "bb", 3)}}


@pytest.fixture
def key(make_plan):
    plan = make_plan((1,))
    step = replace(plan.steps[1], params={"file": FILE, "level": 1})

    def of(*, described=DESCRIBED, inputs=INPUTS, plan_changes=None, machine=None, **changes):
        changed = replace(plan, hardware=replace(plan.hardware, **(machine or {})), **(plan_changes or {}))
        return step_key(changed, replace(step, **changes), described, inputs).digest

    return of


@pytest.mark.parametrize(
    "change",
    [
        {"operator": "toys:other"},
        {"described": replace(DESCRIBED, version=2)},
        {"params": {"file": FILE, "level": 2}},
        {"params": {"file": {**FILE, "digest": "d2"}, "level": 1}},
        {"params": {"file": FILE, "level": 1, "device": "cuda"}},
        {"inputs": {**INPUTS, "model": Artifact("value", "cc", 3)}},
        {"inputs": {**INPUTS, "more": {"y": Artifact("value", "bb", 3)}}},
        {"seed": 8},
        {"plan_changes": {"threads": 2}},
        {"plan_changes": {"deterministic": False}},
        {"machine": {"packages": {"numpy": "2.5"}}},
        {"machine": {"instructions": ("avx2", "avx512_vnni")}},
        {"machine": {"machine": "aarch64"}},
        {"machine": {"python": "3.12.0"}},
    ],
    ids=str,
)
def test_changes_with(key, change):
    assert key(**change) != key()


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"file": {**FILE, "path": "/b/renamed.pt"}, "level": 1}},
        {"id": "renamed"},
        {"because": "another reason"},
        {"inputs": {**INPUTS, "model": Artifact("value", "aa", 4)}},
        {"plan_changes": {"name": "renamed", "recipe_digest": "other"}},
        {"machine": {"packages": {"numpy": "2.4", "torch": "9"}}},
        {"machine": {"cpu": "another processor of the same kind", "cores": 64}},
    ],
    ids=str,
)
def test_does_not_change_with(key, change):
    assert key(**change) == key()


def test_changes_with_the_processor_where_something_is_measured(key):
    measured = replace(DESCRIBED, determinism="measured")
    assert key(described=measured) != key(described=measured, machine={"cpu": "another"})
