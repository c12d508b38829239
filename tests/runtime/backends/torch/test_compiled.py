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

FEATURES = 120
NAMES = ("1", "3", "6", "7", "8")
needs_compiler = pytest.mark.skipif(not cpp_compiler(), reason="there is no C++ compiler")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Convolutions of a one-channel image and products, quantized by PT2E but for the last: model, package, rows.

    The last three products share a weight. Inductor takes the first convolution's output for channels-first, and its
    kernel writes channels-last.
    """
    import torch
    from torch import nn

    torch.manual_seed(3)
    image = (nn.Unflatten(1, (1, 10, 12)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 2, 3), nn.ReLU())
    alike = [nn.Linear(96, 96) for _ in range(3)]
    alike[1].weight = alike[2].weight = alike[0].weight
    module = nn.Sequential(*image, nn.Flatten(), *alike)
    specs = (("x", ("batch", FEATURES), "float32"),)
    model = TorchModel(module.eval(), "m:Images", {}, "", specs, ("logits",))
    x = np.random.default_rng(2).normal(size=(70, FEATURES)).astype(np.float32)
    numbers = np.arange(len(x))
    rows = Rows("calibration", {"x": x}, None, numbers, numbers.astype(np.uint64))
    folder = tmp_path_factory.mktemp
    exported = apply_operator("export.exported", {"model": model, "example": rows}, scratch=folder("e"))
    given = {"model": exported.outputs["model"], "calibration": rows}
    params = {"batch": 16, "leave": NAMES[4:]}
    done = apply_operator("quantize.torchao_pt2e", given, params, scratch=folder("q"))
    return model, done.outputs["model"], done.measurements, x


@needs_compiler
def test_runs_int8_kernels_for_the_layers_that_it_quantizes_and_says_so(compiled):
    _, package, measurements, _ = compiled
    executed = backend.get("torch").executed(package, layers=NAMES)
    assert [(layer.name, layer.precision) for layer in executed] == [
        *((name, "int8") for name in NAMES[:4]), (NAMES[4], "fp32"),
    ]  # fmt: skip
    assert [layer.engine_op[:6] for layer in executed[:3]] == ["_qconv", "_qconv", "_qline"]
    assert measurements["quantized_layers"] == 4


@needs_compiler
def test_lays_out_convolutions_of_one_channel_as_their_kernel_writes_them(compiled):
    assert compiled[2]["parity_relative"] < 1e-5  # without it this is 1, and the package is refused


@needs_compiler
def test_refuses_a_package_that_answers_otherwise_than_its_program(compiled):
    from titrant.runtime.backends.torch.program.parity import Expected, hold

    _, package, _, x = compiled
    batches = ({"x": x[:8]}, {"x": x[:1]})
    with backend.get("torch").open(package, threads=1) as session:
        answers = tuple(session.run(arrays) for arrays in batches)
    moved = (answers[0], {"logits": answers[1]["logits"] * np.float32(1.5)})
    limits = (0.01, "is four times what int8 changed", "use ort.static")
    assert hold(backend.get("torch").open(package, threads=1), Expected(batches, answers, *limits)) == 0.0
    with pytest.raises(StepError) as refused:
        hold(backend.get("torch").open(package, threads=1), Expected(batches, moved, *limits))
    (diagnostic,) = refused.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.help) == (
        "X627",
        "the compiled package does not answer as the program that it was compiled from does: relative difference "
        "0.333, and 0.01 is four times what int8 changed",
        "use ort.static",
    )


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
    facts = describe_live(model.module, (TensorSpec("x", ("batch", FEATURES), "float32"),))
    declaration = catalog.get("quantize.torchao_pt2e")
    predicted = declaration.predict(declaration.params(leave=NAMES[4:]), machine(), facts).output_bytes
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
    from titrant.runtime.backends.torch.program.parity import Expected
    from titrant.runtime.backends.torch.session import Border

    def fail(*given, **options):
        raise RuntimeError("g++: fatal error")

    program = torch.export.export(torch.nn.Linear(3, 2), (torch.zeros(2, 3),))
    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fail)
    with pytest.raises(StepError, match="X282"):
        compile_program(program, Border((), ()), Expected((), (), 0.0, "", ""), tmp_path, 1)


def test_finds_no_compiler_where_there_is_none(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert cpp_compiler() == {}
