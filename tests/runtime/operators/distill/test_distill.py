"""distill.fit: Hinton's loss, layers that are imitated, the teacher asked once, and what is said when nothing fits."""

import dataclasses

import numpy as np
import pytest
import torch  # noqa: TID253 - what is tested is arithmetic of tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.distillation import teaching
from titrant.runtime.distillation.layers import distance, matching, pairs
from titrant.runtime.distillation.teaching import imitation
from titrant.schema.diagnostics.diagnostics import StepError

NUMBERS = st.floats(-20, 20, width=32)


@pytest.fixture
def roles(rows):
    """Train and tuning rows whose first number decides the class."""

    def make(count, role, *shape):
        x = np.random.default_rng(count).normal(size=(count, *(shape or (5,)))).astype(np.float32)
        return rows(x=x, role=role, labels=x.reshape(count, -1)[:, 0] > 0)

    return lambda *shape: {"train": make(96, "train", *shape), "tuning": make(48, "tuning", *shape)}


def weights(model):
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def softmax(values):
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@settings(max_examples=30)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=2, max_size=8), st.floats(0.5, 10))
def test_softens_both_answers_as_the_paper_does(numbers, temperature):
    """T² · Σ p log(p / q), a mean over cases."""
    own = np.array(numbers, dtype=np.float64)
    other = own[::-1].copy()
    p, q = softmax(other / temperature), softmax(own / temperature)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(p > 0, p * (np.log(p) - np.log(q)), 0).sum(1).mean() * temperature**2
    got = imitation("classes", temperature, torch.from_numpy(own), torch.from_numpy(other))
    np.testing.assert_allclose(float(got), expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=2, max_size=8), st.floats(0.5, 10))
def test_takes_one_logit_for_the_two_classes_that_it_stands_for(numbers, temperature):
    own = torch.tensor(numbers, dtype=torch.float64)
    other = own.flip(0)
    both = [torch.stack([logit, torch.zeros_like(logit)], 1) for logit in (own, other)]
    expected = imitation("classes", temperature, *both)
    torch.testing.assert_close(imitation("one_logit", temperature, own[:, None], other[:, None]), expected)


def test_compares_values_by_their_squared_difference():
    own, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    assert float(imitation("values", 4.0, own, other)) == 2.0


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5), st.floats(0.1, 10), st.floats(-5, 5))
def test_measures_layers_whatever_their_scale_and_offset(numbers, scale, offset):
    own = torch.tensor(numbers, dtype=torch.float32) + torch.tensor([0.0, 1.0, 50.0])
    assert float(distance(own, own * scale + offset)) == pytest.approx(0, abs=1e-3)
    assert 0 <= float(distance(own, -own)) <= 4 + 1e-5


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_learns_by_the_weighted_sum_of_both_losses(weight, torch_model, roles, apply):
    """One step of plain gradient descent over all rows is what the formula says."""
    given_rows, teacher = roles(), torch_model("Stack", 5, widths=[5, 12, 2])
    with torch.no_grad():
        teacher.module.layers[2].weight.mul_(7)
    student = torch_model("Stack", 5, widths=[5, 4, 2])
    x = torch.from_numpy(given_rows["train"].inputs["x"])
    labels = torch.from_numpy(given_rows["train"].labels)
    expected = torch_model("Stack", 5, widths=[5, 4, 2]).module
    own, other = expected(x), teacher.module(x).detach()
    kl = torch.nn.functional.kl_div(torch.log_softmax(own / 3, 1), torch.softmax(other / 3, 1), reduction="batchmean")
    loss = weight * 9 * kl + (1 - weight) * torch.nn.functional.cross_entropy(own, labels)
    loss.backward()
    with torch.no_grad():
        for parameter in expected.parameters():
            parameter.sub_(0.1 * parameter.grad)
    params = {"epochs": 1, "batch_size": 96, "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.0}
    made = apply(
        "distill.fit", {"model": student, "teacher": teacher, **given_rows},
        {**params, "temperature": 3.0, "weight": weight},
    ).outputs["model"]  # fmt: skip
    for name, value in made.module.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], atol=1e-6, rtol=1e-5)


def test_leaves_the_teacher_as_it_was_and_gives_a_plain_student(torch_model, roles, apply):
    teacher, student = torch_model("Stack", 5, widths=[5, 12, 2]), torch_model("Stack", 5, widths=[5, 4, 2])
    before, names = weights(teacher), [*student.module.state_dict()]
    params = {"epochs": 2, "layers": ("layers.1",), "learning_rate": 0.05}  # widths 4 and 12: a projection beside
    made = apply("distill.fit", {"model": student, "teacher": teacher, **roles()}, params).outputs["model"]
    assert all(torch.equal(before[name], value) for name, value in teacher.module.state_dict().items())
    assert [*made.module.state_dict()] == names
    hooks = [hook for item in (made, teacher) for part in item.module.modules() for hook in part._forward_hooks]
    assert hooks == []


def trained(apply, torch_model, roles, params, *, student="Stack", shape=(5,), **args):
    """Train a student of a teacher of the same kind; the student's own answers and what was measured."""
    nets = {"Stack": ({"widths": [5, 12, 2]}, {"widths": [5, 4, 2]})}
    big, small = nets.get(student, (args, args))
    teacher, model = torch_model(student, *shape, **big), torch_model(student, *shape, **small)
    return apply("distill.fit", {"model": model, "teacher": teacher, **roles(*shape)}, params)


def test_says_whether_it_was_better_than_the_start(torch_model, roles, apply):
    good = trained(apply, torch_model, roles, {"epochs": 4, "learning_rate": 0.05, "weight": 0.1})
    assert good.measurements["better_than_start"] == 1
    assert good.measurements["tuning_loss"] < good.measurements["start_tuning_loss"]
    bad = trained(apply, torch_model, roles, {"epochs": 1, "learning_rate": 5.0, "weight": 1.0, "optimizer": "sgd"})
    assert bad.measurements["better_than_start"] == 0
    assert bad.measurements["tuning_loss"] > bad.measurements["start_tuning_loss"]
    assert 0 <= bad.measurements["teacher_tuning_accuracy"] <= 1


def test_chooses_the_best_epoch_by_the_labels_of_tuning_rows(torch_model, roles, apply):
    given_rows = roles()
    student, teacher = torch_model("Stack", 5, widths=[5, 4, 2]), torch_model("Stack", 5, widths=[5, 12, 2])
    done = apply("distill.fit", {"model": student, "teacher": teacher, **given_rows}, {"epochs": 3})
    made, rows = done.outputs["model"].module, given_rows["tuning"]
    loss = torch.nn.functional.cross_entropy(made(torch.from_numpy(rows.inputs["x"])), torch.from_numpy(rows.labels))
    assert float(loss.detach()) == pytest.approx(min(done.outputs["curves"]["tuning_loss"]), rel=1e-5)


@pytest.mark.parametrize("limit", [teaching.CACHE_BYTES, 0])
def test_asks_the_teacher_once_where_its_answers_can_be_kept(limit, torch_model, roles, apply, monkeypatch):
    """Kept or asked anew, the student learns the same."""
    monkeypatch.setattr(teaching, "CACHE_BYTES", limit)
    teacher, calls = torch_model("Stack", 5, widths=[5, 12, 2]), []
    teacher.module.register_forward_hook(lambda *_: calls.append(1))
    student = torch_model("Stack", 5, widths=[5, 4, 2])
    params = {"epochs": 3, "batch_size": 32, "layers": ("layers.1",), "early_stop": False}
    made = apply("distill.fit", {"model": student, "teacher": teacher, **roles()}, params).outputs["model"]
    # Two rows to look at shapes, the train rows, and the tuning rows for its accuracy; else three batches an epoch.
    assert len(calls) == (3 if limit else 3 + 9)
    monkeypatch.setattr(teaching, "CACHE_BYTES", 0 if limit else 1 << 29)
    again = apply("distill.fit", {"model": torch_model("Stack", 5, widths=[5, 4, 2]), "teacher": teacher, **roles()},
                  params).outputs["model"]  # fmt: skip
    for name, value in made.module.state_dict().items():
        torch.testing.assert_close(value, again.module.state_dict()[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("net", "shape", "layers"),
    [
        ("Stack", (5,), ("layers.1",)),
        ("Residual", (3, 6, 6), ("first", "second")),
        ("Attending", (3, 8), ("attention",)),
        ("Encoder", (3, 8), ("layer.self_attn", "layer")),  # whose attention torch computes otherwise where it may
    ],
)
def test_draws_layers_towards_the_teachers(*, net, shape, layers, torch_model, roles, apply):
    """With the teacher's layers alone to learn, the student's answer more like them than before."""
    given_rows, teacher, student = (
        roles(*shape),
        *(torch_model(net, *shape, **({"widths": [5, 8, 2]} if net == "Stack" else {})) for _ in range(2)),
    )
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in student.module.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    x = torch.from_numpy(given_rows["tuning"].inputs["x"])

    def apart(module):
        from titrant.runtime.backends.torch.determinism import plain_attention
        from titrant.runtime.distillation.layers import watched

        with torch.no_grad(), plain_attention(), watched(module, layers) as own, \
                watched(teacher.module, layers) as other:  # fmt: skip
            module.eval()(x)
            teacher.module(x)
            return float(sum(distance(own[name], other[name]) for name in layers))

    before = apart(student.module)
    params = {"epochs": 6, "weight": 1.0, "layers": layers, "learning_rate": 0.02, "early_stop": False}
    made = apply("distill.fit", {"model": student, "teacher": teacher, **given_rows}, params).outputs["model"]
    assert apart(made.module) < before


class Blocks(torch.nn.Module):
    """Blocks in a row, and one inside of each."""

    def __init__(self, count):
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Sequential(torch.nn.Linear(3, 3)) for _ in range(count))


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12))
def test_pairs_layers_by_name_or_evenly_and_ends_with_the_last(few, more):
    few, many = min(few, more), max(few, more)
    by_name = pairs(Blocks(few), Blocks(many), ("blocks.*",))
    assert [pair.student for pair in by_name] == [pair.teacher for pair in by_name]
    other = Blocks(many)
    other.layers = other.blocks
    del other.blocks
    student = Blocks(few)
    student.stages = student.blocks
    del student.blocks
    evenly = pairs(student, other, ("*.*",))
    places = [int(pair.teacher.partition(".")[2]) for pair in evenly]
    assert len(evenly) == few
    assert places == sorted(set(places))
    assert places[-1] == many - 1


def test_names_modules_part_by_part():
    assert matching(Blocks(2), "blocks.*") == ("blocks.0", "blocks.1")
    assert matching(Blocks(2), "blocks.*.0") == ("blocks.0.0", "blocks.1.0")
    assert matching(Blocks(2), "blocks") == ("blocks",)


@pytest.mark.parametrize(
    ("teacher", "student", "layers", "code", "words"),
    [
        ([5, 8, 2], [5, 4, 2], ("blocks.*",), "X561", "names 0 layers of the student and 0 of the teacher"),
        ([5, 8, 2], [5, 4, 4, 2], ("layers.*",), "X561", "names 5 layers of the student and 3 of the teacher"),
        ([5, 8, 3], [5, 4, 2], (), "X563", r"the student answers \(2, 2\), and the teacher \(2, 3\)"),
    ],
)
def test_says_what_does_not_fit(*, teacher, student, layers, code, words, torch_model, roles, apply):
    models = {"teacher": torch_model("Stack", 5, widths=teacher), "model": torch_model("Stack", 5, widths=student)}
    with pytest.raises(StepError, match=f"{code}: .*{words}"):
        apply("distill.fit", {**models, **roles()}, {"layers": layers})


class Answers(torch.nn.Module):
    """A layer that answers in the form that is asked for, and is called or not."""

    def __init__(self, form):
        super().__init__()
        self.form, self.linear = form, torch.nn.Linear(5, 2)

    def forward(self, x):
        y = self.linear(x)
        return {"whole": y.argmax(1), "text": "no", "longer": torch.cat([y, y]), "idle": y}[self.form]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("whole", "layer part answers with Tensor"),
        ("text", "layer part answers with str"),
        ("longer", "more than their width differs"),
        ("idle", "layer part of the student is not called"),
    ],
)
def test_says_which_layers_cannot_be_compared(form, words, torch_model, roles, apply):
    def with_part(model, part, *, called=True):
        model.module.part = part
        plain = model.module.layers.forward
        if called:
            model.module.layers.forward = lambda x: (part(x), plain(x))[1]
        return model

    teacher = with_part(torch_model("Stack", 5, widths=[5, 8, 2]), torch.nn.Linear(5, 2))
    student = with_part(torch_model("Stack", 5, widths=[5, 4, 2]), Answers(form), called=form != "idle")
    with pytest.raises(StepError, match=f"X562: .*{words}"):
        apply("distill.fit", {"teacher": teacher, "model": student, **roles()}, {"layers": ("part",)})


def test_takes_one_logit_and_losses_of_numbers(torch_model, roles, apply):
    for loss in ("binary_cross_entropy_with_logits", "mse_loss"):
        models = {
            "teacher": torch_model("Stack", 5, widths=[5, 8, 1]),
            "model": torch_model("Stack", 5, widths=[5, 4, 1]),
        }
        done = apply("distill.fit", {**models, **roles()}, {"loss": loss, "epochs": 2})
        assert len(done.outputs["curves"]["loss"]) == 2


def test_keeps_the_zeros_of_a_pruned_student(torch_model, roles, apply):
    student, teacher = torch_model("Stack", 5, widths=[5, 6, 2]), torch_model("Stack", 5, widths=[5, 12, 2])
    with torch.no_grad():
        student.module.layers[0].weight[:3] = 0
    params = {"epochs": 2, "keep_zeros": True, "layers": ("layers.1",), "learning_rate": 0.1}
    made = apply("distill.fit", {"model": student, "teacher": teacher, **roles()}, params).outputs["model"]
    assert not made.module.layers[0].weight[:3].any()


def test_gives_the_same_bytes_for_the_same_seed(torch_model, roles, apply):
    params, made = {"epochs": 2, "layers": ("layers.1",)}, []
    for _ in range(2):
        models = {
            "teacher": torch_model("Stack", 5, widths=[5, 8, 2]),
            "model": torch_model("Stack", 5, widths=[5, 4, 2]),
        }
        made.append(weights(apply("distill.fit", {**models, **roles()}, params, seed=5).outputs["model"]))
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())


def test_follows_the_teacher_in_training_mode_of_the_student_alone(torch_model, roles, apply):
    """The teacher's normalization keeps its statistics."""
    models = {name: torch_model("TinyNet", 1, 6, 6) for name in ("teacher", "model")}
    models = {name: dataclasses.replace(model) for name, model in models.items()}
    before = weights(models["teacher"])
    apply("distill.fit", {**models, **roles(1, 6, 6)}, {"epochs": 2})
    assert all(torch.equal(before[name], value) for name, value in models["teacher"].module.state_dict().items())


@pytest.mark.usefixtures("warm_workers")
def test_learns_in_two_processes_what_it_learns_in_one(torch_model, roles, apply):
    """A projection is trained beside, each process asks the teacher itself, and the sweep is made before."""
    params = {"epochs": 2, "batch_size": 32, "layers": ("layers.1",), "optimizer": "sgd", "find_learning_rate": True}
    one, two = (trained(apply, torch_model, roles, params | more) for more in ({}, {"processes": 2}))
    assert two.outputs["curves"]["sweep"] == one.outputs["curves"]["sweep"]
    for curve in ("loss", "tuning_loss", "tuning_accuracy"):
        assert two.outputs["curves"][curve] == pytest.approx(one.outputs["curves"][curve], rel=1e-4), curve
    assert two.measurements["learning_rate"] == one.measurements["learning_rate"]
    assert two.measurements["start_tuning_loss"] == one.measurements["start_tuning_loss"]
    for name, value in two.outputs["model"].module.state_dict().items():
        torch.testing.assert_close(value, one.outputs["model"].module.state_dict()[name], atol=1e-5, rtol=1e-4)


def test_sends_no_module_that_lives_here_alone_to_other_processes(torch_model, roles, apply):
    student, teacher = torch_model("Stack", 5, widths=[5, 4, 2]), torch_model("Stack", 5, widths=[5, 12, 2])
    for ours in ({"model": student}, {"teacher": teacher}):
        live = {name: dataclasses.replace(model, source_digest="") for name, model in ours.items()}
        with pytest.raises(StepError, match="X616: several processes build a model from its factory"):
            apply("distill.fit", {"model": student, "teacher": teacher, **live, **roles()}, {"processes": 2})
