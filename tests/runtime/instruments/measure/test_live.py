"""Live models and functions: every form that a user holds, what is left as it was, and what cannot be timed."""

import io
import os
import sys
import warnings

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject

import titrant
from titrant.runtime.instruments.measure.report import text_of
from titrant.schema.diagnostics.diagnostics import TitrantError

FEW = {"iterations": 8, "warmup": 1}


class Forks(torch.nn.Module):
    def forward(self, x):
        os.fork()
        return x


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5))


def onnx_bytes(module):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "batch"}}
        torch.onnx.export(module.eval(), (torch.zeros(2, 6),), file, dynamo=False, input_names=["x"], dynamic_axes=axes)
    return file.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write one network in every form of a file."""
    folder, module = tmp_path_factory.mktemp("files"), net().eval()
    (folder / "net.onnx").write_bytes(onnx_bytes(module))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.zeros(2, 6)), folder / "net.pt")
        torch.export.save(torch.export.export(module, (torch.zeros(2, 6),)), folder / "net.pt2")
    return folder


def refused(call):
    with pytest.raises(TitrantError) as caught:
        call()
    return caught.value.diagnostics[0]


def test_times_a_module_in_evaluation_mode_and_leaves_it_as_it_was():
    module = net().train()
    module[2].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        times = titrant.measure(module, torch.zeros(1, 6), **FEW)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert [each.training for each in module.modules()] == [True, True, True, False]
    assert all((before[name] == tensor).all() for name, tensor in module.state_dict().items())
    assert times.notes == ("timed in evaluation mode: it is in training mode, and stays so",)
    assert times.times[0].runs == len(times.times[0].samples) == 8
    assert times.size_bytes == sum(tensor.nbytes for tensor in module.state_dict().values())


def test_gives_a_forward_that_writes_into_its_inputs_a_copy_in_each_call():
    class Doubles(torch.nn.Module):
        largest = 0.0

        def forward(self, x):
            self.largest = max(self.largest, float(x.mul_(2.0).max()))
            return x

    module, inputs = Doubles(), torch.ones(1, 6)
    titrant.measure(module, inputs, **FEW)
    assert module.largest == 2.0
    assert torch.equal(inputs, torch.ones(1, 6))


@pytest.mark.slow
def test_times_every_form_on_the_same_inputs(files):
    compared = titrant.Benchmark()
    module = net().eval()
    for name, model in {
        "module": module,
        "onnx": files / "net.onnx",
        "bytes": (files / "net.onnx").read_bytes(),
        "script": str(files / "net.pt"),
        "program": files / "net.pt2",
        "function": lambda x: module(torch.from_numpy(x)),
    }.items():
        compared.add(name, model)
    result = compared.compare(shape=(2, 6), batches=(2, 3), iterations=6, warmup=0)
    assert [model.form for model in result.models] == [
        "a torch module", "an ONNX file", "an ONNX graph in memory", "a TorchScript file", "a torch.export file",
        "a function",
    ]  # fmt: skip
    assert [model.engine for model in result.models] == ["torch", "onnxruntime", "onnxruntime", "torch", "torch", ""]
    assert result.batches == (2, 3)
    assert result.models[1].digest == result.models[2].digest != ""
    assert result.models[4].notes == ("made for batches of 2: others are answered in calls of 2",)
    assert all(model.at(3).against_first is not None for model in result.models[1:])
    if sys.platform == "linux":
        assert all(model.peak_bytes is not None for model in result.models)
    assert max(map(len, text_of(result).splitlines())) <= 100


@pytest.mark.parametrize("kind", ["file", "graph", "compiled"])
def test_times_openvino_live_and_in_files(kind, tmp_path):
    from titrant.runtime.backends.openvino import library

    openvino = library.openvino
    graph = openvino.Core().read_model(onnx_bytes(net()))
    openvino.save_model(graph, tmp_path / "other.xml")
    models = {"file": tmp_path / "other.xml", "graph": graph}
    model = models[kind] if kind in models else openvino.Core().compile_model(graph, "CPU")
    times = titrant.measure(model, np.zeros((3, 6), np.float32), **FEW)
    assert (times.engine, times.times[0].batch) == ("openvino", 3)


def test_passes_inputs_by_place_and_by_name():
    seen = []

    def function(*given, **named):
        seen.append((given, named))

    titrant.measure(function, iterations=1, warmup=0)
    titrant.measure(function, [1, "two"], iterations=1, warmup=0)
    titrant.measure(function, {"x": 3}, iterations=1, warmup=0)
    assert {str(each) for each in seen} == {"((), {})", "((1, 'two'), {})", "((), {'x': 3})"}


def test_gives_all_models_what_a_function_makes_once():
    made = []

    def make(batch):
        made.append(batch)
        return {"x": np.full((batch, 2), len(made), np.float32)}

    result = titrant.Benchmark().add("a", lambda x: x).add("b", lambda x: x)
    result.compare(make, batches=(1, 4), **FEW)
    assert sorted(made) == [1, 4]


def test_has_mlx_compute_what_it_puts_off(monkeypatch):
    mlx = pytest.importorskip("mlx.core")
    computed, evaluate = [], mlx.eval
    monkeypatch.setattr(mlx, "eval", lambda *arrays: (computed.append(len(arrays)), evaluate(*arrays)))
    titrant.measure(lambda: mlx.ones(4) + 1, iterations=3, warmup=0)
    assert len(computed) >= 6


def test_keeps_nothing_of_a_call_that_training_could_not_use():
    class Keeps(torch.nn.Module):
        def forward(self, x):
            self.kept = x * 2
            return self.kept

    module = Keeps()
    titrant.measure(module, torch.ones(1, 2), **FEW)
    assert not module.kept.is_inference()


def test_takes_answers_that_are_not_finite():
    assert titrant.measure(lambda: np.array([np.nan]), **FEW).times[0].runs == 8


class Moody:
    """Raises at its n-th call."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self):
        self.left -= 1
        if self.left < 0:
            raise KeyError("secret of a row")


CASES = {
    "text": (lambda: titrant.measure(net(), "text"), "X683: model: the model takes tensors, and is given a str"),
    "no inputs": (lambda: titrant.measure(net()), "X673: nothing says what the model takes"),
    "two sources": (lambda: titrant.measure(net(), torch.zeros(1, 6), shape=(1, 6)), "X673: inputs and a shape"),
    "one size for batches": (lambda: titrant.measure(net(), torch.zeros(1, 6), batches=4), "X671: batches is 4"),
    "no rows": (lambda: titrant.measure(net(), torch.zeros(0, 6)), "X673: the data have no rows"),
    "no model": (lambda: titrant.measure(3), "X672: model is a int, which is no model"),
    "no device": (
        lambda: titrant.measure(net(), torch.zeros(1, 6), device="cuda:99"),
        "X220: model: torch sees no device cuda:99 here",
    ),
    "no such device": (lambda: titrant.measure(net(), torch.zeros(1, 6), device="tpu"), "X220: model: "),
    "no device for a function": (lambda: titrant.measure(print, device="cuda:99"), "X220: model: "),
    "no such device for one": (lambda: titrant.measure(print, device="tpu"), "X220: model: no device is called"),
    "no number of one": (lambda: titrant.measure(net(), torch.zeros(1, 6), device="cuda:x"), "X220: model: "),
    "a function that raises": (lambda: titrant.measure(Moody(0)), "X674: model raised KeyError (test_live.py:"),
    "one that exits": (lambda: titrant.measure(lambda: sys.exit(3)), "X674: model raised SystemExit (test_live.py:"),
    "inputs that raise": (
        lambda: titrant.measure(net(), lambda batch: batch / 0, batches=(1,)),
        "X674: what makes the inputs raised ZeroDivisionError (test_live.py:",
    ),
    "too large a batch": (
        lambda: titrant.measure(net(), torch.zeros(1, 6), batches=(10**13,)),
        "X671: a batch of 10,000,000,000,000 does not fit into memory",
    ),
    "one that raises later": (lambda: titrant.measure(Moody(30)), "X674: model raised KeyError (test_live.py:"),
    "one that forks": (lambda: titrant.measure(os.fork), "X674: model forks: what its children do"),
    "an added name": (
        lambda: titrant.Benchmark().add("a", print).add("a", print),
        "X672: a is added already",
    ),
    "nothing to compare": (lambda: titrant.Benchmark().compare(), "X672: there is nothing to compare"),
    "nothing compared": (lambda: titrant.Benchmark().report(), "X672: nothing has been compared yet"),
    "another ending": (lambda: titrant.Profiler(print).save("x.bmp"), "X676: no figures are written as x.bmp"),
}


@pytest.mark.parametrize("case", CASES)
def test_says_in_one_line_what_cannot_be_timed(case):
    call, says = CASES[case]
    diagnostic = refused(call)
    assert f"{diagnostic.code}: {diagnostic.message}".startswith(says)
    assert diagnostic.help
    assert "secret" not in diagnostic.message


def test_profiles_one_model_again_and_again(tmp_path):
    profiler = titrant.Profiler(net(), shape=(2, 6))
    assert profiler.execution_time(iterations=5).runs == 5
    assert [times.batch for times in profiler.run(batches=(1, 2), iterations=5).times] == [1, 2]
    assert "batch 2" in profiler.report()
    for ending in ("html", "svg", "md", "json"):
        assert profiler.save(tmp_path / f"net.{ending}").stat().st_size > 500
    assert "<svg" in profiler.plot().alone()
