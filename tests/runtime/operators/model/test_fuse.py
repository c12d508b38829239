"""model.fuse: it folds what can be folded and nothing else."""

import numpy as np
import pytest

from titrant.schema.diagnostics.diagnostics import PreconditionError


@pytest.fixture
def fusable(torch_model):
    """A model whose statistics and weights all differ from their initial values."""
    import torch

    model = torch_model("Fusable", 1, 6, 6)
    generator = torch.Generator().manual_seed(2)
    for tensor in (*model.module.parameters(), *model.module.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5, generator=generator)
    return model


def test_folds_convolutions_and_linear_layers_with_one_reader(fusable, apply):
    done = apply("model.fuse", {"model": fusable})
    assert done.measurements["fused_pairs"] == 2
    (rewrite,) = done.outputs["model"].rewrites
    assert rewrite.record == {"pairs": [["conv", "norm"], ["linear", "norm_linear"]]}


def test_keeps_the_answers(fusable, apply, answers):
    x = np.random.default_rng(0).normal(size=(7, 1, 6, 6)).astype(np.float32)
    fused = apply("model.fuse", {"model": fusable}).outputs["model"]
    np.testing.assert_allclose(answers(fused, x), answers(fusable, x), rtol=1e-5)


def test_folds_nothing_that_freezing_a_trace_would_not_fold(fusable, apply):
    """So a TorchScript file, which is frozen, needs no step before it."""
    import torch

    def kinds(model):
        frozen = torch.jit.freeze(torch.jit.trace(model.module.eval(), torch.zeros(2, 1, 6, 6)))
        return sorted(node.kind() for node in frozen.graph.nodes() if node.kind() != "prim::Constant")

    fused = apply("model.fuse", {"model": fusable}).outputs["model"]
    assert kinds(fusable) == kinds(fused)
    assert kinds(fusable).count("aten::batch_norm") <= 3


def test_says_zero_and_gives_the_model_back_where_there_is_nothing_to_fold(torch_model, apply):
    model = torch_model("Stack", 5, widths=[5, 2])
    done = apply("model.fuse", {"model": model})
    assert done.measurements["fused_pairs"] == 0
    assert done.outputs["model"].rewrites == ()


def test_refuses_a_forward_that_decides_on_values(torch_model, apply):
    with pytest.raises(PreconditionError, match=r"X206.*if or while"):
        apply("model.fuse", {"model": torch_model("Deciding", 5)})
