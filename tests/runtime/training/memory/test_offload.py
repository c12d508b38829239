"""Activations on the disk: the same weights from less memory, and files that are gone afterwards."""

import copy
import errno
from pathlib import Path

import pytest
import torch  # noqa: TID253 - its very subject
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from titrant.runtime.training.loop import offloading, train
from titrant.runtime.training.memory import offload
from titrant.runtime.training.task import TaughtInputs, TrainingSettings, TrainingTask
from titrant.runtime.training.trial import trial_steps
from titrant.schema.diagnostics.diagnostics import StepError

ROWS, WIDTH = 128, 64
ONE = ROWS * WIDTH * 4  # bytes of one activation; in 16 bits just what may go to the disk


def net():
    torch.manual_seed(0)
    blocks = [
        nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(inplace=True), nn.BatchNorm1d(WIDTH), nn.Tanh(), nn.Dropout(0.2))
        for _ in range(4)
    ]
    return nn.Sequential(*blocks, nn.Linear(WIDTH, 2))


class Attending(nn.Module):
    """Queries, keys and values are views of one storage, strided and transposed."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, batch_first=True)

    def forward(self, x):
        return self.layer(x.reshape(ROWS, 2, 32))[:, 0, :2].contiguous()


def attending():
    torch.manual_seed(0)
    return Attending()


def task_of(module, scratch, batches=None, **said):
    if batches is None:
        drawn = torch.Generator().manual_seed(1)
        batches = [
            (torch.randn(ROWS, WIDTH, generator=drawn), torch.randint(2, (ROWS,), generator=drawn)) for _ in range(4)
        ]
    return TrainingTask(
        module=module,
        train=lambda: batches,
        tuning=lambda: batches[:1],
        objective=lambda output, labels, _: functional.cross_entropy(output, labels),
        settings=TrainingSettings(**{"epochs": 2, "optimizer": "sgd", "learning_rate": 0.1, **said}),
        generator=None,
        call=lambda module, inputs: module(inputs.inputs if isinstance(inputs, TaughtInputs) else inputs),
        right=None,
        progress=lambda *_: None,
        batches=len(batches),
        scratch=scratch,
    )


def trained(module, scratch, **said):
    torch.manual_seed(2)
    course = train(task_of(module, scratch, **said))
    return course.loss, course.tuning_loss, module.state_dict()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (net, {"above": 0}),
        (net, {"above": 5 * ONE}),
        (net, {"above": 0, "accumulate": 3, "gradient_checkpointing": 0.5}),
        (net, {"above": 0, "precision": "bf16"}),
        (net, {"above": 14 * ONE, "find_learning_rate": True}),
        (attending, {"above": 0}),
    ],
)
def test_learns_bit_for_bit_what_it_learns_in_memory(make, said, tmp_path, monkeypatch):
    written = []
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: written.append(write(path, content)))
    above = said.pop("above")
    plain = trained(make(), tmp_path, **said)
    assert not written
    loss, tuning_loss, state = trained(make(), tmp_path, **said, offload_above_bytes=above)
    assert written
    assert all(size >= offload.SMALLEST_BYTES for size in written)
    assert (loss, tuning_loss) == plain[:2]
    assert all(torch.equal(value, state[name]) for name, value in plain[2].items())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize("above", [0, 3 * ONE, 1000 * ONE])
def test_predicts_and_measures_a_lower_peak_and_what_the_disk_takes(ratio, above, tmp_path):
    task = task_of(net(), tmp_path, gradient_checkpointing=ratio, offload_above_bytes=above)
    measured = {}
    trial_steps(task, task.train()[0], lambda name, value, _: measured.update({name: value}))
    whole, peak, disk = (measured[f"offload_{name}"] for name in ("all_bytes_predicted", "peak_bytes", "disk_bytes"))
    assert measured["offload_peak_bytes_predicted"] == pytest.approx(peak, rel=0.15)
    assert measured["offload_disk_bytes_predicted"] == disk
    assert (measured["offload_seconds"] > 0) is (disk > 0)
    if above == 1000 * ONE:
        assert disk == 0
        assert whole == measured["offload_peak_bytes_predicted"]
    else:
        assert disk > 0
        assert peak < min(above + 7 * ONE, 0.9 * whole)
    assert list(tmp_path.iterdir()) == []


def test_keeps_a_storage_once_and_inputs_and_weights_never(tmp_path, monkeypatch):
    reads, opened = [], Path.open

    def open_counted(path, mode="r", *rest, **named):
        reads.extend([path] * (mode == "rb"))
        return opened(path, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", open_counted)
    files = offload.ActivationFiles(tmp_path, 0)
    layer, rows = nn.Linear(WIDTH, WIDTH), torch.randn(4 * ROWS, WIDTH)
    part = rows[:ROWS].requires_grad_()

    def answer(module, inputs):
        # Kept are the rows, and of tanh once what it answers, though product and square keep it as well.
        hidden = module(inputs).tanh()
        return (hidden * hidden.t().t()).square().sum()

    loss = files.call(lambda: answer(layer, part), layer, part)
    assert files.written_bytes == 2 * ONE
    assert len(list(tmp_path.iterdir())) == 2
    loss.backward(retain_graph=True)
    assert len(reads) == 3  # for the square, once for both factors, and for tanh
    assert len(list(tmp_path.iterdir())) == 2
    kept = part.grad.clone()
    loss.backward()
    assert torch.equal(part.grad, kept + kept)
    del loss
    assert list(tmp_path.iterdir()) == []


def test_gives_back_what_was_there_before_a_change_in_place_and_refuses_one_in_memory(tmp_path):
    def answer(module, inputs):
        hidden = module(inputs).exp()
        total = hidden.square().sum()
        hidden.add_(1)
        return total + hidden.square().sum()

    layer, rows = nn.Linear(WIDTH, WIDTH), torch.randn(ROWS, WIDTH)
    offload.ActivationFiles(tmp_path, 0).call(lambda: answer(layer, rows), layer, rows).backward()
    hidden = layer(rows).exp()
    expected = hidden.square().sum() + (hidden + 1).square().sum()
    gradient = layer.weight.grad.clone()
    layer.weight.grad = None
    expected.backward()
    assert torch.allclose(layer.weight.grad, gradient)
    loss = offload.ActivationFiles(tmp_path, ONE).call(lambda: answer(layer, rows), layer, rows)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "ermission denied")])
def test_ends_with_a_cause_where_the_disk_refuses_and_leaves_nothing(number, words, tmp_path, monkeypatch):
    write, written = Path.write_bytes, []

    def refuse(path, content):
        written.append(path)
        if len(written) > 3:
            raise OSError(number, "Permission denied")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StepError, match=f"X624.*{words}"):
        train(task_of(net(), tmp_path, offload_above_bytes=0))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(StepError, match="X624"):
        train(task_of(net(), tmp_path / "gone", offload_above_bytes=0))


@pytest.mark.parametrize(
    ("harm", "words"), [(Path.unlink, "o such file"), (lambda file: file.write_bytes(b""), "0 bytes")]
)
def test_says_which_file_cannot_be_read_back(harm, words, tmp_path):
    def loses(module, inputs):
        answer = module(inputs)
        for file in tmp_path.glob("*/*.bin"):
            harm(file)
        return answer

    module = net()
    task = task_of(module, tmp_path, offload_above_bytes=0)
    with offloading(task) as (_, files):
        answer = files.call(lambda: loses(module, task.train()[0][0]), module, ())
        with pytest.raises(StepError, match=f"X625.*{words}"):
            answer.sum().backward()
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_module_that_is_not_on_a_processor(tmp_path):
    with (
        pytest.raises(StepError, match=r"X626.*meta"),
        offloading(task_of(copy.deepcopy(net()).to("meta"), tmp_path, offload_above_bytes=0)),
    ):
        pass
