"""AOTInductor and PT2E: packages of machine code, what they really run, and where they do not."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from titrant.compiler.machine.detect import cpp_compiler
from titrant.runtime import catalog
from titrant.runtime.api import apply as apply_operator
from titrant.runtime.backends import backend
from titrant.runtime.inspect.torch import describe_live
from titrant.runtime.values import CompiledModel, Rows, TorchModel
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import Hardware, HardwareIdentity, TensorSpec

# To look is enough: to load it takes two seconds of every worker.
pytestmark = pytest.mark.skipif(
    find_spec("torchao") is None, reason="torchao is an extra: pip install 'titrant[torchao]'"
)

WIDTHS = (120, 200, 40, 2)
NAMES = ("layers.0", "layers.2", "layers.4")
needs_compiler = pytest.mark.skipif(not cpp_compiler(), reason="there is no C++ compiler")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A stack of linear layers quantized by PT2E but for its last one: model, package, measurements, rows."""
    import torch
    from operator_nets import Stack

    torch.manual_seed(3)
    specs = (("x", ("batch", WIDTHS[0]), "float32"),)
    model = TorchModel(Stack(WIDTHS).eval(), "m:Stack", {}, "", specs, ("logits",))
    x = np.random.default_rng(2).normal(size=(70, WIDTHS[0])).astype(np.float32)
    numbers = np.arange(len(x))
    rows = Rows("calibration", {"x": x}, None, numbers, numbers.astype(np.uint64))
    folder = tmp_path_factory.mktemp
    exported = apply_operator("export.exported", {"model": model, "example": rows}, scratch=folder("e"))
    given = {"model": exported.outputs["model"], "calibration": rows}
    params = {"batch": 16, "leave": NAMES[2:]}
    done = apply_operator("quantize.torchao_pt2e", given, params, scratch=folder("q"))
    return model, done.outputs["model"], done.measurements, x


@needs_compiler
def test_runs_int8_kernels_for_the_layers_that_it_quantizes_and_says_so(compiled):
    _, package, measurements, _ = compiled
    executed = backend.get("torch").executed(package, layers=NAMES)
    assert [(layer.name, layer.precision) for layer in executed] == [
        (NAMES[0], "int8"), (NAMES[1], "int8"), (NAMES[2], "fp32"),
    ]  # fmt: skip
    assert all(layer.engine_op.startswith("_qlinear") for layer in executed[:2])
    assert measurements["quantized_layers"] == 2


@needs_compiler
def test_answers_batches_of_any_size_nearly_as_the_module_does(compiled):
    model, package, _, x = compiled
    with (
        backend.get("torch").open(model, threads=1) as module,
        backend.get("torch").open(package, threads=1) as session,
    ):
        assert session.fixed_batch is None
        for count in (1, 5, 70):
            expected = module.run({"x": x[:count]})["logits"]
            given = session.run({"x": x[:count]})["logits"]
            assert np.abs(given - expected).max() < 0.1 * np.abs(expected).max()


@needs_compiler
def test_holds_no_folder_of_this_machine_and_no_source(compiled):
    from titrant.runtime.backends.torch.program.export import read_records

    records = read_records(compiled[1].path)
    assert not any(name.endswith(".cpp") for name in records)
    assert not any(b"site-packages/torch" in text or b"torchinductor_" in text for text in records.values())


@needs_compiler
def test_predicts_the_size_of_a_package(compiled):
    model, package, _, _ = compiled
    facts = describe_live(model.module, (TensorSpec("x", ("batch", WIDTHS[0]), "float32"),))
    declaration = catalog.get("quantize.torchao_pt2e")
    predicted = declaration.predict(declaration.params(leave=NAMES[2:]), machine(), facts).output_bytes
    assert predicted == pytest.approx(package.path.stat().st_size, rel=0.03)


@needs_compiler
def test_refuses_a_package_that_was_compiled_for_another_processor(compiled, tmp_path):
    from titrant.runtime.backends.torch.program.export import read_records, write_records

    records = read_records(compiled[1].path)
    said = json.loads(records["extra/titrant.json"])
    records["extra/titrant.json"] = json.dumps({**said, "instructions": [*said["instructions"], "avx1024"]}).encode()
    write_records(records, tmp_path / "model.pt2")
    with pytest.raises(StepError, match=r"X283: .* a processor with avx1024, which this one lacks"):
        backend.get("torch").open(CompiledModel(tmp_path / "model.pt2"), threads=1)


def machine(packages=("torch", "torchao", "c++"), architecture="x86_64"):
    versions = dict.fromkeys(packages, "1")
    return Hardware(HardwareIdentity("linux", architecture, "toy", ("avx2",), 2, 1 << 33, (), "3.11", versions))


@pytest.mark.parametrize("operator", ["export.aoti", "quantize.torchao_pt2e"])
def test_says_that_there_is_no_compiler(operator):
    declaration = catalog.get(operator)
    (lack,) = declaration.requires(declaration.params(), machine(("torch", "torchao")), None)
    assert "no g++" in lack.cause
    assert "g++" in lack.remedy


def test_says_that_the_quantizer_is_for_x86():
    declaration = catalog.get("quantize.torchao_pt2e")
    (lack,) = declaration.requires(declaration.params(), machine(architecture="arm64"), None)
    assert "arm64" in lack.cause


def test_says_that_the_compiler_failed(tmp_path, monkeypatch):
    import torch

    from titrant.runtime.backends.torch.program.compiled import compiled as compile_program

    def fail(*given, **options):
        raise RuntimeError("g++: fatal error")

    program = torch.export.export(torch.nn.Linear(3, 2), (torch.zeros(2, 3),))
    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fail)
    with pytest.raises(StepError, match="X282"):
        compile_program(program, {"inputs": (), "outputs": ()}, tmp_path)


def test_finds_no_compiler_where_there_is_none(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert cpp_compiler() == {}
