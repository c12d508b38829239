"""Let torch compute attention from its parts, as exporters and quantizers can read it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch  # noqa: TID253 - its very subject


@contextmanager
def plain_attention() -> Iterator[None]:
    """Switch off the fused encoder layer of inference mode, which has no form in ONNX and reads fp32 weights itself."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
