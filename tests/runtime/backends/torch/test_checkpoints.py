"""Checkpoints as trainers leave them: one set of weights is taken whole from where it stands, or none is."""

import argparse
import json
import sys
import types

import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn  # noqa: TID253

from titrant.runtime.backends.torch.weights import WeightsChoice, load_weights
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width)
        self.inner = nn.Sequential(nn.Linear(width, 2))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.lm_head = nn.Linear(3, 5, bias=False)
        self.lm_head.weight = self.embed.weight


# What the recipe has to say, rather than what is wrong with the file.
QUESTIONS = ("X163", "X164")


def net(seed=0):
    torch.manual_seed(seed)
    made = Net()
    made.norm.running_mean.normal_()
    return made


def behind(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def holds(module, state):
    own = module.state_dict()
    return all(torch.equal(own[name], tensor.to(own[name].dtype)) for name, tensor in state.items())


def saved(folder, value, name="w.pt"):
    torch.save(value, folder / name)
    return str(folder / name)


def refused(code, path, module=None, choice=None):
    untouched = module or Net()
    before = {name: tensor.clone() for name, tensor in untouched.state_dict().items()}
    with pytest.raises(RecipeError if code in QUESTIONS else StepError) as caught:
        load_weights(untouched, path, choice or WeightsChoice())
    assert holds(untouched, before)
    finding = caught.value.diagnostics[0]
    assert finding.code == code
    assert "\n" not in finding.message + finding.help
    assert finding.help
    return finding


KEYS = st.lists(st.sampled_from(["state_dict", "model", "ema", "net.x", "checkpoint"]), max_size=3)
PARTS = st.lists(st.sampled_from(["module", "model", "net", "_orig_mod", "encoder"]), max_size=3)
CONTAINERS = ("w.pt", "w.ckpt", "w.bin", "w.safetensors", "w.safetensors.index.json", "w.bin.index.json")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SPOILED = ("", "", "missing", "extra", "shape", "integer", "nan", "copy")


def write(folder, container, value):
    """Write a flat state dict or a nested checkpoint; shards put every other tensor in the second file."""
    if not container.endswith("index.json"):
        (save_file if container.endswith("safetensors") else torch.save)(value, folder / container)
        return str(folder / container)
    ending = "safetensors" if "safetensors" in container else "bin"
    files = [f"w-0000{place}-of-00002.{ending}" for place in (1, 2)]
    places = {name: files[place % 2] for place, name in enumerate(value)}
    for file in files:
        part = {name: tensor for name, tensor in value.items() if places[name] == file}
        (save_file if ending == "safetensors" else torch.save)(part, folder / file)
    (folder / container).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return str(folder / container)


def spoil(state, how):
    """Take something from a state dict, or put something wrong in it."""
    if how == "missing":
        del state["inner.0.weight"]
    elif how == "extra":
        state["inner.1.weight"] = torch.ones(2, 2)
    elif how == "shape":
        state["first.bias"] = torch.ones(5)
    elif how == "integer":
        state["first.weight"] = torch.ones(4, 3, dtype=torch.int8)
    elif how == "nan":
        state["inner.0.bias"] = torch.full((2,), torch.nan)
    return state


@settings(max_examples=40)
@given(
    where=st.tuples(KEYS, PARTS),
    container=st.sampled_from(CONTAINERS),
    dtype=st.sampled_from(DTYPES),
    how=st.sampled_from(SPOILED),
)
def test_takes_every_tensor_from_where_it_stands_or_refuses_the_file(tmp_path_factory, where, container, dtype, how):
    keys, parts = where
    folder = tmp_path_factory.mktemp("checkpoint")
    state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in net().state_dict().items()}
    flat = behind("".join(f"{part}." for part in parts), spoil(dict(state), how))
    value = {name: tensor.clone() for name, tensor in flat.items()}
    nested = container.endswith((".pt", ".ckpt", "w.bin"))
    for key in reversed(keys) if nested else ():
        value = {key: value, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(4, 3)}}, "groups": [1]}}
    if how == "copy":
        copied = {f"copy.{name}": tensor.clone() for name, tensor in flat.items()}
        value = value | ({"copy": {name: tensor.clone() for name, tensor in flat.items()}} if nested else copied)
    path = write(folder, container, value)
    module = net(1)
    if how:
        refused("X155" if how == "nan" else "X163" if how == "copy" else "X154", path, module)
        return
    loaded = load_weights(module, path)
    assert holds(module, state)
    assert loaded.tensors == len(state)
    assert loaded.key == (".".join(keys) if nested else "")
    assert loaded.prefix == "".join(f"{part}." for part in parts if part != "_orig_mod")
    assert [(old, count) for old, _, count in loaded.casts] == (
        [] if dtype == torch.float32 else [(str(dtype).removeprefix("torch."), 8)]
    )


def test_asks_which_of_two_sets_is_meant_and_takes_the_one_that_is_named(tmp_path):
    state, average = net().state_dict(), net(1).state_dict()
    path = saved(tmp_path, {"model": state, "model_ema": behind("module.", average), "epoch": 1})
    finding = refused("X163", path)
    assert "2 sets of weights that fit the model: under `model`, under `model_ema` behind `module.`" in finding.message
    assert '`weights: {path: …, key: model, prefix: ""}`' in finding.help
    assert '`key: model_ema, prefix: "module."`' in finding.help
    module = Net()
    assert load_weights(module, path, WeightsChoice("model_ema")).prefix == "module."
    assert holds(module, average)
    load_weights(module, path, WeightsChoice("model"))
    assert holds(module, state)


def test_tells_two_sets_apart_by_prefix(tmp_path):
    state, average = net().state_dict(), net(1).state_dict()
    path = saved(tmp_path, {"state_dict": behind("model.", state) | behind("teacher.", average)})
    assert 'prefix: "teacher."' in refused("X163", path).help
    module = Net()
    loaded = load_weights(module, path, WeightsChoice(prefix="teacher."))
    assert holds(module, average)
    assert loaded.left_out == (("model.first.weight", len(state)),)


def test_says_what_the_file_has_where_a_key_or_prefix_is_not_in_it(tmp_path):
    path = saved(tmp_path, {"model_ema": net().state_dict(), "epoch": 1})
    finding = refused("X164", path, choice=WeightsChoice("model_em"))
    assert "under `model_em`" in finding.message
    assert "did you mean `model_ema`?" in finding.help
    assert "begins with `net.`" in refused("X164", path, choice=WeightsChoice(prefix="net.")).message


def test_leaves_out_what_a_trainer_keeps_beside_the_model(tmp_path):
    state = net().state_dict()
    beside = {"loss.weight": torch.ones(3), "n_averaged": torch.tensor(5)}
    checkpoint = {
        "state_dict": behind("model.", state) | beside,
        "optimizer_states": [{"state": {}}],
        "hyper_parameters": {"lr": 0.1},
        "epoch": 3,
    }
    module = Net()
    loaded = load_weights(module, saved(tmp_path, checkpoint, "w.ckpt"))
    assert holds(module, state)
    assert loaded.left_out == (("loss.weight", 2),)
    assert loaded.others == ("optimizer_states", "hyper_parameters", "epoch")


def test_finds_wrappers_in_the_middle_of_names_and_a_prefix_that_the_model_has(tmp_path):
    state = net().state_dict()
    module = Net()
    wrapped = {name.replace("inner.", "inner._orig_mod."): tensor for name, tensor in state.items()}
    assert load_weights(module, saved(tmp_path, wrapped)).wrappers == ("_orig_mod",)
    assert holds(module, state)
    outer = nn.Module()
    outer.net = Net()
    assert load_weights(outer, saved(tmp_path, state)).added == "net."
    assert holds(outer.net, state)


def test_takes_parts_that_stand_under_keys_of_their_own(tmp_path):
    module, state = Net(), net().state_dict()
    parts = {
        part: {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}
        for part in ("first", "norm", "inner")
    }
    load_weights(module, saved(tmp_path, {"nets": parts, "epoch": 3}))
    assert holds(module, state)


def test_refuses_tied_weights_that_differ_in_the_file(tmp_path):
    state = {name: tensor.clone() for name, tensor in Tied().state_dict().items()}
    load_weights(Tied(), saved(tmp_path, state))
    state["lm_head.weight"] += 1
    finding = refused("X154", saved(tmp_path, state), Tied())
    assert "ties embed.weight and lm_head.weight" in finding.message


def test_counts_what_differs_and_names_what_is_nearest(tmp_path):
    state = behind("module.", net().state_dict())
    state["module.inner.fc.weight"] = state.pop("module.inner.0.weight")
    finding = refused("X154", saved(tmp_path, state))
    assert "behind `module.` does not fit the model: the file lacks inner.0.weight" in finding.message
    assert "`module.inner.fc.weight` in the file is nearest to the model's `inner.0.weight`" in finding.help
    other = refused("X154", saved(tmp_path, nn.LSTM(4, 4).state_dict()))
    assert "none of its 4 names is one of the model's 9" in other.message
    assert "another model's" in other.help


def test_names_the_index_where_one_shard_is_given_and_the_shard_that_is_not_there(tmp_path):
    write(tmp_path, "model.safetensors.index.json", net().state_dict())
    for place in (1, 2):
        (tmp_path / f"w-0000{place}-of-00002.safetensors").rename(tmp_path / f"model-0000{place}-of-00002.safetensors")
    shard = tmp_path / "model-00001-of-00002.safetensors"
    assert "name model.safetensors.index.json" in refused("X154", str(shard)).help
    assert "w-00001-of-00002.safetensors" in refused("X165", str(tmp_path / "model.safetensors.index.json")).message


def test_refuses_shards_that_hold_other_tensors_than_the_index_says(tmp_path):
    path = write(tmp_path, "w.safetensors.index.json", net().state_dict())
    save_file({"first.weight": torch.ones(4, 3)}, tmp_path / "w-00001-of-00002.safetensors")
    assert "differ in which tensors the shard holds" in refused("X165", path).message


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": "../b.safetensors"}}'])
def test_refuses_an_index_that_is_none(tmp_path, text):
    (tmp_path / "w.safetensors.index.json").write_text(text)
    refused("X152", str(tmp_path / "w.safetensors.index.json"))


def test_says_what_a_pickle_holds_and_how_to_convert_it(tmp_path, monkeypatch):
    home = types.ModuleType("home_of_net")
    home.Net = type("Net", (Net,), {"__module__": "home_of_net"})
    monkeypatch.setitem(sys.modules, "home_of_net", home)
    whole = refused("X153", saved(tmp_path, home.Net()))
    assert "one pickled object (home_of_net.Net)" in whole.message
    assert ".state_dict(), " in whole.help
    checkpoint = {"state_dict": net().state_dict(), "hyper_parameters": argparse.Namespace(lr=0.1)}
    named = refused("X153", saved(tmp_path, checkpoint))
    assert "argparse.Namespace" in named.message
    assert '["state_dict"]' in named.help


def test_tells_half_a_file_a_folder_and_a_program_apart(tmp_path):
    path = saved(tmp_path, net().state_dict())
    content = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(content[: len(content) // 2])
    assert "only the beginning" in refused("X152", str(tmp_path / "half.pt")).message
    (tmp_path / "folder.pt").mkdir()
    assert "is a folder" in refused("X152", str(tmp_path / "folder.pt")).message
    torch.jit.script(nn.Linear(2, 2)).save(path)
    assert "TorchScript" in refused("X152", path).message
