"""What the worker is told to let go of after a step: what no later step of the plan reads."""

from titrant.runtime.run.perform import _freed
from titrant.runtime.run.walk import StepTask
from titrant.runtime.store.results import StepKey
from titrant.schema.plan import Step
from titrant.schema.record import Artifact


def artifact(digest):
    return Artifact("rows", digest, 1)


def task(inputs, given, frees):
    step = Step("s", "validate.predict", 1, {}, inputs, 42, "make", frees=frees)
    return StepTask(step, StepKey("k", {}), given, "")


def test_names_the_digests_of_values_that_nobody_reads_again():
    asked = task(
        {"model": "fit.model", "rows": "t.train"}, {"model": artifact("m"), "rows": artifact("r")}, ("t.train",)
    )
    assert _freed(asked) == ["r"]


def test_looks_into_ports_that_take_many_and_leaves_out_what_was_rejected():
    asked = task({"models": {"a": "a.model", "b": "b.model"}}, {"models": {"a": artifact("a")}}, ("a.model", "b.model"))
    assert _freed(asked) == ["a"]


def test_frees_nothing_without_a_hint():
    assert _freed(task({"model": "fit.model"}, {"model": artifact("m")}, ())) == []
