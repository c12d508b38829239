"""torch computes in one thread in the tests of training, as it does in a worker."""

import pytest
import torch  # noqa: TID253 - its very subject


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
