"""What the tests of checkpoints share lies beside them; torch computes in one thread, as it does in a worker."""

import sys
from pathlib import Path

import pytest
import torch  # noqa: TID253 - its very subject

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
