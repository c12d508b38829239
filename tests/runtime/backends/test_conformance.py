"""Every engine keeps the promises of its `BACKEND`, and every kind of model those of its own."""

import math
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

from titrant.runtime import catalog
from titrant.runtime.api import apply as apply_operator
from titrant.runtime.backends import backend, kinds, stamp
from titrant.runtime.backends.session import open_session
from titrant.schema.cost import Unmet
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import Gpu, Hardware, HardwareIdentity
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.extensions import extensions
from titrant.schema.values.files import digest_file

ENGINES = backend.names()
KINDS = tuple(backend.kinds())
RUN = [(engine, kind) for engine in ENGINES for kind in backend.get(engine).costs]
FORMATS = [kind.name for kind in backend.kinds().values() if kind.format]
FILES = [kind.name for kind in backend.kinds().values() if kind.format and kind.file]
SNIPPETS = [kind.name for kind in backend.kinds().values() if kind.snippet]
HEAVY = ("torch", "onnx", "onnxruntime", "openvino", "numpy")
PRECISIONS = {"fp32", "fp16", "bf16", "fp64", "int8", "int4"}


# What was made of each kind, once: no test changes it.
KEPT = {}


@pytest.fixture(scope="module")
def quick_frames():
    """Let g++ leave the frame around a package's kernels as it is, which takes it half as long.

    `torch/test_compiled.py` has a package compiled as users do.
    """
    import torch._inductor.config as inductor

    with inductor.patch({"aot_inductor.compile_wrapper_opt_level": "O0"}):
        yield


@pytest.fixture
def made(torch_model, rows, tmp_path_factory, quick_frames):
    """Make a tiny model of a kind, by the conversions that lead to it."""

    def make(kind):
        if kind in KEPT:
            return KEPT[kind]
        value = torch_model("TinyNet", 1, 6, 6)
        for operator, given in backend.conversion("torch", kind):
            ports = catalog.get(operator).inputs
            inputs = {"model": value} | ({"example": rows(1, 6, 6)} if "example" in ports else {})
            value = apply_operator(operator, inputs, scratch=tmp_path_factory.mktemp(given)).outputs["model"]
        return KEPT.setdefault(kind, value)

    return make


def machine(gpus, packages):
    identity = HardwareIdentity("linux", "x86_64", "toy", ("avx2",), 2, 1 << 33, gpus, "3.11", packages)
    return Hardware(identity)


@pytest.mark.parametrize("name", ENGINES)
def test_is_declared_under_its_name(name):
    engine = backend.get(name)
    assert engine.name == name
    assert engine.packages
    assert all(kind == made.name for kind, made in engine.kinds.items())


def test_imports_no_engine_to_declare_them():
    code = (
        "import sys\nfrom titrant.runtime.backends import backend\n"
        f"backend.all_backends(); print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ENGINES)
def test_states_finite_costs_for_every_kind_of_its_own(name):
    engine = backend.get(name)
    assert {*engine.kinds} <= {*engine.costs}
    for cost in engine.costs.values():
        held = {item.name: getattr(cost, item.name) for item in fields(cost)}
        numbers = [*held.pop("work_passes").values(), *held.values()]
        assert all(math.isfinite(number) and number >= 0 for number in numbers)
        assert cost.reached > 0
        assert cost.held > 0


DEVICES = ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ENGINES)
def test_says_what_keeps_it_from_a_device_and_runs_on_one(name):
    packages = dict.fromkeys(backend.get(name).packages, "1")
    gpus = {device: () if device == "cpu" else (Gpu(0, "any", device, 1 << 34, "8.0", "1"),) for device in DEVICES}
    unmet = {device: backend.get(name).device_unmet(device, machine(gpus[device], packages)) for device in DEVICES}
    assert all(lack is None or (isinstance(lack, Unmet) and lack.cause) for lack in unmet.values())
    assert None in unmet.values()


@pytest.mark.parametrize("kind", KINDS)
def test_can_be_made_of_a_torch_module(kind):
    assert backend.conversion("torch", kind) is not None


@pytest.mark.parametrize("kind", FORMATS)
def test_has_a_format_that_the_language_takes(kind):
    from titrant.schema.recipe.deploy import FORMATS as NAMES

    form = backend.kinds()[kind].format
    assert form in NAMES or form in extensions("formats")
    assert backend.kind_of_format(form).name == kind


@pytest.mark.parametrize("kind", KINDS)
def test_reads_back_what_it_wrote_with_the_same_bytes(kind, made, rows, tmp_path):
    value = made(kind)
    assert value.kind == kind
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        kinds.save(kind, value, folder)
        value = kinds.load(kind, folder)
        assert value.kind == kind
    files = [{file.name: digest_file(file) for file in folder.iterdir()} for folder in folders]
    assert files[0] == files[1]
    named = backend.kinds()[kind].file
    assert not named or list(files[0]) == [named]
    engine = backend.engines_of(kind)[0]
    with_it = answered(engine, value, rows)
    np.testing.assert_allclose(with_it, answered(engine, made(kind), rows), rtol=1e-5, atol=1e-6)


def answered(engine, model, rows, count=5):
    session = open_session(engine, model, threads=1)
    try:
        return session.run({name: rows(1, 6, 6, count=count).inputs["x"] for name in session.input_names})["logits"]
    finally:
        session.close()


# What needs care in one format or another: quotes, brackets, line ends, other scripts, a piece of a format's own text.
RELEASES = ({"verdict": "PASS", "batch": 64}, {"name": '<a & "b"> </rt_info></net>\n\u00e9\u6f22\'', "verdict": "FAIL"})


def test_can_carry_the_facts_of_a_release_in_every_format_of_titrants_own():
    own = [name for name in backend.names() if name not in extensions("backends")]
    assert all(kind.stamp for name in own for kind in backend.get(name).kinds.values() if kind.format)


@pytest.mark.parametrize("kind", [name for name in FORMATS if backend.kinds()[name].stamp])
def test_carries_the_facts_of_a_release_and_answers_bit_for_bit_as_before(kind, made, rows, tmp_path):
    model, engine = backend.kinds()[kind], backend.engines_of(kind)[0]
    folder = tmp_path / "released"
    folder.mkdir()
    kinds.save(kind, made(kind), folder)
    file = folder / model.stamp.file
    judged = answered(engine, kinds.load(kind, folder), rows).tobytes()
    assert model.stamp.read(file) == ""
    for facts in RELEASES:
        digest = stamp.digest(model.stamp, file, facts)
        stamp.write(model.stamp, file, facts)
        assert digest_file(file) == digest
        assert model.stamp.read(file) == canonical_json(facts)
        assert answered(engine, kinds.load(kind, folder), rows).tobytes() == judged
    assert model.file in ("", *(path.name for path in folder.iterdir()))


@pytest.mark.parametrize(("engine", "kind"), RUN)
def test_answers_as_the_module_does(engine, kind, made, rows):
    expected = answered("torch", made("torch"), rows)
    np.testing.assert_allclose(answered(engine, made(kind), rows), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("engine", "kind"), RUN)
def test_names_inputs_and_outputs_and_takes_any_batch(engine, kind, made, rows):
    with backend.get(engine).open(made(kind), threads=1) as session:
        assert (session.input_names, session.output_names, session.fixed_batch) == (("x",), ("logits",), None)
        answers = session.run(rows(1, 6, 6, count=3).inputs)
    assert {name: (array.shape, array.dtype.name) for name, array in answers.items()} == {"logits": ((3, 2), "float32")}


@pytest.mark.parametrize(("engine", "kind"), RUN)
@pytest.mark.parametrize("inputs", [{"y": (3, 1, 6, 6)}, {"x": (3, 1, 6, 7)}], ids=["another name", "another shape"])
def test_refuses_rows_that_the_model_does_not_take(engine, kind, inputs, made):
    given = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
    with backend.get(engine).open(made(kind), threads=1) as session, pytest.raises(StepError, match="X201"):
        session.run(given)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("content", [b"not a model", None], ids=["damaged", "missing"])
def test_says_that_a_file_cannot_be_loaded(kind, content, tmp_path):
    engine = backend.engines_of(kind)[0]
    path = tmp_path / backend.kinds()[kind].file
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StepError, match=f"X212: {engine} cannot load {path.name}"):
        backend.get(engine).open(backend.kinds()[kind].load(path), threads=1)


@pytest.mark.parametrize(("engine", "kind"), RUN)
def test_reads_back_the_precision_of_every_layer_with_weights(engine, kind, made):
    executed = backend.get(engine).executed(made(kind), threads=1)
    assert len(executed) == 2  # TinyNet's convolution and its linear layer
    assert {layer.precision for layer in executed} <= PRECISIONS
    assert all(layer.node and layer.engine_op for layer in executed)


@pytest.mark.parametrize("kind", SNIPPETS)
def test_shows_code_that_loads_the_file_without_titrant(kind, made, rows, tmp_path):
    snippet = backend.kinds()[kind].snippet
    place = tmp_path / "model"
    place.mkdir()
    kinds.save(kind, made(kind), place)
    file = place / backend.kinds()[kind].file if backend.kinds()[kind].file else place
    code = snippet.format(file=repr(str(file)), batch="a batch", output="0", decide="answers = outputs")
    import torch

    batch = rows(1, 6, 6, count=5).inputs["x"]
    scope = {"batch": torch.from_numpy(batch) if "torch." in snippet else batch}
    exec(compile(code, "snippet", "exec"), scope)
    np.testing.assert_allclose(scope["answers"], answered("torch", made("torch"), rows), rtol=1e-4, atol=1e-5)
