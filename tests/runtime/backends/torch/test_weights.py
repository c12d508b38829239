"""Weights: formats, nesting and prefixes read; pickles, mismatches and NaN refused in one line."""

import pickle

import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from safetensors.torch import save_file
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.checkpoint import read_saved
from titrant.runtime.backends.torch.weights import load_weights
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.seen import LoadedWeights


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, 2)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3, bias=False)
        self.b = nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def loaded_plainly(loaded):
    return loaded == LoadedWeights(loaded.file, loaded.tensors, loaded.elements)


def refused(code, path, module=None):
    with pytest.raises(StepError) as caught:
        read_saved(str(path)) if module is None else load_weights(module, str(path))
    finding = caught.value.diagnostics[0]
    assert finding.code == code
    assert "\n" not in finding.message
    assert finding.help
    return finding


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.th", "w.ckpt", "w.safetensors"])
def test_loads_every_format(tmp_path, net, name):
    save = save_file if name.endswith("safetensors") else torch.save
    save(net.state_dict(), tmp_path / name)
    other = Net()
    assert loaded_plainly(load_weights(other, str(tmp_path / name)))
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("legacy", [False, True])
def test_takes_one_nesting_and_a_common_prefix_off_and_says_so(tmp_path, net, legacy):
    state = {f"module.{key}": tensor for key, tensor in net.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    loaded = load_weights(Net(), str(tmp_path / "w.pth"))
    assert (loaded.key, loaded.prefix, loaded.others) == ("state_dict", "module.", ("epoch",))


def test_refuses_a_pickle_that_holds_more_than_tensors_and_runs_none_of_it(tmp_path, net):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"model": net, "trap": Trap()}, tmp_path / "w.pt")
    finding = refused("X153", tmp_path / "w.pt")
    assert "Python objects" in finding.message
    assert not (tmp_path / "sprung").exists()


def test_refuses_files_that_are_no_checkpoint(tmp_path):
    refused("X152", tmp_path / "gone.pt")
    for name in ("w.pt", "w.safetensors", "w.pth"):
        (tmp_path / name).write_bytes(b"\x80\x02no weights at all")
        refused("X152", tmp_path / name)
    (tmp_path / "w.h5").write_bytes(b"")
    assert ".safetensors" in refused("X152", tmp_path / "w.h5").help
    (tmp_path / "p.pt").write_bytes(pickle.dumps([1, 2]))
    refused("X152", tmp_path / "p.pt")


def test_refuses_a_truncated_file(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "w.pt")
    whole = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(whole[: len(whole) // 2])
    refused("X152", tmp_path / "w.pt")


def test_says_which_shapes_and_names_differ(tmp_path, net):
    state = net.state_dict()
    state["head.weight"] = state.pop("last.weight")
    torch.save(state, tmp_path / "w.pt")
    message = refused("X154", tmp_path / "w.pt", Net(5)).message
    assert "first.weight is (4, 3) in the file and (5, 3) in the model" in message
    assert "more shapes differ" in message
    assert "the file lacks last.weight" in message
    assert "the model lacks head.weight" in message


def test_refuses_a_state_dict_with_other_values(tmp_path, net):
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "w.pt")
    assert "epoch, lr are not tensors" in refused("X152", tmp_path / "w.pt").message


def test_refuses_nan(tmp_path, net):
    net.last.bias.data[0] = float("nan")
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    assert "NaN in last.bias" in refused("X155", tmp_path / "w.safetensors", Net()).message


@pytest.mark.parametrize("sign", [1, -1])
def test_refuses_infinity_in_a_layer_and_takes_it_in_a_mask(sign, tmp_path, net):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.mask = nn.Linear(3, 2), nn.Parameter(torch.zeros(3), requires_grad=False)

    module = Masked()
    module.mask.data[0] = sign * float("inf")
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    load_weights(Masked(), str(tmp_path / "w.safetensors"))
    module.last.weight.data[0, 0] = sign * float("inf")
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    assert "infinity in last.weight" in refused("X155", tmp_path / "w.safetensors", Masked()).message


def test_refuses_nan_in_a_tied_weight_as_nan(tmp_path):
    weight = torch.full((3, 3), float("nan"))
    torch.save({"a.weight": weight, "b.weight": weight.clone()}, tmp_path / "w.pt")
    assert "NaN in " in refused("X155", tmp_path / "w.pt", Tied()).message


def test_accepts_missing_batch_counters_and_tied_weights(tmp_path, net):
    state = {key: tensor for key, tensor in net.state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "w.pt")
    assert load_weights(Net(), str(tmp_path / "w.pt")).counters == 1
    save_file({"a.weight": torch.ones(3, 3)}, tmp_path / "t.safetensors")
    tied = Tied()
    assert load_weights(tied, str(tmp_path / "t.safetensors")).tied == 1
    assert torch.equal(tied.b.weight, torch.ones(3, 3))


def test_notes_that_half_precision_weights_are_cast(tmp_path, net):
    halves = {key: t.half() if t.is_floating_point() else t for key, t in net.state_dict().items()}
    torch.save(halves, tmp_path / "w.pt")
    assert load_weights(Net(), str(tmp_path / "w.pt")).casts == (("float16", "float32", 8),)
