"""titrant.distill: a live student learns of a live teacher, by Hinton's loss and by layers, on a loader's batches."""

import pytest
import torch  # noqa: TID253 - live models are its subject
from torch import nn  # noqa: TID253
from torch.utils.data import DataLoader, TensorDataset  # noqa: TID253

import titrant
from titrant.api.train import TrainingSettings
from titrant.schema.diagnostics.diagnostics import StepError


def net(width, seed, outputs=2):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, outputs))


def loaders(count=64):
    torch.manual_seed(0)
    x = torch.randn(count, 5)
    rows = TensorDataset(x, (x[:, 0] > 0).long())
    return DataLoader(rows, batch_size=count), DataLoader(rows, batch_size=16)


def test_learns_by_both_losses_as_the_formula_has_it():
    loader, _ = loaders()
    teacher, student, expected = net(9, 1), net(3, 2), net(3, 2)
    x, labels = next(iter(loader))
    own, other = expected(x) / 4, teacher(x).detach() / 4
    kl = nn.functional.kl_div(torch.log_softmax(own, 1), torch.softmax(other, 1), reduction="batchmean")
    loss = 0.7 * 16 * kl + 0.3 * nn.functional.cross_entropy(expected(x), labels)
    loss.backward()
    settings = TrainingSettings(epochs=1, optimizer="sgd", learning_rate=0.1, weight_decay=0.0)
    terms = titrant.TeacherTerms(temperature=4, weight=0.7)
    done = titrant.distill(student, teacher, loader, terms=terms, settings=settings)
    assert done.model is student
    assert done.curves["loss"][0] == pytest.approx(float(loss.detach()), rel=1e-5)
    for made, parameter in zip(student.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(made, parameter - 0.1 * parameter.grad, atol=1e-6, rtol=1e-5)


def test_imitates_layers_of_another_width_and_leaves_nothing_behind():
    _, loader = loaders()
    teacher, student = net(9, 1).train(), net(3, 2)
    names, before = [*student.state_dict()], [value.clone() for value in teacher.parameters()]
    settings = TrainingSettings(epochs=3, early_stop=True)
    done = titrant.distill(
        student, teacher, loader, tuning=loader, terms=titrant.TeacherTerms(layers=("1",)), settings=settings
    )
    assert [*student.state_dict()] == names
    assert len(done.curves["tuning_loss"]) == len(done.curves["loss"])
    assert all(torch.equal(value, kept) for value, kept in zip(teacher.parameters(), before, strict=True))
    assert not any(part._forward_hooks for part in (*student.modules(), *teacher.modules()))


def test_says_what_does_not_fit():
    _, loader = loaders()
    with pytest.raises(StepError, match=r"X563: the student answers \(16, 2\), and the teacher \(16, 3\)"):
        titrant.distill(net(3, 2), net(9, 1, outputs=3), loader)
    with pytest.raises(ValueError, match=r"the weight 0 to 1, not 2 and 1\.5"):
        titrant.distill(net(3, 2), net(9, 1), loader, terms=titrant.TeacherTerms(weight=1.5))
    with pytest.raises(StepError, match="X512"):
        titrant.distill(net(3, 2), net(9, 1), [])
