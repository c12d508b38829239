"""Memory and disk: counted from below, so that what is refused cannot run."""

import importlib.util
from dataclasses import replace
from pathlib import Path

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.compiler.predict.memory import Case, capacity_now, capacity_of, needs, short_of
from titrant.schema.cost import WORKER_BYTES, Capacity, Need
from titrant.schema.facts import Gpu, GpuState, HardwareVolatile
from titrant.schema.language.parse import parse

specification = importlib.util.spec_from_file_location("small_recipes", Path(__file__).parents[1] / "small_recipes.py")
small = importlib.util.module_from_spec(specification)
specification.loader.exec_module(small)
DATA = small.JUDGED


def counted(model=small.MODEL, data=DATA):
    bound = bind(parse(small.TABULAR, "x.yaml", folder=Path(), overrides=("quantization.method=auto",)))
    plan = compile_plan(bound, small.HARDWARE, small.MODEL, DATA)
    return needs(Case(plan, model, data))


def certain(found):
    """Return the steps that run whatever the search asks."""
    return [step for step in found if not step.endswith((".evaluation", ".contract"))]


def test_counts_the_worker_the_rows_that_are_read_the_weights_and_their_gradients():
    found = counted()
    row = sum(4 * spec.shape[1] for spec in DATA.inputs)
    assert found["split"].memory_bytes == WORKER_BYTES
    tuning = DATA.roles["tuning"].rows * row
    assert found["baseline.tuning"].memory_bytes == WORKER_BYTES + tuning + small.MODEL.weight_bytes
    assert found["fit"].memory_bytes > WORKER_BYTES + DATA.roles["train"].rows * row


def test_counts_stored_rows_and_weights_in_the_fewest_bits():
    found = counted()
    assert found["transform"].output_bytes == sum(role.rows for role in DATA.roles.values()) * sum(
        4 * spec.shape[1] for spec in DATA.inputs
    )
    assert 0 < found["ort.static"].output_bytes < found["onnx-fp32"].output_bytes
    assert found["latency"].output_bytes == 0


def test_refuses_memory_below_what_torch_itself_takes_and_names_the_smallest_that_could_do():
    needed = counted()
    (found,) = short_of(needed, certain(needed), Capacity(memory_bytes=64 << 20))
    assert found.code == "P025"
    assert "128.0 MiB of memory or more, and this machine has 64.0 MiB" in found.message
    assert found.help == "run it where there is more than 128.0 MiB, most of which torch itself takes (128.0 MiB)"


def test_names_the_step_that_needs_most_where_rows_or_weights_do():
    wide = tuple(replace(spec, shape=("batch", 10**6)) for spec in DATA.inputs)
    needed = counted(data=replace(DATA, inputs=wide))
    (found,) = short_of(needed, certain(needed), Capacity(memory_bytes=512 << 20))
    assert found.message.startswith("step fit needs 1.4 GiB of memory or more, and this machine has 512.0 MiB")
    assert "a smaller model or fewer rows" in found.help


def test_lets_weights_beside_a_file_be_larger_than_memory_where_a_step_holds_fewer():
    large = replace(small.MODEL, weight_bytes=64 << 30)
    inside, beside = counted(large), counted(replace(large, apart_bytes=64 << 30))
    machine = Capacity(memory_bytes=2 << 30)
    for step in ("baseline.tuning", "onnx-fp32"):  # one runs the file, one makes another and predicts what it holds
        assert [lack.code for lack in short_of(inside, [step], machine)] == ["P025"]
        assert short_of(beside, [step], machine) == ()


def test_says_what_is_free_now_where_others_take_the_rest():
    (found,) = short_of({"fit": Need(3 << 30)}, ["fit"], Capacity(memory_bytes=1 << 30, free=True))
    assert found.message == "step fit needs 3.0 GiB of memory or more, and 1.0 GiB are free now"
    assert found.help.startswith("end what else runs here until 3.0 GiB are free, or run it where there is more than")


def test_refuses_a_disk_below_what_is_certain_to_be_written():
    needed = counted()
    (found,) = short_of(needed, certain(needed), Capacity(disk_bytes=16 << 10))
    assert (found.code, found.message.endswith("and 16.0 KiB are free on the disk")) == ("P024", True)
    assert "set TITRANT_HOME to a folder on another disk" in found.help


def test_needs_no_room_for_what_is_stored_already():
    needed, full = counted(), Capacity(memory_bytes=64 << 20, disk_bytes=1)
    assert len(short_of(needed, certain(needed), full)) == 2
    assert short_of(needed, (), full) == ()
    assert [one.code for one in short_of(needed, ["split"], full)] == ["P025"]


def test_refuses_nothing_where_nothing_is_known():
    needed = counted()
    assert short_of(needed, certain(needed), Capacity()) == ()


def test_holds_weights_against_the_memory_of_the_accelerator_that_a_step_runs_on():
    gpu = Gpu(0, "small", "cuda", 1 << 30, "7.5")
    identity = replace(small.HARDWARE.identity, gpus=(gpu,), memory_bytes=64 << 30)
    machine = replace(small.HARDWARE, identity=identity)
    needed = {"latency": Need(WORKER_BYTES, 0, "cuda:0", 3 << 30)}
    (found,) = short_of(needed, needed, capacity_of(machine))
    assert found.message == "step latency needs 3.0 GiB of memory on cuda:0 or more, and cuda:0 has 1.0 GiB"
    busy = HardwareVolatile(8 << 30, 1 << 40, (GpuState(0, 1 << 20),))
    now = capacity_now(replace(machine, volatile=busy))
    assert (now.devices, now.memory_bytes, now.free) == ({"cuda:0": 1 << 20}, 8 << 30, True)
    assert capacity_now(replace(machine, volatile=busy), worker=True).memory_bytes == (8 << 30) + WORKER_BYTES


def test_leaves_weights_out_of_the_machines_memory_where_they_lie_on_an_accelerator():
    bound = bind(parse(small.TABULAR, "x.yaml", folder=Path(), overrides=("target.device=cuda", "target.engine=torch")))
    identity = replace(small.HARDWARE.identity, gpus=(Gpu(0, "any", "cuda", 1 << 34, "9.0"),))
    plan = compile_plan(bound, replace(small.HARDWARE, identity=identity), small.MODEL, DATA)
    latency = needs(Case(plan, small.MODEL, DATA))["latency"]
    batch = latency.batch * latency.case_bytes
    assert (latency.batch, latency.case_bytes) == (32, 4 * (30 + 2))
    assert (latency.device, latency.device_bytes) == ("cuda:0", small.MODEL.weight_bytes + batch)
