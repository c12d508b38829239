"""Memory and disk: counted from below, so that what is refused cannot run."""

import importlib.util
from dataclasses import replace
from pathlib import Path

from titrant.compiler.room import WORKER_BYTES, Case, least_memory, least_output, short_of

specification = importlib.util.spec_from_file_location("promises", Path(__file__).parent / "test_pass_promises.py")
promises = importlib.util.module_from_spec(specification)
specification.loader.exec_module(promises)
small, DATA = promises.small, promises.DATA


def case(memory=None, disk=None, model=small.MODEL, data=DATA):
    bound = promises.bind(
        promises.parse(small.TABULAR, "x.yaml", folder=Path(), overrides=("quantization.method=auto",))
    )
    plan = promises.compile_plan(bound, small.HARDWARE, small.MODEL, DATA)
    machine = replace(
        small.HARDWARE,
        identity=replace(small.HARDWARE.identity, memory_bytes=memory),
        volatile=replace(small.HARDWARE.volatile, disk_free_bytes=disk),
    )
    return Case(plan, machine, model, data)


def step(asked, identifier):
    return next(one for one in asked.plan.steps if one.id == identifier)


def test_counts_the_worker_the_rows_that_are_read_the_weights_and_their_gradients():
    asked = case()
    row = sum(4 * spec.shape[1] for spec in DATA.inputs)
    assert least_memory(asked, step(asked, "split")) == WORKER_BYTES
    tuning = DATA.roles["tuning"].rows * row
    original = small.MODEL.weight_bytes
    assert least_memory(asked, step(asked, "baseline.tuning")) == WORKER_BYTES + tuning + original
    fit = least_memory(asked, step(asked, "fit"))
    assert fit > WORKER_BYTES + DATA.roles["train"].rows * row


def test_counts_stored_rows_and_weights_in_the_fewest_bits():
    asked = case()
    assert least_output(asked, step(asked, "transform")) == sum(role.rows for role in DATA.roles.values()) * sum(
        4 * spec.shape[1] for spec in DATA.inputs
    )
    assert 0 < least_output(asked, step(asked, "ort.static")) < least_output(asked, step(asked, "onnx-fp32"))
    assert least_output(asked, step(asked, "latency")) == 0


def test_refuses_memory_below_what_torch_itself_takes_and_names_the_smallest_that_could_do():
    (found,) = short_of(case(memory=64 << 20))
    assert found.code == "P025"
    assert "128.0 MiB of memory or more, and this machine has 64.0 MiB" in found.message
    assert found.help == "run it where there is more than 128.0 MiB, most of which torch itself takes (128.0 MiB)"


def test_names_the_step_that_needs_most_where_rows_or_weights_do():
    wide = tuple(replace(spec, shape=("batch", 10**6)) for spec in DATA.inputs)
    (found,) = short_of(case(memory=512 << 20, data=replace(DATA, inputs=wide)))
    assert found.message.startswith("step fit needs 1.4 GiB of memory or more, and this machine has 512.0 MiB")
    assert "a smaller model or fewer rows" in found.help


def test_refuses_a_disk_below_what_is_certain_to_be_written():
    (found,) = short_of(case(disk=16 << 10))
    assert (found.code, found.message.endswith("and 16.0 KiB are free on the disk")) == ("P024", True)
    assert "set TITRANT_HOME to a folder on another disk" in found.help


def test_needs_no_room_for_what_is_stored_already():
    full = case(memory=64 << 20, disk=1)
    assert len(short_of(full)) == 2
    assert short_of(full, frozenset()) == ()
    assert [one.code for one in short_of(full, frozenset({"split"}))] == ["P025"]


def test_refuses_nothing_where_nothing_is_known():
    assert short_of(case()) == ()
