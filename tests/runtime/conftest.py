"""Live values to run operators on; the nets lie in `operators`, which is put on the import path."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "operators"))


@pytest.fixture
def torch_model():
    """Make a TorchModel of a factory in operator_nets, seeded."""

    def make(name, *shape, outputs=("logits",), dtype="float32", **args):
        import torch

        from titrant.runtime.models import build, source_digest
        from titrant.runtime.values import TorchModel

        factory = f"operator_nets:{name}"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            module = build(factory, args).eval()
        inputs = (("x", ("batch", *shape), dtype),)
        return TorchModel(module, factory, args, source_digest(factory), inputs, outputs)

    return make


@pytest.fixture
def rows():
    """Make rows of normally distributed numbers under the input name x, or of given arrays."""

    def make(*shape, count=40, role="tuning", labels=None, x=None):
        from titrant.runtime.values import Rows

        array = np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32) if x is None else x
        numbers = np.arange(len(array))
        labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        return Rows(role, {"x": array}, labels, numbers, numbers.astype(np.uint64), ("a", "b"), 1)

    return make


@pytest.fixture
def apply(tmp_path):
    """Run an operator with every output in one folder of the test."""
    from titrant.runtime.apply import apply as apply_operator

    def run(name, inputs, params=None, **settings):
        scratch = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        return apply_operator(name, inputs, params, scratch=scratch, **settings)

    return run


@pytest.fixture
def answers():
    """Answer an array in the engine that runs a model's kind."""

    def run(model, x):
        from titrant.runtime.engines import engine
        from titrant.runtime.values import OnnxModel

        chosen = engine("onnxruntime" if isinstance(model, OnnxModel) else "torch")
        with chosen.open_session(model, threads=1) as session:
            return next(iter(session.run({session.input_names[0]: x}).values()))

    return run
