"""factorize.svd: the truncated reconstruction, best for the inputs seen, and only where two layers pay."""

import numpy as np
import pytest
import torch  # noqa: TID253 - what is tested is arithmetic of tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime import catalog
from titrant.runtime.catalog import full_params
from titrant.runtime.factorize import factors as factors_module
from titrant.runtime.factorize.factors import factors_of, rank_for, spectrum
from titrant.runtime.factorize.layers import full_rank, most_rank, pair, placements, with_factors
from titrant.runtime.inspect.torch import describe_live
from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.home import open_home
from titrant.schema.diagnostics.diagnostics import PreconditionError, StepError
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts, TensorSpec

OPERATOR = catalog.get("factorize.svd")


@pytest.fixture
def always(monkeypatch):
    """Let two layers pay at any rank below the full one, so that small nets show what is done to them."""

    def pays(layer):
        return full_rank(layer) - 1

    monkeypatch.setattr("titrant.runtime.factorize.layers.most_rank", pays)


def linear(outputs, inputs, name="layer", rows=1, bias=True, **more):
    count = outputs * inputs + (outputs if bias else 0)
    weights = {"parameters": count, "weight_bytes": 4 * count, "trainable": count}
    return Layer(
        name, "Linear", weight_shape=(outputs, inputs), flops=2 * outputs * inputs * rows, **{**weights, **more}
    )


def convolution(outputs, inputs, kernel, places, *, name="layer", groups=1):
    shape = (outputs, inputs // groups, kernel, kernel)
    count = int(np.prod(shape))
    return Layer(name, "Conv2d", count, 4 * count, shape, 2 * count * places, groups=groups)


def facts(*layers):
    total = {key: sum(getattr(layer, key) or 0 for layer in layers) for key in ("parameters", "weight_bytes", "flops")}
    return ModelFacts("factory", "d", total["parameters"], total["parameters"], total["weight_bytes"], layers, (), (),
                      total["flops"])  # fmt: skip


matrices = st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10_000))


@given(sizes=matrices, data=st.data())
def test_answers_as_the_truncated_singular_value_decomposition(sizes, data):
    """Eckart and Young: no matrix of the rank is nearer to the weight."""
    outputs, inputs, seed = sizes
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(outputs, inputs))).float()
    rank = data.draw(st.integers(1, min(outputs, inputs)))
    made = factors_of(spectrum(weight, None), rank)
    left, values, right = np.linalg.svd(weight.double().numpy(), full_matrices=False)
    expected = (left[:, :rank] * values[:rank]) @ right[:rank]
    np.testing.assert_allclose((made.second @ made.first).numpy(), expected, atol=1e-5)
    assert made.energy == pytest.approx((values[:rank] ** 2).sum() / (values**2).sum())


@given(sizes=matrices, rows=st.integers(1, 30), scale=st.floats(0.01, 100), dead=st.booleans(), data=st.data())
def test_loses_no_more_of_the_answers_than_without_whitening(sizes, rows, scale, dead, data):
    """On the rows that were seen the error of W X is never above that of the plain decomposition."""
    outputs, inputs, seed = sizes
    random = np.random.default_rng(seed)
    weight = torch.from_numpy(random.normal(size=(outputs, inputs))).float()
    x = random.normal(size=(rows, inputs)) * np.linspace(scale, 1, inputs)
    x[:, 0] *= not dead
    gram = torch.from_numpy(x.T @ x)
    rank = data.draw(st.integers(1, min(outputs, inputs)))
    whitened, plain = (factors_of(spectrum(weight, seen), rank) for seen in (gram, None))

    def error(made):
        return float(np.linalg.norm(x @ (weight - made.second @ made.first).double().numpy().T))

    assert error(whitened) <= error(plain) * (1 + 1e-4) + 1e-5 * float(np.linalg.norm(x @ weight.double().numpy().T))


def test_keeps_what_the_inputs_need_where_the_weights_alone_say_otherwise():
    """A large weight on an input that never comes is cut first."""
    weight, gram = torch.diag(torch.tensor([10.0, 1.0, 0.9])), torch.diag(torch.tensor([0.0, 1.0, 1.0])).double()
    made = factors_of(spectrum(weight, gram), 2)
    np.testing.assert_allclose((made.second @ made.first)[1:, 1:].numpy(), np.diag([1.0, 0.9]), atol=1e-2)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.floats(0.01, 1))
def test_takes_the_lowest_rank_that_keeps_the_energy(values, energy):
    values = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    squares = values.square().cumsum(0)
    rank = rank_for(values, energy)
    assert 1 <= rank <= len(values)
    if squares[-1] > 1e-200:
        assert squares[rank - 1] >= (energy - 1e-9) * squares[-1]
        assert rank == 1 or squares[rank - 2] < (energy + 1e-9) * squares[-1]


@pytest.mark.parametrize(
    ("net", "shape", "args", "layers"),
    [
        ("Stack", (5,), {"widths": [5, 8, 8, 4]}, 3),
        ("Residual", (3, 6, 6), {}, 2),  # convolutions with padding and a stride; the head is of rank 2
        ("Encoder", (3, 8), {}, 2),  # torch reads the weights of an encoder's layers itself where it may
    ],
)
@pytest.mark.parametrize("count", [0, 30])
def test_answers_with_factors_as_with_the_product_that_they_stand_for(
    *, net, shape, args, layers, count, always, torch_model, rows, apply, answers
):
    model = torch_model(net, *shape, **args)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    given_rows = rows(*shape, count=count) if count else None
    done = apply("factorize.svd", {"model": model, **({"calibration": given_rows} if count else {})}, {"rank": 3})
    made, factors = done.outputs["model"], done.outputs["factors"]
    assert [layer["rank"] for layer in factors["layers"]] == [3] * layers
    assert factors["whitened"] == bool(count)
    with torch.no_grad():
        for layer in factors["layers"]:
            first, second = made.module.get_submodule(layer["name"]).children()
            whole = model.module.get_submodule(layer["name"])
            product = second.weight.flatten(1) @ first.weight.flatten(1)
            whole.weight.copy_(product.reshape(whole.weight.shape))
    x = rows(*shape).inputs["x"]
    np.testing.assert_allclose(answers(made, x), answers(model, x), atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items()
               if not any(name == f"{layer['name']}.weight" for layer in factors["layers"]))  # fmt: skip
    total = sum(value.numel() for value in made.module.parameters())
    assert factors["parameters_after"] == total
    assert done.measurements["parameters_removed"] == pytest.approx(1 - total / factors["parameters_before"])


def test_loads_again_from_its_ranks_and_tensors(*, always, torch_model, rows, apply, answers, tmp_path):
    model = torch_model("Residual", 3, 6, 6)
    made = apply("factorize.svd", {"model": model, "calibration": rows(3, 6, 6)}, {"rank": 3}).outputs["model"]
    assert made.rewrites[-1].record == {"ranks": {"first": 3, "second": 3}}
    store = Store(open_home(tmp_path / "home"))
    loaded = store.get(store.put("torch", made), tmp_path / "artifact")
    x = rows(3, 6, 6).inputs["x"]
    np.testing.assert_array_equal(answers(loaded, x), answers(made, x))


NETS = [("Stack", (5,), {"widths": [5, 8, 8, 4]}), ("Residual", (3, 6, 6), {}), ("Attending", (3, 8), {})]


@pytest.mark.parametrize(("net", "shape", "args"), NETS)
def test_predicts_the_facts_of_what_it_makes(*, net, shape, args, always, torch_model, rows, apply):
    model = torch_model(net, *shape, **args)
    specs = (TensorSpec("x", ("batch", *shape), "float32"),)
    made = apply("factorize.svd", {"model": model}, {"rank": 1}).outputs["model"]
    seen, expected = (
        describe_live(made.module, specs),
        OPERATOR.model_after(full_params(OPERATOR.params, {"rank": 1}), describe_live(model.module, specs)),
    )
    counts = ("parameters", "trainable", "weight_bytes", "flops")
    assert {name: getattr(expected, name) for name in counts} == {name: getattr(seen, name) for name in counts}
    held = [[layer for layer in item.layers if layer.weight_bytes] for item in (expected, seen)]
    about = [[(layer.name, layer.type, layer.parameters, layer.weight_shape) for layer in layers] for layers in held]
    assert about[0] == about[1]
    assert expected.flops < describe_live(model.module, specs).flops


def test_plans_the_same_layers_that_it_factorizes(torch_model, rows, apply):
    """Whether two layers pay is decided by the layer alone, at plan and in the run."""
    model = torch_model("WideHead", 1, 6, 6)
    specs = (TensorSpec("x", ("batch", 1, 6, 6), "float32"),)
    done = apply("factorize.svd", {"model": model, "calibration": rows(1, 6, 6)}, {"rank": 20})
    params = full_params(OPERATOR.params, {"rank": 20})
    outlooks = {item.name: item for item in OPERATOR.by_layer(params, describe_live(model.module, specs))}
    assert [layer["name"] for layer in done.outputs["factors"]["layers"]] == ["square"]
    assert outlooks["square"].becomes == "rank 20 of 512"
    assert {name: item.because for name, item in outlooks.items() if not item.becomes} == done.outputs["factors"][
        "left"
    ]


def test_leaves_a_layer_whole_whose_energy_needs_more_than_pays(torch_model, rows, apply):
    """A weight of random numbers is of full rank; one of rank 4 keeps everything at 4."""
    model, given_rows = torch_model("WideHead", 1, 6, 6), rows(1, 6, 6, count=64)
    whole = apply("factorize.svd", {"model": model}, {"energy": 0.99})
    assert whole.measurements["factorized_layers"] == 0
    assert whole.outputs["model"].rewrites == ()
    assert "two int8 products pay up to rank" in whole.outputs["factors"]["left"]["square"]
    with torch.no_grad():
        weight = model.module.square.weight
        weight.copy_(torch.randn(512, 4) @ torch.randn(4, 512))
    done = apply("factorize.svd", {"model": model, "calibration": given_rows}, {"energy": 1 - 1e-9})
    assert done.measurements["rank.square"] == 4


layers = st.one_of(
    st.builds(linear, st.integers(1, 700), st.integers(1, 700), rows=st.sampled_from([1, 16, 64])),
    st.builds(convolution, st.integers(1, 96), st.integers(1, 96), st.sampled_from([1, 3, 5]), st.integers(1, 400)),
)


@settings(max_examples=60)
@given(layers, st.data())
def test_pays_only_with_fewer_multiplications_and_parameters(layer, data):
    most = most_rank(layer)
    assert most < full_rank(layer)
    if most:
        rank = data.draw(st.integers(1, most))
        first, second = pair(layer, rank)
        assert first.flops + second.flops < layer.flops
        assert first.parameters + second.parameters < layer.parameters
        assert first.flops + second.flops == pytest.approx(layer.flops * rank * (1 / layer.weight_shape[0] + 1 /
                                                           np.prod(layer.weight_shape[1:])), rel=1e-6)  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "rank", "why"),
    [
        (linear(512, 512), 512, "its full rank is 512: at 512 there is nothing to do"),
        (linear(512, 512), 900, "its full rank is 512: at 900 there is nothing to do"),
        (linear(512, 512), 400, "two int8 products pay up to rank"),
        (linear(32, 32), 4, "one int8 product is as fast as two at any rank"),
        (convolution(64, 64, 3, 64, groups=4), 8, "its 4 groups are products of their own"),
        (linear(512, 512, name="blocks.0.fc"), 8, "skip has blocks.*"),
        (linear(512, 512, unread=True), 8, "it is not called as a layer"),
        (linear(512, 512, dtype="float16"), 8, "its weight is float16"),
        (linear(512, 512, shared_with="table"), 8, "another layer has the same weight"),
        (linear(512, 512, name="big"), 8, ""),
    ],
)
def test_says_why_a_layer_stays_whole(layer, rank, why):
    (placed,) = placements((layer,), rank, ("blocks.*",))
    assert placed.left.startswith(why)
    assert bool(placed.left) == bool(why)


def test_knows_tied_weights_by_the_layer_that_does_not_count_them():
    layers = (linear(512, 512, "first"), linear(512, 512, "second", parameters=512), linear(512, 400, "other"))
    assert [bool(item.left) for item in placements(layers, 8, ())] == [True, True, False]


@pytest.mark.parametrize("net", ["Tied", "Twice", "SharedSquare"])
def test_leaves_weights_that_are_shared(net, always, torch_model, rows, apply):
    size = 256 if net == "SharedSquare" else 5
    model = torch_model(net, size)
    done = apply("factorize.svd", {"model": model, "calibration": rows(size)}, {"rank": 1})
    left = done.outputs["factors"]["left"]
    assert {name: left[name] for name in left if name != "head"} == dict.fromkeys(
        [name for name in left if name != "head"], "another layer has the same weight"
    )
    assert len(left) == {"Tied": 2, "Twice": 1, "SharedSquare": 2}[net]


@pytest.mark.parametrize(
    ("model", "params", "cause", "remedy"),
    [
        (facts(linear(512, 512)), {"rank": 512}, "its full rank is 512", "write a rank of at most"),
        (facts(linear(16, 16)), {"energy": 0.9}, "one int8 product is as fast as two", "take reduction.factorize out"),
        (facts(convolution(64, 64, 3, 64, groups=64)), {"rank": 4}, "its 64 groups", "take reduction.factorize out"),
        (facts(), {"rank": 4}, "the model has none", "take reduction.factorize out"),
    ],
)
def test_refuses_a_model_in_which_it_pays_for_nothing(model, params, cause, remedy, hardware):
    (unmet,) = OPERATOR.requires(full_params(OPERATOR.params, params), hardware, model)
    assert cause in unmet.cause
    assert remedy in unmet.remedy


@pytest.fixture
def hardware():
    identity = HardwareIdentity("linux", "x86_64", "cpu", ("avx2",), 2, 2**33, (), "3.11", {"torch": "2"})
    return Hardware(identity)


def test_keeps_the_name_of_a_layer_whose_rank_is_open():
    """With an energy nobody knows before the run which layers become two: what follows is planned under their names."""
    model = facts(linear(512, 512, "big"), linear(8, 8, "small"))
    after = OPERATOR.model_after(full_params(OPERATOR.params, {"energy": 0.9}), model)
    assert [layer.name for layer in after.layers] == ["big", "small"]
    assert after.parameters < model.parameters
    ranked = with_factors(model, {"big": 8})
    assert [layer.name for layer in ranked.layers] == ["big.0", "big.1", "small"]


def test_refuses_weights_that_are_not_finite(always, torch_model, apply):
    model = torch_model("Stack", 5, widths=[5, 8, 4])
    model.module.layers[0].weight.data[0, 0] = float("nan")
    with pytest.raises(PreconditionError, match=r"X290: 1 of the 40 weights of layers\.0"):
        apply("factorize.svd", {"model": model}, {"rank": 2})


def test_says_which_model_reads_a_weight_itself(always, torch_model, rows, apply):
    with pytest.raises(StepError, match="X560: the model cannot be called with factors") as raised:
        apply("factorize.svd", {"model": torch_model("ReadsWeight", 5), "calibration": rows(5)}, {"rank": 2})
    assert "reduction.factorize.skip" in raised.value.diagnostics[0].help


def test_takes_several_passes_where_the_matrices_do_not_fit_at_once(always, torch_model, rows, apply, monkeypatch):
    model, given_rows = torch_model("Stack", 5, widths=[5, 8, 8, 4]), rows(5)
    once = apply("factorize.svd", {"model": model, "calibration": given_rows}, {"rank": 2}).outputs["model"]
    monkeypatch.setattr(factors_module, "_GRAM_BYTES", 600)
    parts = apply("factorize.svd", {"model": model, "calibration": given_rows}, {"rank": 2}).outputs["model"]
    for name, value in once.module.state_dict().items():
        torch.testing.assert_close(value, parts.module.state_dict()[name])
