"""Devices in the user's own process: what is chosen, said of them, and moved."""

import collections
import dataclasses
from importlib.util import find_spec

import pytest

import titrant

torch = pytest.importorskip("torch")
CUDA = torch.cuda.is_available()
ACCELERATED = CUDA or torch.backends.mps.is_available()
Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True)
class Batch:
    x: object
    names: tuple[str, ...] = ()
    length: int = dataclasses.field(init=False, default=0)


@pytest.mark.skipif(ACCELERATED, reason="there is an accelerator here")
def test_chooses_the_cpu_where_there_is_nothing_else():
    assert titrant.get_device() == torch.device("cpu")


@pytest.mark.skipif(CUDA, reason="there is a GPU here")
def test_says_why_it_falls_back_to_the_cpu():
    with pytest.warns(UserWarning, match="using the CPU: .*CUDA"):
        assert titrant.get_device("cuda:1") == torch.device("cpu")
    info = titrant.get_device_info("cuda")
    assert info.type == "cpu"
    assert "in place of cuda" in info.note
    with pytest.raises(RuntimeError, match="cannot wait for cuda"):
        titrant.synchronize("cuda")


def test_refuses_a_device_that_does_not_exist():
    for ask in (titrant.get_device, titrant.get_device_info, titrant.synchronize):
        with pytest.raises(ValueError, match="no device is called 'gpu'; write auto, cpu, cuda"):
            ask("gpu")
        ask("auto")
    with pytest.raises(ValueError, match="no device is called 3; write auto, cpu, cuda"):
        titrant.get_device_info(3)


def test_describes_the_cpu():
    info = titrant.get_device_info("cpu")
    assert (info.type, info.index, info.note) == ("cpu", None, "")
    assert 0 < info.active_bytes <= info.peak_bytes * 1.1
    assert info.free_bytes <= info.total_bytes
    assert info.cached_bytes is None
    assert titrant.device_status()[0].name == info.name
    titrant.synchronize("cpu")
    titrant.synchronize()


@pytest.mark.skipif(not CUDA, reason="needs an NVIDIA GPU")
def test_describes_a_gpu():
    device = titrant.get_device()
    held = torch.zeros(1 << 20, device=device)
    titrant.synchronize(device)
    info = titrant.get_device_info(device)
    assert info.type == "cuda"
    assert held.nbytes <= info.active_bytes <= info.peak_bytes
    assert info.active_bytes <= info.cached_bytes <= info.total_bytes
    assert len(titrant.device_status()) == 1 + torch.cuda.device_count()


@pytest.mark.skipif(find_spec("mlx") is not None, reason="MLX is installed here")
def test_says_that_mlx_is_not_installed():
    assert "mlx is not installed: pip install mlx" in titrant.get_device_info("mlx").note
    with pytest.raises(RuntimeError, match="mlx is not installed"):
        titrant.synchronize("mlx")


@pytest.mark.skipif(find_spec("mlx") is None, reason="needs MLX")
def test_describes_mlx():
    import mlx.core as mlx

    held = mlx.ones((1000, 1000))
    mlx.eval(held)
    titrant.synchronize("mlx")
    info = titrant.get_device_info("mlx")
    assert info.type == "mlx"
    assert held.nbytes <= info.active_bytes <= info.peak_bytes


def test_moves_tensors_wherever_they_are():
    x = torch.ones(2)
    given = {
        "list": [x, (x, "text", None)],
        "pair": Pair(x, 3),
        "batch": Batch(x, ("a",)),
        "ordered": collections.OrderedDict(x=x),
        "counts": collections.defaultdict(list, x=[x]),
        "module": torch.nn.Linear(2, 1),
        "other": {1, 2},
    }
    moved = titrant.move_to_device(given, "meta")
    assert moved["list"][0].is_meta
    assert moved["list"][1][0].is_meta
    assert moved["list"][1][1:] == ("text", None)
    assert isinstance(moved["pair"], Pair)
    assert moved["pair"].left.is_meta
    assert moved["batch"].x.is_meta
    assert moved["batch"].names == ("a",)
    assert isinstance(moved["ordered"], collections.OrderedDict)
    assert moved["ordered"]["x"].is_meta
    assert moved["counts"]["x"][0].is_meta
    assert moved["counts"]["new"] == []
    assert moved["module"].weight.is_meta
    assert moved["other"] is given["other"]
    assert not given["batch"].x.is_meta
    assert not given["list"][0].is_meta
