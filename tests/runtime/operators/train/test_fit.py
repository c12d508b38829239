"""train.fit: it learns, stops, keeps the best epoch, repeats itself, and says what does not fit."""

import dataclasses

import numpy as np
import pytest

from titrant.schema.diagnostics.diagnostics import StepError


@pytest.fixture
def separable(rows):
    """Train and tuning rows whose first number decides the class."""

    def make(count, role):
        x = np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32)
        return rows(x=x, role=role, labels=x[:, 0] > 0)

    return {"train": make(128, "train"), "tuning": make(64, "tuning")}


def squared(output, labels):
    """Return a loss of the user's own."""
    return (output.gather(1, labels[:, None]) - 1).square().mean()


def state(model):
    return {name: value.numpy().tobytes() for name, value in model.module.state_dict().items()}


def test_learns_what_separates_the_classes(torch_model, separable, apply):
    done = apply(
        "train.fit", {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable}, {"learning_rate": 0.02}
    )
    assert done.measurements["tuning_accuracy"] > 0.9
    curves = done.outputs["curves"]
    assert curves["loss"][-1] < curves["loss"][0]
    assert len(curves["loss"]) == len(curves["tuning_loss"]) == len(curves["tuning_accuracy"])
    assert not done.outputs["model"].module.training


def test_keeps_the_weights_of_the_best_epoch(torch_model, separable, apply):
    params = {"learning_rate": 0.5, "epochs": 12, "early_stop": False}
    done = apply("train.fit", {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable}, params)
    curves = done.outputs["curves"]
    best = curves["best_epoch"]
    assert curves["tuning_loss"][best] == min(curves["tuning_loss"])
    assert best < len(curves["loss"]) - 1  # or the test proves nothing
    again = apply(
        "train.fit",
        {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable},
        params | {"epochs": best + 1},
    )
    assert state(again.outputs["model"]) == state(done.outputs["model"])


def test_stops_when_tuning_rows_no_longer_improve(torch_model, separable, apply):
    wrong = dataclasses.replace(separable["tuning"], labels=1 - separable["tuning"].labels)
    inputs = {"model": torch_model("Stack", 5, widths=[5, 16, 2]), "train": separable["train"], "tuning": wrong}
    curves = apply("train.fit", inputs, {"epochs": 20, "learning_rate": 0.05, "patience": 3}).outputs["curves"]
    assert len(curves["loss"]) == curves["best_epoch"] + 4


def test_waits_a_fifth_of_the_epochs_by_default(torch_model, separable, apply):
    wrong = dataclasses.replace(separable["tuning"], labels=1 - separable["tuning"].labels)
    inputs = {"model": torch_model("Stack", 5, widths=[5, 16, 2]), "train": separable["train"], "tuning": wrong}
    curves = apply("train.fit", inputs, {"epochs": 10, "learning_rate": 0.05}).outputs["curves"]
    assert len(curves["loss"]) == curves["best_epoch"] + 3


def test_gives_the_same_bytes_for_the_same_seed_and_others_for_another(torch_model, separable, apply):
    def fitted(seed):
        inputs = {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable}
        return state(apply("train.fit", inputs, {"epochs": 2}, seed=seed).outputs["model"])

    assert fitted(1) == fitted(1)
    assert fitted(1) != fitted(2)


@pytest.mark.parametrize(
    "optimizer",
    ["adamw", "adam", "sgd", "nadam", "radam", "adamax", "rmsprop", "adagrad", "adadelta", "asgd", "adafactor"],
)
def test_knows_every_optimizer_by_its_name(optimizer, torch_model, separable, apply):
    inputs = {"model": torch_model("Stack", 5, widths=[5, 2]), **separable}
    before = state(inputs["model"])
    done = apply("train.fit", inputs, {"epochs": 1, "optimizer": optimizer, "learning_rate": 0.01})
    assert state(done.outputs["model"]) != before


def test_takes_one_logit_a_row_with_the_binary_loss(torch_model, separable, apply):
    inputs = {"model": torch_model("Stack", 5, widths=[5, 8, 1]), **separable}
    params = {"loss": "binary_cross_entropy_with_logits", "learning_rate": 0.05}
    assert apply("train.fit", inputs, params).measurements["tuning_accuracy"] > 0.9


@pytest.mark.parametrize("positive", [0, 1, None])
def test_fits_one_logit_to_the_class_that_it_is_judged_as(positive, torch_model, separable, apply):
    from titrant.runtime.backends.session import predict_rows
    from titrant.runtime.contract.answers import read_answers
    from titrant.runtime.contract.reading import Reading

    given = {role: dataclasses.replace(rows, positive=positive) for role, rows in separable.items()}
    inputs = {"model": torch_model("Stack", 5, widths=[5, 8, 1]), **given}
    params = {"loss": "binary_cross_entropy_with_logits", "learning_rate": 0.05}
    done = apply("train.fit", inputs, params)
    outputs = predict_rows(
        done.outputs["model"], given["tuning"], engine_name="torch", threads=1, batch=64, device="cpu",
        progress=lambda *_: None,
    )  # fmt: skip
    reading = Reading(task="binary_classification")
    judged = read_answers(reading, given["tuning"], outputs, {"kind": "threshold", "threshold": 0.5})
    accuracy = float((judged.decisions == given["tuning"].labels).mean())
    assert accuracy == done.measurements["tuning_accuracy"] > 0.9


def test_lets_a_single_row_left_over_join_a_batch(torch_model, rows, apply):
    labels = np.arange(17) % 2
    inputs = {
        "model": torch_model("Fusable", 1, 6, 6),  # normalizes (batch, 6), which one row cannot do
        "train": rows(1, 6, 6, count=17, labels=labels),
        "tuning": rows(1, 6, 6, count=17, labels=labels),
    }
    apply("train.fit", inputs, {"epochs": 1, "batch_size": 8})


def test_tells_progress_an_epoch(torch_model, separable, apply):
    heard = []
    inputs = {"model": torch_model("Stack", 5, widths=[5, 2]), **separable}
    apply("train.fit", inputs, {"epochs": 3, "early_stop": False}, listen=lambda *said: heard.append(said))
    assert [said[:2] for said in heard] == [(1, 3), (2, 3), (3, 3)]
    assert "tuning accuracy" in heard[0][2]


def test_leaves_torch_as_it_was(torch_model, separable, apply):
    import torch

    before = torch.random.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    apply("train.fit", {"model": torch_model("Stack", 5, widths=[5, 2]), **separable}, {"epochs": 1}, threads=2)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())


def test_says_which_layer_and_which_shapes_do_not_meet(torch_model, separable, apply):
    inputs = {"model": torch_model("Stack", 5, widths=[4, 2]), **separable}
    with pytest.raises(StepError) as caught:
        apply("train.fit", inputs)
    (found,) = caught.value.diagnostics
    assert found.code == "X221"
    assert "(2, 5) float32" in found.message
    assert "layers.0 (Linear, weight (2, 4))" in found.message
    assert "\n" not in found.message


@pytest.mark.parametrize(
    ("shape", "dtype", "code"), [((6,), np.float32, "X201"), ((5,), np.float64, "X201")], ids=["shape", "dtype"]
)
def test_names_both_shapes_when_rows_do_not_fit(*, shape, dtype, code, torch_model, rows, apply):
    wrong = rows(x=np.zeros((10, *shape), dtype), labels=np.arange(10) % 2)
    with pytest.raises(StepError) as caught:
        apply("train.fit", {"model": torch_model("Stack", 5, widths=[5, 2]), "train": wrong, "tuning": wrong})
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert "(batch, 5) float32" in found.message
    assert f"(10, {shape[0]}) {np.dtype(dtype)}" in found.message


def test_refuses_more_classes_than_the_output_is_wide(torch_model, rows, apply):
    three = rows(5, count=30, labels=np.arange(30) % 3)
    with pytest.raises(StepError, match=r"X203: cross_entropy of 3 classes"):
        apply("train.fit", {"model": torch_model("Stack", 5, widths=[5, 2]), "train": three, "tuning": three})


@pytest.mark.parametrize("missing", ["train", "tuning"])
def test_refuses_rows_without_labels_or_without_rows(missing, torch_model, separable, apply, rows):
    unlabeled = separable | {missing: dataclasses.replace(separable[missing], labels=None)}
    with pytest.raises(StepError, match=r"X202.*no labels"):
        apply("train.fit", {"model": torch_model("Stack", 5, widths=[5, 2]), **unlabeled})
    empty = separable | {missing: rows(5, count=0, role=missing, labels=[])}
    with pytest.raises(StepError, match=f"X202: there are no {missing} rows"):
        apply("train.fit", {"model": torch_model("Stack", 5, widths=[5, 2]), **empty})


@pytest.mark.parametrize(
    "said",
    [
        {"schedule": "one_cycle"},
        {"gradient_clip": 0.01},
        {"accumulate": 3},
        {"class_weights": (1.0, 5.0)},
        {"label_smoothing": 0.2},
        {"loss": f"{__name__}:squared"},
        {"find_learning_rate": True},
    ],
    ids=lambda said: next(iter(said)),
)
def test_reads_everything_that_it_is_told(said, torch_model, separable, apply):
    def fitted(**params):
        inputs = {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable}
        return apply("train.fit", inputs, {"epochs": 3, "batch_size": 16, **params})

    done = fitted(**said)
    assert state(done.outputs["model"]) != state(fitted().outputs["model"])
    assert state(done.outputs["model"]) == state(fitted(**said).outputs["model"])


def test_measures_the_learning_rate_that_it_finds(torch_model, separable, apply):
    inputs = {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable}
    done = apply("train.fit", inputs, {"epochs": 3, "find_learning_rate": True})
    sweep = done.outputs["curves"]["sweep"]
    assert done.measurements["learning_rate"] == sweep["chosen"]
    inputs = {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable}
    written = apply("train.fit", inputs, {"epochs": 3, "learning_rate": sweep["chosen"]})
    assert state(written.outputs["model"]) == state(done.outputs["model"])


def test_keeps_the_zeros_of_a_masked_model(torch_model, separable, apply):
    model = torch_model("Stack", 5, widths=[5, 16, 2])
    weight = model.module.layers[0].weight
    weight.data[:8] = 0
    fitted = apply("train.fit", {"model": model, **separable}, {"epochs": 2, "keep_zeros": True}).outputs["model"]
    assert int((fitted.module.layers[0].weight == 0).sum()) == 8 * 5


def test_fits_log_probabilities_and_probabilities_by_losses_of_their_own(torch_model, separable, apply):
    from torch import nn

    for kind, loss in (("log_probabilities", "nll_loss"), ("probabilities", "mse_loss")):
        model = torch_model("Stack", 5, widths=[5, 16, 2])
        ended = nn.Sequential(model.module, nn.LogSoftmax(1) if kind == "log_probabilities" else nn.Softmax(1))
        inputs = {"model": dataclasses.replace(model, module=ended), **separable}
        assert apply("train.fit", inputs, {"loss": loss, "learning_rate": 0.05}).measurements["tuning_accuracy"] > 0.9


def test_stops_with_advice_when_the_loss_is_no_longer_finite(torch_model, separable, apply):
    inputs = {"model": torch_model("Stack", 5, widths=[5, 16, 2]), **separable}
    with pytest.raises(StepError, match=r"X536.*at step 2.*learning_rate"):
        apply("train.fit", inputs, {"learning_rate": 1e30, "optimizer": "sgd"})
