import ast
import gc
import importlib
import os
import random
import subprocess
import sys

import numpy as np
import pytest

import titrant
from titrant.runtime import seed

DRAW = """
import sys, titrant
loaded = "torch" in sys.modules
told = titrant.set_seed(7)
import random, numpy, torch
print(random.random(), numpy.random.rand(), torch.rand(1).item(), torch.are_deterministic_algorithms_enabled())
print(hash("x"), told["PYTHONHASHSEED"], loaded)
"""


WORKERS = """
import random, numpy, titrant, torch

class Drawn(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, place):
        return random.random(), numpy.random.rand(), torch.rand(1).item()

for seed in (7, 7, 8):
    titrant.set_seed(seed)
    loader = torch.utils.data.DataLoader(Drawn(), batch_size=None, num_workers=2)
    print([numbers for numbers in loader])
"""


@pytest.fixture(autouse=True)
def _kept(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    torch_settings = sys.modules["torch"].get_deterministic_debug_mode() if "torch" in sys.modules else None
    yield
    if torch_settings is not None:
        sys.modules["torch"].set_deterministic_debug_mode(torch_settings)


def test_draws_the_same_numbers_in_every_process_whenever_the_libraries_are_imported(warm, tmp_path):
    given = {**os.environ, "PYTHONHASHSEED": "7"}
    later = subprocess.run([sys.executable, "-c", DRAW], capture_output=True, text=True, env=given, check=False)
    before = warm("-c", DRAW, cwd=tmp_path, env=given)
    assert (later.returncode, before.returncode) == (0, 0), later.stderr + before.stderr
    (drawn, hashed), (drawn_before, _) = later.stdout.splitlines(), before.stdout.splitlines()
    assert drawn == drawn_before
    assert drawn.endswith("True")
    hashing = [sys.executable, "-c", "print(hash('x'))"]
    again = subprocess.run(hashing, capture_output=True, text=True, env=given, check=True).stdout.strip()
    assert hashed == f"{again} 7 False"
    assert before.stdout.endswith("True\n")


def test_starts_the_same_sequences_again_in_one_process():
    titrant.set_seed(3)
    first = random.random(), np.random.rand()
    titrant.set_seed(3)
    assert (random.random(), np.random.rand()) == first
    titrant.set_seed(4)
    assert (random.random(), np.random.rand()) != first


def test_workers_of_a_data_loader_draw_the_same_numbers_again(warm, tmp_path):
    """Each worker its own: of Python, NumPy and torch, of which the loader seeds its workers."""
    done = warm("-c", WORKERS, cwd=tmp_path, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    first, again, other = map(ast.literal_eval, done.stdout.splitlines())
    assert first == again
    numbers = [number for rows in (first, other) for row in rows for number in row]
    assert len(numbers) == len(set(numbers)) == 24


def test_mlx_draws_the_same_numbers_again():
    mlx = importlib.import_module("mlx.core")
    drawn = []
    for number in (7, 7, 8):
        titrant.set_seed(number)
        drawn.append(mlx.random.uniform(shape=(3,)).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_says_and_sets_what_child_processes_need():
    told = titrant.set_seed(2**32 + 5)
    assert told == {"PYTHONHASHSEED": "5", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    assert {name: os.environ[name] for name in told} == told


@pytest.mark.parametrize("seed", [-1, 2**63, True, 1.0, "7"])
def test_refuses_what_is_no_seed(seed):
    with pytest.raises(ValueError, match="a seed is a whole number"):
        titrant.set_seed(seed)


def test_loads_a_library_without_looking_for_garbage_meanwhile(tmp_path, monkeypatch):
    (tmp_path / "large_library.py").write_text("import gc\nCOLLECTING = gc.isenabled()\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(seed, "_LIBRARIES", ("large_library",))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(seed.Seeding, "_set", lambda *_: None)
    for _ in range(500):  # as many as one after the other in a process: the last one watches
        seed.Seeding().install()
    frozen = gc.get_freeze_count()
    assert importlib.import_module("large_library").COLLECTING is False
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
