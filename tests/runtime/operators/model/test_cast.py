"""model.cast: half the bytes behind an fp32 border."""

import numpy as np
import pytest

from titrant.runtime import catalog
from titrant.schema.diagnostics.diagnostics import PreconditionError
from titrant.schema.facts import Gpu, Hardware, HardwareIdentity


@pytest.mark.parametrize(("dtype", "tolerance"), [("bf16", 0.02), ("fp16", 0.002)])
def test_answers_in_fp32_with_16_bit_weights(dtype, tolerance, torch_model, apply, answers):
    import torch

    model = torch_model("Stack", 5, widths=[5, 8, 2])
    cast = apply("model.cast", {"model": model}, {"dtype": dtype, "emulated": True}).outputs["model"]
    x = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    assert answers(cast, x).dtype == np.float32
    np.testing.assert_allclose(answers(cast, x), answers(model, x), atol=tolerance)
    wanted = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    assert {value.dtype for value in cast.module.state_dict().values()} == {wanted}
    assert {value.dtype for value in model.module.state_dict().values()} == {torch.float32}


def test_refuses_a_weight_beyond_the_range_of_fp16(torch_model, apply):
    model = torch_model("Stack", 5, widths=[5, 2])
    model.module.layers[0].weight.data[0, 0] = 1e6
    with pytest.raises(PreconditionError, match=r"X216: layers.0.weight holds 1e\+06"):
        apply("model.cast", {"model": model}, {"dtype": "fp16", "emulated": True})
    apply("model.cast", {"model": model}, {"dtype": "bf16", "emulated": True})


@pytest.mark.parametrize(
    ("instructions", "dtype", "possible"),
    [((), "bf16", False), (("amx_bf16",), "bf16", True), (("amx_bf16",), "fp16", False), (("fp16",), "fp16", True)],
)
def test_needs_instructions_for_the_format_unless_emulation_is_allowed(instructions, dtype, possible):
    declaration = catalog.get("model.cast")
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", instructions, 1, None, (), "3.11", {"torch": "2"}))
    assert (declaration.requires(declaration.params(dtype=dtype), machine, None) == ()) is possible
    assert declaration.requires(declaration.params(dtype=dtype, emulated=True), machine, None) == ()


@pytest.mark.parametrize(
    ("gpu", "dtype", "says"),
    [
        (Gpu(0, "H", "cuda", capability="9.0"), "bf16", ""),
        (Gpu(0, "A", "cuda", capability="8.0"), "bf16", ""),
        (Gpu(0, "T", "cuda", capability="7.5"), "fp16", ""),
        (Gpu(0, "T", "cuda", capability="7.5"), "bf16", "dtype to fp16"),
        (Gpu(0, "P", "cuda", capability="6.1"), "bf16", "emulated to true"),
        (Gpu(0, "P", "cuda", capability="6.1"), "fp16", "it takes 7.0"),
        (Gpu(0, "B", "cuda", capability="12.0"), "bf16", ""),
        (Gpu(0, "?", "cuda"), "bf16", ""),
        (Gpu(0, "?", "cuda", capability="new"), "bf16", ""),
        (Gpu(0, "M", "mps"), "bf16", ""),
    ],
)
def test_needs_an_accelerator_that_computes_in_the_format(gpu, dtype, says):
    declaration = catalog.get("model.cast")
    machine = Hardware(HardwareIdentity("linux", "x86_64", "", (), 1, None, (gpu,), "3.11", {"torch": "2"}))
    unmet = " ".join(map(str, declaration.requires(declaration.params(dtype=dtype), machine, None)))
    assert says in unmet
    assert bool(unmet) is bool(says)
    assert declaration.requires(declaration.params(dtype=dtype, emulated=True), machine, None) == ()


@pytest.mark.parametrize("meets", ["attention", "product", "convolution"])
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_multiplies_in_16_bits_what_the_forward_made_in_fp32(meets, dtype, torch_model, apply, answers):
    from titrant.runtime.backends import backend

    model = torch_model("OwnFp32", 4, 8, meets=meets)
    cast = apply("model.cast", {"model": model}, {"dtype": dtype, "emulated": True}).outputs["model"]
    x = np.random.default_rng(0).normal(size=(9, 4, 8)).astype(np.float32)
    np.testing.assert_allclose(answers(cast, x), answers(model, x), atol=0.05)
    layers = backend.get("torch").executed(cast, layers=("first", "second"))
    assert {layer.name: layer.precision for layer in layers} == {"first": dtype, "second": dtype}


def test_keeps_the_casts_of_the_forward_in_files(torch_model, apply, answers, rows, tmp_path):
    from titrant.runtime.backends import backend
    from titrant.runtime.backends.torch.module import load_torch, save_torch

    model = torch_model("OwnFp32", 4, 8, meets="attention")
    cast = apply("model.cast", {"model": model}, {"dtype": "bf16", "emulated": True}).outputs["model"]
    x = np.random.default_rng(0).normal(size=(9, 4, 8)).astype(np.float32)
    save_torch(cast, tmp_path)
    assert np.array_equal(answers(load_torch(tmp_path / "model.safetensors"), x), answers(cast, x))
    script = apply("export.torchscript", {"model": cast, "example": rows(4, 8)}, {}).outputs["model"]
    assert {layer.precision for layer in backend.get("torch").executed(script)} == {"bf16"}


def test_refuses_a_forward_that_fails_in_16_bits(torch_model, apply):
    model = torch_model("OwnFp32", 4, 8, meets="scatter")
    with pytest.raises(PreconditionError, match="X239: the forward fails in bf16, although it answers in fp32"):
        apply("model.cast", {"model": model}, {"dtype": "bf16", "emulated": True})
