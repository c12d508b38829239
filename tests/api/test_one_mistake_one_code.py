"""The same mistake is said in the same words, under one code, by every instrument that can meet it."""

import os

import numpy as np
import pytest
import torch  # noqa: TID253

import titrant
from titrant.schema.diagnostics.diagnostics import TitrantError

ROWS, WIDE = torch.ones(2, 4), torch.ones(2, 5)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.first(x)


class Forks(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 2)

    def forward(self, x):
        os.fork()
        return self.first(x)


class Raises(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 2)

    def forward(self, x):
        raise KeyError("a secret of a row")


def lazy():
    return torch.nn.Sequential(torch.nn.LazyLinear(2))


# Every instrument that takes a model, and how it is asked; those in FILES take the path of one as well.
CALLED = {
    "measure": lambda model, inputs: titrant.measure(model, inputs, iterations=1, warmup=0),
    "Profiler": lambda model, inputs: titrant.Profiler(model, inputs).run(iterations=1, warmup=0),
    "layers": lambda model, inputs: titrant.layers(model, inputs, seconds=1e-3),
    "advise": lambda model, inputs: titrant.advise(model, inputs, batches=(1,), iterations=1),
    "check_health": titrant.check_health,
    "capture_attention": titrant.capture_attention,
    "compare_models": lambda model, inputs: titrant.compare_models(model, model, inputs),
    "apply": lambda model, inputs: titrant.apply("export.onnx", model, rows={"x": inputs}),
    "export": lambda model, inputs: titrant.export(model, "onnx", "net.onnx", inputs=inputs),
    "prune": lambda model, inputs: titrant.prune(model, {"x": inputs}),
}
SHAPES = {
    "architecture": titrant.architecture,
    "check_model": lambda model, inputs: titrant.check_model(model, "balanced", inputs=inputs),
}
COUNTED = {
    "count_parameters": lambda model, _: titrant.count_parameters(model),
    "summary": lambda model, _: titrant.summary(model),
    "architecture": lambda model, _: titrant.architecture(model),
}
FILES = ("measure", "Profiler", "layers", "advise", "check_health", "capture_attention", "compare_models", "apply")


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def refused(call, model, inputs):
    with pytest.raises(TitrantError) as raised:
        call(model, inputs)
    return str(raised.value)


@pytest.mark.parametrize("name", [*FILES, *COUNTED])
def test_says_of_a_folder_in_place_of_a_file(name, tmp_path):
    said = refused({**COUNTED, **CALLED}[name], str(tmp_path), ROWS)
    assert said == f"X702: {tmp_path} is a folder (name the file in it)"


@pytest.mark.parametrize("name", [*FILES, *COUNTED])
def test_says_of_a_file_that_is_not_there(name):
    model = "gone.onnx"
    assert refused({**COUNTED, **CALLED}[name], model, ROWS) == "X702: there is no file gone.onnx (check the path)"


@pytest.mark.parametrize("name", [*CALLED, *COUNTED, "check_model"])
def test_says_of_a_module_that_is_initialized_lazily(name):
    assert refused({**SHAPES, **CALLED, **COUNTED}[name], lazy(), ROWS) == (
        "X675: Sequential is initialized lazily: 0.weight has no shape yet (call it once with a batch, as it will get)"
    )


@pytest.mark.parametrize("name", CALLED)
def test_says_of_a_module_without_values(name):
    assert refused(CALLED[name], Net().to("meta"), ROWS) == (
        "X675: Net has no values: first.weight stands on the meta device "
        "(load its weights first: to_empty, then load_state_dict)"
    )


@pytest.mark.parametrize("name", CALLED)
def test_says_of_inputs_of_another_shape_which_layer_cannot_take_them(name):
    prefix = "model: " if name in ("measure", "Profiler") else ""
    assert refused(CALLED[name], Net(), WIDE) == (
        f"X683: {prefix}the model cannot answer a batch of (2, 5) float32: layer first (Linear, weight (2, 4)): mat1 "
        "and mat2 shapes cannot be multiplied (2x5 and 4x2) "
        "(give inputs that it takes, rows first; where these are such, call it with them yourself and mend it)"
    )


@pytest.mark.parametrize("name", CALLED)
def test_says_of_a_model_that_raises_where_and_nothing_of_the_rows(name):
    prefix = "model: " if name in ("measure", "Profiler") else ""
    said = refused(CALLED[name], Raises(), ROWS)
    assert said.startswith(f"X683: {prefix}the model cannot answer a batch of (2, 4) float32: KeyError (test_one_mist")
    assert "secret" not in said


@pytest.mark.parametrize("name", SHAPES)
def test_says_of_inputs_of_another_shape_without_their_values(name):
    said = refused(SHAPES[name], Net(), WIDE)
    assert said.startswith("X683: Net")
    assert "shapes cannot be multiplied (2x5 and 4x2) (give inputs that it takes, rows first; where these are" in said


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [*CALLED, *SHAPES])
def test_goes_on_in_no_copy_of_the_process_where_a_model_forks(name):
    before = os.getpid()
    subject = "model" if name in ("measure", "Profiler") else "Forks"
    assert refused({**CALLED, **SHAPES}[name], Forks(), ROWS) == (
        f"X674: {subject} forks: what its children do is not seen by this process "
        "(give what one child does, in a process of its own)"
    )
    assert os.getpid() == before


ZERO = {
    "measure": (lambda: titrant.measure(print, iterations=0), "iterations is 0", "a whole number, 1 or more"),
    "Profiler": (lambda: titrant.Profiler(print).run(iterations=0), "iterations is 0", "a whole number, 1 or more"),
    "Benchmark": (
        lambda: titrant.Benchmark().add("a", print).compare(iterations=0),
        "iterations is 0",
        "a whole number, 1 or more",
    ),
    "bench": (lambda: titrant.bench(["net.onnx"], iterations=0), "iterations is 0", "a whole number, 1 or more"),
    "advise": (lambda: titrant.advise(Net(), ROWS, iterations=0), "iterations is 0", "a whole number, 1 or more"),
    "layers, threads": (lambda: titrant.layers(Net(), ROWS, threads=0), "threads is 0", "a whole number, 1 or more"),
    "layers, batch": (lambda: titrant.layers(Net(), ROWS, batch=0), "batch is 0", "a whole number, 1 or more"),
    "layers": (lambda: titrant.layers(Net(), ROWS, seconds=0), "seconds is 0", "a number of seconds above 0"),
    "watch": (lambda: titrant.watch(print, 0), "seconds is 0", "a number of seconds above 0"),
    "watch, never": (lambda: titrant.watch(print, interval=0), "interval is 0", "a number of seconds above 0"),
    "find_leak": (lambda: titrant.find_leak(print, steps=0), "steps is 0", "a whole number, 4 or more"),
    "find_leak, cold": (lambda: titrant.find_leak(print, warmup=0), "warmup is 0", "a whole number, 1 or more"),
    "find_leak, alike": (lambda: titrant.find_leak(print, factor=1), "factor is 1", "a number above 1"),
}


@pytest.mark.parametrize("name", ZERO)
def test_says_of_a_number_with_which_nothing_can_be_measured(name):
    call, message, advice = ZERO[name]
    with pytest.raises(TitrantError) as raised:
        call()
    assert str(raised.value) == f"X671: {message} (give {advice})"


def test_takes_arrays_and_mappings_as_the_inputs_of_a_live_model():
    given = (ROWS.numpy(), [ROWS], {"x": np.ones((2, 4), np.float64)})
    flops = {titrant.check_model(Net(), "balanced", inputs=inputs).flops for inputs in given}
    assert flops == {2 * 4 * 2}
    for inputs in given:
        assert titrant.architecture(Net(), inputs).parameters == 10


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda place: titrant.label("nothing", place), "P007"),
        (lambda place: titrant.init("nowhere.onnx", place), "P081"),
        (lambda place: titrant.optimize("nowhere.onnx", place), "P081"),
        (lambda place: titrant.clean_store(locks=[place], dry_run=True), "P071"),
    ],
)
def test_takes_a_path_as_text_as_well(call, code, tmp_path, monkeypatch):
    monkeypatch.setenv("TITRANT_HOME", str(tmp_path / "home"))
    for place in (tmp_path / "a.lock.yaml", str(tmp_path / "a.lock.yaml")):
        with pytest.raises(TitrantError) as caught:
            call(place)
        assert caught.value.diagnostics[0].code == code
    assert titrant.search_runs(str(tmp_path)) == titrant.search_runs(tmp_path) == []
