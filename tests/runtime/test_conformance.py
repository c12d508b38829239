"""Every operator of the catalog keeps the promises of its declaration."""

import json
import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.operator_pages import HEADINGS, page, sections
from titrant.schema.cost import NOTHING_KNOWN
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.extensions import extensions

CASES_FILE = Path(__file__).parent / "operators" / "conformance_cases.py"
sys.path.insert(0, str(CASES_FILE.parent))

import conformance_cases as cases  # noqa: E402 - lies beside the tests, which are no package

NAMES = catalog.names()
RUN_HERE = list(filter(cases.runs_here, NAMES))
HEAVY = ("torch", "onnx", "onnxruntime", "sklearn", "scipy", "pandas", "pyarrow", "matplotlib", "transformers")
PACKAGES = {
    **{
        "torch": "2",
        "onnx": "1",
        "onnxruntime": "1",
        "openvino": "2026",
        "nncf": "3",
        "bitsandbytes": "0",
        "mlx": "0",
        "torch-pruning": "1",
    },
    **{"torchao": "0", "c++": "12", "torch-pruning": "1"},
    **backend.added_packages(),
}
LAYERS = (
    Layer("convolution", "Conv2d", 36, 144, (4, 1, 3, 3), 1152),
    Layer("normalization", "BatchNorm2d", 8, 72, (4,)),
    Layer("linear", "Linear", 10, 40, (2, 4), 16),
    Layer("wide", "Linear", 520, 2080, (8, 64), 1024),
    Layer("square", "Linear", 262_656, 1_050_624, (512, 512), 524_288),
)
MODEL = ModelFacts("factory", "0", 263_230, 263_230, 1_052_960, LAYERS, (), (), 526_480, 512, blocks=("block",))


# With what it takes to compute in each number format.
NATIVE = ("avx2", "avx512_bf16")


def machine(packages=PACKAGES, instructions=("avx2",)):
    return Hardware(HardwareIdentity("linux", "x86_64", "cpu", instructions, 2, 2**33, (), "3.11", packages))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return cases.Made(tmp_path_factory.mktemp("once"))


@pytest.fixture(scope="module")
def again(made, tmp_path_factory):
    """Return a function that runs a case once more: what it gives, and the digests of its inputs before and after."""

    @cache
    def run(name):
        folder = tmp_path_factory.mktemp("again")
        before = digests_of_inputs(name, made, folder / "home")
        outputs = cases.run(name, made, folder / "scratch")
        return outputs, before, digests_of_inputs(name, made, folder / "home")

    return run


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, session_folder, request):
    """The digests of the outputs that are asked for, from another process: one for all processes of a test session.

    It has another hash seed, so that the order of a set cannot pass for an order. Where other tests have started
    `tests/warm.py` it begins with what is heavy loaded: that is half of what it takes.
    """
    found = session_folder / "conformance.json"
    with FileLock(f"{found}.lock"):
        if not found.exists():
            items = (item for item in request.session.items if "elsewhere" in item.fixturenames)
            names = [item.callspec.params["name"] for item in items]
            folder = tmp_path_factory.mktemp("process")
            # Whoever sets a hash seed sets that of the warm server as well.
            differs = os.environ.get("PYTHONHASHSEED", "random") == "random"
            begun = differs and (session_folder / "warm-server").exists()
            run = request.getfixturevalue("warm") if begun else anew
            done = run(CASES_FILE, folder, *names, cwd=folder, env={})
            assert done.returncode == 0, done.stdout + done.stderr
            found.write_text(done.stdout.splitlines()[-1], "utf-8")
    digests = json.loads(found.read_text("utf-8"))
    assert digests.pop("hash") != hash("titrant")
    return digests


def anew(*arguments, cwd, env):
    """Run Python as `warm` does, but from its start: -u, or what `tests/warm.py` forked would fork this in turn."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    return subprocess.run(
        [sys.executable, "-u", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, **env, "PYTHONHASHSEED": seed},
    )  # fmt: skip


def test_has_a_case_for_every_operator():
    assert set(cases.CASES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_is_called_verified_only_on_devices_on_which_its_case_runs(name, made):
    """A kind of device that a declaration names is one of the cases', and the case left its outputs there."""
    left = {*catalog.get(name).outputs} <= {*made.of(name)}
    ran = {*cases.DEVICES} if left or cases.CASES[name].apart else set()
    assert {*catalog.get(name).verified} <= ran


@pytest.mark.parametrize("name", NAMES)
def test_is_declared_under_the_name_of_its_file(name):
    assert catalog.get(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_reads_back_the_parameters_that_it_writes(name, made):
    params = cases.params_of(name, made)
    assert type(params).model_validate_json(params.model_dump_json()) == params


@pytest.mark.parametrize("name", RUN_HERE)
def test_gives_the_declared_ports_and_kinds(name, made):
    outputs = made.of(name)
    declared = catalog.get(name).outputs
    assert set(outputs) == set(declared)
    for port, kind in declared.items():
        assert kind_of(outputs[port]) == kind


def kind_of(value):
    from titrant.runtime import values

    classes = {
        values.Tables: "tables", values.RowSplit: "split", values.Rows: "rows", values.Transforms: "transforms",
        values.Outputs: "outputs", values.ReportFiles: "report",
    }  # fmt: skip
    if type(value) in classes:
        return classes[type(value)]
    if hasattr(value, "kind"):
        return value.kind
    json.dumps(value, allow_nan=False)
    return "value"


@pytest.mark.parametrize("name", RUN_HERE)
def test_leaves_inputs_that_it_does_not_consume_untouched(name, made, again):
    consumed = catalog.get(name).consumes
    kept = {port: value for port, value in cases.inputs_of(name, made).items() if port not in consumed}
    _, before, after = again(name)
    assert after == before
    assert all(not getattr(value, "module", None) or not value.module.training for value in kept.values())


def digests_of_inputs(name, made, home):
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.home import open_home

    store = Store(open_home(home))
    ports = catalog.get(name).inputs
    values = []
    for port, value in cases.inputs_of(name, made).items():
        values += value.values() if ports[port].many else [value]
    return [store.put(kind_of(value), value).digest for value in values]


@pytest.mark.parametrize("name", [name for name in NAMES if catalog.get(name).determinism == "exact"])
def test_gives_the_same_bytes_twice_and_in_another_process(name, made, again, elsewhere, tmp_path):
    outputs = {f"{name}:{port}": value for port, value in again(name)[0].items()}
    first = cases.digests({place: made[place] for place in outputs}, tmp_path / "home")
    assert cases.digests(outputs, tmp_path / "home") == first
    assert {place: elsewhere[place] for place in first} == first


@pytest.mark.parametrize("model", [None, MODEL], ids=["unknown model", "model"])
@pytest.mark.parametrize("name", NAMES)
def test_predicts_finite_and_sane_costs(name, model, made):
    prediction = catalog.get(name).predict(cases.params_of(name, made), machine(), model, NOTHING_KNOWN)
    assert isinstance(prediction, Prediction)
    assert prediction.basis in ("counted", "measured", "modelled", "guess")
    for cost in (prediction.seconds, prediction.peak_bytes, prediction.output_bytes):
        assert cost is None or (math.isfinite(cost) and cost >= 0)
    assert prediction.seconds is None or prediction.seconds < 3600
    for size in (prediction.peak_bytes, prediction.output_bytes):
        assert size is None or (isinstance(size, int) and size < 2**40)


@pytest.mark.parametrize("name", RUN_HERE)
def test_requires_nothing_more_on_a_machine_that_ran_it(name, made):
    assert catalog.get(name).requires(cases.params_of(name, made), machine(instructions=NATIVE), MODEL) == ()


@pytest.mark.parametrize("name", NAMES)
def test_says_what_would_meet_an_unmet_requirement(name, made):
    unmet = catalog.get(name).requires(cases.params_of(name, made), machine(packages={}), MODEL)
    assert isinstance(unmet, tuple)
    for lack in unmet:
        assert lack.cause
        assert lack.remedy


@pytest.mark.parametrize("name", NAMES)
def test_documents_itself_under_the_same_headings(name):
    declaration = catalog.get(name)
    said = sections(declaration.doc)
    assert all(said[heading] for heading in ("", *HEADINGS))
    for port in (*declaration.inputs, *declaration.outputs):
        assert port in said["Inputs"] + said["Outputs"]
    assert page(declaration).startswith(f"# {name}\n")


@pytest.mark.parametrize("name", [name for name in NAMES if catalog.get(name).method is not None])
def test_says_where_the_kernels_of_a_method_run_and_what_it_changes_of_the_cost(name):
    declaration = catalog.get(name)
    method = declaration.method
    assert method.arithmetic is not None or name in extensions("operators")
    assert set(method.devices) <= {"cpu", "cuda", "mps"}
    assert method.takes in declaration.inputs["model"].kinds
    made = declaration.outputs["model"]
    assert not method.format or backend.conversion(made, backend.kind_of_format(method.format).name) is not None
    assert not method.engine or method.format in backend.formats_of(method.engine)
    after = declaration.model_after(declaration.params(), MODEL)
    assert after.parameters <= MODEL.parameters


def test_imports_nothing_heavy_with_an_operator_file():
    code = (
        "import sys\nfrom titrant.runtime import catalog\n"
        "for name in catalog.names(): catalog.get(name)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_finds_a_missing_heading():
    with pytest.raises(ValueError, match="Helps when, Cost"):
        sections("Do it.\n\nHelps when: always\nCost: none")
