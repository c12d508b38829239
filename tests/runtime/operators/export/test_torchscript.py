"""export.torchscript: one frozen file that answers as the module does, with the same bytes every time."""

import json
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError


def test_answers_any_batch_as_the_module_does(torch_model, rows, apply, answers):
    model = torch_model("TinyNet", 1, 6, 6)
    done = apply("export.torchscript", {"model": model, "example": rows(1, 6, 6)})
    assert done.outputs["parity"]["relative"] < 1e-5
    for count in (1, 5):
        x = rows(1, 6, 6, count=count).inputs["x"]
        np.testing.assert_allclose(answers(done.outputs["model"], x), answers(model, x), atol=1e-5)


def test_allows_a_model_in_16_bits_the_rounding_of_its_numbers_and_no_more(torch_model, rows, apply):
    """A trace adds up attention in another order than the module does: in bf16 that is up to a rounding apart."""
    model = torch_model("Encoder", 5, 8)
    cast = apply("model.cast", {"model": model}, {"dtype": "bf16", "emulated": True}).outputs["model"]
    example = {"example": rows(5, 8)}
    parity = apply("export.torchscript", {"model": cast, **example}).outputs["parity"]
    assert 1e-4 < parity["relative"] <= parity["tolerance"] == 4 * 2**-7
    exact = apply("export.torchscript", {"model": model, **example}).outputs["parity"]
    assert exact["relative"] <= exact["tolerance"] == 1e-4


def test_gives_the_same_bytes_for_a_second_trace_in_the_process(torch_model, rows, apply):
    inputs = {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)}
    first, second = (apply("export.torchscript", inputs).outputs["model"].path.read_bytes() for _ in range(2))
    assert first == second


def test_writes_operators_that_need_a_newer_archive(torch_model, rows, apply, answers):
    inputs = {"model": torch_model("Gelu", 5), "example": rows(5)}
    first, second = (apply("export.torchscript", inputs).outputs["model"] for _ in range(2))
    assert first.path.read_bytes() == second.path.read_bytes()
    x = rows(5, count=3).inputs["x"]
    np.testing.assert_allclose(answers(first, x), answers(inputs["model"], x), atol=1e-6)


def test_says_what_its_inputs_and_outputs_are(torch_model, rows, apply):
    exported = apply("export.torchscript", {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)})
    with zipfile.ZipFile(exported.outputs["model"].path) as archive:
        said = json.loads(archive.read("model/extra/titrant.json"))
    layers = ["convolution", "linear"]
    assert said == {"inputs": [["x", ["batch", 1, 6, 6], "float32"]], "outputs": ["logits"], "layers": layers}


def test_is_loaded_by_torch_alone(torch_model, rows, apply, answers):
    import torch

    model = torch_model("TinyNet", 1, 6, 6)
    path = apply("export.torchscript", {"model": model, "example": rows(1, 6, 6)}).outputs["model"].path
    x = rows(1, 6, 6, count=3).inputs["x"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(str(path))
    np.testing.assert_allclose(loaded(torch.from_numpy(x)).detach().numpy(), answers(model, x), atol=1e-5)


def test_holds_no_path_of_this_machine_and_says_nothing(torch_model, rows, apply, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exported = apply("export.torchscript", {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6)})
    data = exported.outputs["model"].path.read_bytes()
    assert b"site-packages" not in data
    assert b".py(" not in data
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("form", "outputs"), [("tuple", 2), ("list", 2), ("mapping", 2), ("mapping", 1)])
def test_takes_every_form_of_answer(form, outputs, torch_model, rows, apply):
    from titrant.runtime.backends import backend

    names = ("logits", "other")[:outputs]
    model = torch_model("Answering", 5, outputs=names, form=form)
    exported = apply("export.torchscript", {"model": model, "example": rows(5)}).outputs["model"]
    with backend.get("torch").open(exported, threads=1) as session:
        assert tuple(session.run(rows(5, count=3).inputs)) == names


# Batches that lead down every way of the nets that decide.
WAYS = [np.full((4, 5), value, np.float32) for value in (-2, -0.5, 0.5, 1.5, 2.5, 9)]


@pytest.mark.parametrize("net", ["Deciding", "Branching", "Gathering", "ByCount", "ByEqual"])
def test_scripts_a_forward_that_decides_on_values_so_that_every_way_is_in_the_file(
    net, torch_model, rows, apply, answers
):
    model = torch_model(net, 5)
    done = [apply("export.torchscript", {"model": model, "example": rows(5)}).outputs for _ in range(2)]
    assert done[0]["model"].path.read_bytes() == done[1]["model"].path.read_bytes()
    assert done[0]["parity"]["relative"] < 1e-5
    ways = [answers(done[0]["model"], x) for x in WAYS]
    for x, way in zip(WAYS, ways, strict=True):
        np.testing.assert_allclose(way, answers(model, x), atol=1e-5)


@settings(max_examples=12)
@given(drawn=st.tuples(st.integers(1, 6), st.floats(0.1, 3), st.floats(-3, 3), st.integers(0, 99)))
@pytest.mark.parametrize("net", ["Gathering", "ByCount"])
def test_answers_any_values_as_a_forward_that_decides_does(net, drawn, decided):
    batch, scale, shift, seed = drawn
    x = np.random.default_rng(seed).normal(shift, scale, (batch, 5)).astype(np.float32)
    expected, answer = (session.run({"x": x})["logits"] for session in decided(net))
    np.testing.assert_allclose(answer, expected, atol=1e-4)


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    from operator_nets import ByCount, Gathering

    from titrant.runtime.backends import backend
    from titrant.runtime.backends.torch.call import refuse_decisions
    from titrant.runtime.backends.torch.script import save_script, scripted
    from titrant.runtime.values import TorchModel

    made = {}
    for net in (Gathering, ByCount):
        module = net().eval()
        model = TorchModel(module, "m:N", {}, "", (("x", ("batch", 5), "float32"),), ("logits",))
        with pytest.raises(PreconditionError) as refused:
            refuse_decisions(module, {"x": WAYS[0]})
        script, _ = scripted(module, ("x",), refused.value)
        file = save_script(script, model, tmp_path_factory.mktemp("script"))
        made[net.__name__] = [backend.get("torch").open(value, threads=1) for value in (model, file)]
    return made.__getitem__


def test_reads_back_the_layers_of_every_way(torch_model, rows, apply):
    from titrant.runtime.backends import backend

    made = apply("export.torchscript", {"model": torch_model("Branching", 5), "example": rows(5)}).outputs["model"]
    executed = backend.get("torch").executed(made)
    assert [(layer.engine_op, layer.precision) for layer in executed] == [("aten::linear", "fp32")] * 2


def test_says_what_would_help_where_the_source_of_a_forward_that_decides_cannot_be_read(torch_model, rows, apply):
    with pytest.raises(PreconditionError, match="X284") as refused:
        apply("export.torchscript", {"model": torch_model("Calling", 5), "example": rows(5)})
    assert "if or while" in str(refused.value)
    assert "annotate" in refused.value.diagnostics[0].help


def test_refuses_a_forward_whose_way_the_size_of_the_batch_decides(torch_model, rows, apply):
    with pytest.raises(StepError, match="X208"):
        apply("export.torchscript", {"model": torch_model("BySize", 5), "example": rows(5)})


def test_refuses_a_forward_that_is_bound_to_the_batch_size_of_the_trace(torch_model, rows, apply):
    with pytest.raises(StepError, match="X208"):
        apply("export.torchscript", {"model": torch_model("BatchBound", 5), "example": rows(5)})


def test_refuses_to_go_without_example_rows(torch_model, rows, apply):
    with pytest.raises(StepError, match="X202: there are no tuning rows"):
        apply("export.torchscript", {"model": torch_model("TinyNet", 1, 6, 6), "example": rows(1, 6, 6, count=0)})
