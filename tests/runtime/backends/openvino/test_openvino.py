"""OpenVINO runs what was judged: in f32 unless the file says otherwise, from bytes that the model alone decides."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - the tests write files
import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from onnx import TensorProto, helper  # noqa: TID253
from torch import nn  # noqa: TID253

from titrant.compiler.machine.detect import detect_identity
from titrant.runtime.backends import backend
from titrant.runtime.backends.openvino.convert import converted, write_ir
from titrant.runtime.backends.openvino.ir import IrModel, tensors
from titrant.runtime.backends.openvino.library import compiled, openvino, read_graph
from titrant.runtime.backends.openvino.session import open_session
from titrant.runtime.machine import peak_memory
from titrant.runtime.operators.quantize.openvino_bf16 import NATIVE
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import Gpu, Hardware, HardwareIdentity

HAS_BF16 = bool({*NATIVE}.intersection(detect_identity().instructions))


class Wide(nn.Module):
    """Sums of 256 products, of which bf16 keeps two or three digits."""

    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Linear(256, 4)

    def forward(self, x):
        return self.head(self.front(x).flatten(1))


class Two(nn.Module):
    """Two inputs, one of them numbers of rows in a table, and two outputs."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4), nn.Linear(7, 2)

    def forward(self, words, numbers):
        seen = torch.cat([self.table(words).mean(1), numbers], 1)
        return self.head(seen), seen


def exported(module, folder, inputs, outputs):
    """Export a module with a free batch; `inputs` are name → example."""
    torch.manual_seed(0)
    names = [*inputs, *outputs]
    path = folder / "source.onnx"
    torch.onnx.export(
        module.eval(), tuple(inputs.values()), str(path), dynamo=False, opset_version=17, input_names=[*inputs],
        output_names=outputs, dynamic_axes={name: {0: "batch"} for name in names},
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    torch.manual_seed(0)
    return exported(Wide(), tmp_path_factory.mktemp("wide"), {"x": torch.randn(2, 1, 4, 4)}, ["y"])


@pytest.fixture
def model(source, tmp_path):
    return write_ir(*converted(source), tmp_path / "ir")


def batch(count=64):
    return {"x": np.random.default_rng(0).normal(size=(count, 1, 4, 4)).astype(np.float32)}


def in_onnxruntime(source):
    with backend.get("onnxruntime").open(OnnxModel(source), threads=1) as session:
        return session.run(batch())["y"]


def off(answers, source):
    return float(np.abs(answers - in_onnxruntime(source)).max())


def test_computes_in_f32_whatever_the_processor_offers(model, source):
    with open_session(model, threads=1) as session:
        assert off(session.run(batch())["y"], source) < 1e-5
    assert {layer.precision for layer in backend.get("openvino").executed(model)} == {"fp32"}


@pytest.mark.skipif(not HAS_BF16, reason="the processor has no bf16, so that OpenVINO does not choose it")
def test_would_round_to_bf16_where_nobody_says_f32(model, source):
    """The trap: the graph says f32, and a session that does not pass that on takes bf16."""
    plain = openvino.Core().compile_model(model.path, "CPU")
    assert plain.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "bf16"
    assert off(plain(batch())[0], source) > 1e-4


@pytest.mark.skipif(not HAS_BF16, reason="the processor has no bf16 to compute in")
def test_computes_in_bf16_where_the_file_says_so(source, tmp_path):
    made = write_ir(*converted(source), tmp_path / "bf16", precision="bf16")
    with open_session(made, threads=1) as session:
        assert 1e-4 < off(session.run(batch())["y"], source) < 0.1
    assert {layer.precision for layer in backend.get("openvino").executed(made)} == {"bf16"}


def test_writes_the_same_bytes_whatever_was_converted_before(source, tmp_path):
    first = write_ir(*converted(source), tmp_path / "first")
    other = exported(Two(), tmp_path, {"words": torch.tensor([[1, 2]]), "numbers": torch.zeros(1, 3)}, ["a", "b"])
    converted(other)
    moved = tmp_path / "elsewhere.onnx"
    shutil.copy(source, moved)
    second = write_ir(*converted(moved), tmp_path / "second")
    for name in ("model.xml", "model.bin"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_writes_no_path_and_no_version(model):
    text = model.path.read_text()
    assert openvino.__version__.split("-")[0] not in text
    assert "onnx" not in text.replace("onnx::", "").replace("onnx_Frontend", "")


def test_is_read_back_with_all_its_numbers(model):
    with_names = dict(tensors(model.path))
    assert sum(array.size for array in with_names.values()) > 1024
    assert list(tensors(model.folder / "model.bin")) == []


def test_takes_whole_numbers_and_several_inputs_by_name(tmp_path):
    words, numbers = np.array([[1, 8], [3, 3], [0, 1]]), np.ones((3, 3), np.float32)
    path = exported(Two(), tmp_path, {"words": torch.tensor([[1, 2]]), "numbers": torch.zeros(1, 3)}, ["a", "b"])
    given = {"numbers": numbers, "words": words}
    with open_session(write_ir(*converted(path), tmp_path / "ir"), threads=1) as session:
        assert (session.input_names, session.output_names) == (("words", "numbers"), ("a", "b"))
        answers = session.run(given)
    with backend.get("onnxruntime").open(OnnxModel(path), threads=1) as session:
        expected = session.run(given)
    for name, array in expected.items():
        np.testing.assert_allclose(answers[name], array, rtol=1e-5, atol=1e-6)


def test_keeps_the_names_of_what_is_passed_on_unchanged(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Relu", ["x"], ["y"])]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "same", "y")}
    graph = helper.make_graph(nodes, "g", [values["x"]], [values["same"], values["y"]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    with open_session(write_ir(*converted(tmp_path / "m.onnx"), tmp_path / "ir"), threads=1) as session:
        answers = session.run({"x": np.array([[-1, 2]], np.float32)})
    assert {name: array.tolist() for name, array in answers.items()} == {"same": [[-1, 2]], "y": [[0, 2]]}


def test_takes_arrays_however_they_lie_in_memory(model):
    rows = np.random.default_rng(0).normal(size=(6, 1, 4, 4)).astype(np.float32)
    sealed, turned = rows.copy(), np.asfortranarray(rows)
    sealed.flags.writeable = False
    with open_session(model, threads=1) as session:
        expected = session.run({"x": rows})["y"]
        for array, answer in (
            (sealed, expected),
            (turned, expected),
            (rows[::2], expected[::2]),
            (rows[:1], expected[:1]),
        ):
            np.testing.assert_allclose(session.run({"x": array})["y"], answer, rtol=1e-5, atol=1e-6)
        # What is prepared keeps its arrays alive, whatever runs in between.
        call = session.prepared({"x": rows[2:4].copy()})
        session.run({"x": rows})
        np.testing.assert_allclose(next(iter(call().values())), expected[2:4], rtol=1e-5, atol=1e-6)


def test_answers_are_not_overwritten_by_the_next_batch(model):
    with open_session(model, threads=1) as session:
        first = session.run(batch())["y"]
        kept = first.copy()
        session.run({"x": np.zeros((64, 1, 4, 4), np.float32)})
    assert np.array_equal(first, kept)


DAMAGE = {
    "no graph": lambda folder: (folder / "model.xml").unlink(),
    "no weights": lambda folder: (folder / "model.bin").unlink(),
    "no XML": lambda folder: (folder / "model.xml").write_text("not a model"),
    "cut graph": lambda folder: (folder / "model.xml").write_bytes((folder / "model.xml").read_bytes()[:900]),
    "cut weights": lambda folder: (folder / "model.bin").write_bytes(b"few"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_says_that_a_damaged_file_cannot_be_loaded(damage, model, capfd):
    DAMAGE[damage](model.folder)
    with pytest.raises(StepError, match=r"X212: openvino cannot load model\.xml"):
        open_session(IrModel(model.folder), threads=1)
    assert capfd.readouterr() == ("", "")


def test_names_the_operation_that_it_cannot_take_over(tmp_path):
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2, 2]) for name in ("x", "y")}
    graph = helper.make_graph([helper.make_node("Bernoulli", ["x"], ["y"])], "g", [value["x"]], [value["y"]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    with pytest.raises(StepError, match=r"X250: OpenVINO cannot take over this graph: .*Bernoulli"):
        converted(tmp_path / "m.onnx")


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_runs_on_the_processor_alone(device, model):
    gpus = (Gpu(0, "any", device.partition(":")[0], 1 << 34, "8.0", "1"),)
    hardware = Hardware(HardwareIdentity("linux", "x86_64", "toy", (), 2, 1 << 33, gpus, "3.11", {"openvino": "2026"}))
    assert backend.get("openvino").device_unmet(device, hardware).cause
    assert backend.get("openvino").device_unmet("cpu", hardware) is None
    with pytest.raises(StepError, match="X220"):
        open_session(model, threads=1, device=device)


LAYERS = {
    "gru": (lambda: nn.GRU(4, 8, batch_first=True), "GRU"),
    "lstm": (lambda: nn.LSTM(4, 8, batch_first=True), "LSTM"),
    "both ways": (lambda: nn.LSTM(4, 8, batch_first=True, bidirectional=True), "LSTM"),
    "both ways, stacked": (lambda: nn.LSTM(4, 8, num_layers=2, batch_first=True, bidirectional=True), "LSTM"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_finds_recurrent_layers_in_the_compiled_graph(case, tmp_path):
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = LAYERS[case][0]()
            self.head = nn.Linear(16 if case.startswith("both ways") else 8, 2)

        def forward(self, x):
            return self.head(self.seen(x)[0][:, -1])

    path = exported(Reads(), tmp_path, {"x": torch.zeros(1, 5, 4)}, ["y"])
    ran = backend.get("openvino").executed(write_ir(*converted(path), tmp_path / "ir"), layers=("seen", "head"))
    assert {layer.name for layer in ran} == {"seen", "head"}


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_finds_a_table_inside_a_loop(mode, tmp_path):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag, self.head = nn.EmbeddingBag(9, 4, mode=mode), nn.Linear(4, 2)

        def forward(self, words):
            return self.head(self.bag(words))

    path = exported(Bag(), tmp_path, {"words": torch.tensor([[1, 2], [3, 4]])}, ["y"])
    made, again = (write_ir(*converted(path), tmp_path / name) for name in ("ir", "again"))
    ran = backend.get("openvino").executed(made, layers=("bag", "head"))
    assert {layer.name: (layer.precision, layer.engine_op) for layer in ran} == {
        "bag": ("fp32", "Gather"), "head": ("fp32", "FullyConnected")
    }  # fmt: skip
    assert made.path.read_bytes() == again.path.read_bytes()


def test_finds_a_product_behind_what_it_is_called_after(tmp_path):
    """A convolution of one pixel and the transpose behind it become one operation, with the name of the transpose."""
    from titrant.runtime.backends.openvino.compression import compressed

    class Turns(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Conv2d(1, 64, 3, padding=1), nn.Conv2d(64, 8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.body(x))).permute(0, 2, 3, 1).flatten(1)

    path = exported(Turns(), tmp_path, {"x": torch.zeros(1, 1, 8, 8)}, ["y"])
    graph, source = converted(path)
    graph = compressed(graph, {"bits": 8, "symmetric": True}, left=(), threads=1)
    ran = backend.get("openvino").executed(write_ir(graph, source, tmp_path / "ir"), layers=("body", "head"))
    assert {layer.name for layer in ran} == {"body", "head"}


# Counts what asks for the package that sends; nothing is sent.
WATCH = """
import sys
asked = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "openvino_telemetry":
            asked.append(name)
            raise ImportError(name)
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize(
    ("code", "asks"),
    [
        ("import openvino", True),
        ("from titrant.runtime.machine.engines import probe; from titrant.runtime.backends import backend\n"
         "engine = backend.get('openvino')\n"
         "for module in (*engine.packages.values(), *engine.tools.values()):\n"
         "    assert not probe(module)['problem']", False),
    ],
    ids=["by itself", "with titrant"],
)  # fmt: skip
def test_tells_its_maker_nothing(code, asks, tmp_path):
    command = [sys.executable, "-c", f"{WATCH}\n{code}\nprint(bool(asked))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment(tmp_path))
    assert done.stdout.splitlines()[-1] == str(asks)
    assert [path for path in tmp_path.rglob("*") if "intel" in path.name.lower()] == []


def _environment(home: Path):
    import os

    return {**os.environ, "HOME": str(home)}


def test_survives_a_signal_after_graphs_were_freed(tmp_path):
    """Each core of OpenVINO's gives the thread a stack for signals where there is AMX, and takes it away."""
    exported(nn.Linear(3, 2), tmp_path, {"x": torch.zeros(1, 3)}, ["y"])
    graph = read_graph(tmp_path / "source.onnx")
    first, second = (compiled(graph, "a graph", precision="f32", threads=1) for _ in range(2))
    del first
    del second
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
        signal.raise_signal(signal.SIGUSR1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_copy_of_the_process_computes_though_the_threads_of_earlier_graphs_are_gone(model, monkeypatch):
    """A graph that is freed leaves its threads for the next one; a copy of the process is without them."""

    def compute():
        with open_session(model, threads=1) as session:
            return session.run(batch())

    monkeypatch.setattr(peak_memory, "_SECONDS", 5.0)  # it would wait for ever
    compute()
    assert peak_memory.memory_of(compute) > 0


def test_takes_over_a_file_with_sparse_weights(tmp_path):
    weight = onnx.numpy_helper.from_array(np.array([2.0, -3.0], np.float32), "w")
    places = onnx.numpy_helper.from_array(np.array([1, 2]), "places")
    sparse = helper.make_sparse_tensor(weight, places, [4, 1])
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 4), ("y", 1))
    ]
    net = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "net", values[:1], values[1:], sparse_initializer=[sparse]
    )
    onnx.save(helper.make_model(net, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "net.onnx")
    made = write_ir(*converted(tmp_path / "net.onnx"), tmp_path / "ir")
    answer = open_session(made, threads=1).run({"x": np.arange(8, dtype=np.float32).reshape(2, 4)})["y"]
    np.testing.assert_allclose(answer[:, 0], [2 - 6, 10 - 18])


def test_takes_over_a_file_with_functions_of_its_own(tmp_path):
    weight = onnx.numpy_helper.from_array(np.array([[2.0], [-3.0]], np.float32), "w")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 2), ("y", 1))
    ]
    standard, own = helper.make_opsetid("", 17), helper.make_opsetid("own", 1)
    product = helper.make_node("MatMul", ["a", "b"], ["c"])
    twice = helper.make_node("Add", ["c", "c"], ["d"])
    doubled = helper.make_function("own", "Doubled", ["a", "b"], ["d"], [product, twice], [standard])
    net = helper.make_graph(
        [helper.make_node("Doubled", ["x", "w"], ["y"], domain="own")], "net", values[:1], values[1:], [weight]
    )
    made = helper.make_model(net, opset_imports=[standard, own], functions=[doubled])
    onnx.save(made, tmp_path / "net.onnx")
    graph, source = converted(tmp_path / "net.onnx")
    assert [node.op_type for node in source.graph.node] == ["MatMul", "Add"]
    answer = open_session(write_ir(graph, source, tmp_path / "ir"), threads=1).run({"x": np.ones((3, 2), np.float32)})
    np.testing.assert_allclose(answer["y"], [[-2.0]] * 3)
