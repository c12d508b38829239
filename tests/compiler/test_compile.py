"""Compiling: a bound recipe and facts become a verified plan, or a reason why not."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.compiler.lower.verify import problems
from titrant.schema.diagnostics.diagnostics import InfeasibleError
from titrant.schema.language.parse import parse
from titrant.schema.plan import plan_digest

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parent / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)


def compiled(folder, *overrides, hardware=small.HARDWARE, trace=None):
    bound = bind(parse(small.TABULAR, "x.yaml", folder=folder, overrides=overrides))
    return compile_plan(bound, hardware, small.MODEL, small.JUDGED, trace=trace)


def test_makes_a_sound_plan_with_a_reason_for_every_decision(tmp_path):
    plan = compiled(tmp_path)
    assert problems(plan) == ()
    assert plan.candidates
    assert all(decision.because and decision.rule for decision in plan.decisions)
    assert all(step.because for step in plan.steps)


def test_gives_the_same_plan_wherever_the_recipe_lies(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert plan_digest(compiled(tmp_path)) == plan_digest(compiled(tmp_path / "elsewhere"))


def test_gives_another_plan_for_other_hardware_or_another_seed(tmp_path):
    vnni = replace(small.HARDWARE, identity=replace(small.HARDWARE.identity, instructions=("avx2", "avx_vnni")))
    digests = {
        plan_digest(compiled(tmp_path)),
        plan_digest(compiled(tmp_path, hardware=vnni)),
        plan_digest(compiled(tmp_path, "seed=7")),
    }
    assert len(digests) == 3


def test_does_not_let_free_memory_or_disk_into_the_identity(tmp_path):
    busy = replace(small.HARDWARE, volatile=replace(small.HARDWARE.volatile, disk_free_bytes=10**12))
    assert plan_digest(compiled(tmp_path, hardware=busy)) == plan_digest(compiled(tmp_path))


def test_refuses_a_size_that_the_weights_alone_exceed(tmp_path):
    with pytest.raises(InfeasibleError, match="P023: the smallest file that can be made here") as caught:
        compiled(tmp_path, "target.size=100 B")
    assert caught.value.exit_code == 3
    (found,) = caught.value.diagnostics
    assert "write target.size: 2 KiB or more, which ort.dynamic is expected to keep" in found.help
    assert (found.where.file, found.where.text) == ("--set", "target.size=100 B")


def test_refuses_a_machine_without_what_the_plan_needs(tmp_path):
    bare = replace(small.HARDWARE, identity=replace(small.HARDWARE.identity, packages={"numpy": "2"}))
    with pytest.raises(InfeasibleError) as caught:
        compiled(tmp_path, hardware=bare)
    assert "pip install" in "".join(diagnostic.help for diagnostic in caught.value.diagnostics)


def test_tells_what_each_pass_changed(tmp_path):
    changes = []
    compiled(tmp_path, "quantization.method=auto", trace=changes.append)
    assert [change.name for change in changes] == [
        "drop no-ops", "share", "drop unread", "order by stage", "validate early", "free what is read no more"
    ]  # fmt: skip
    assert "onnx-fp32" in (*changes[1].rewired, *changes[1].added)
