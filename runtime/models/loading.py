"""Build a model and load its weights, as the step model.load does."""

from typing import TYPE_CHECKING

from titrant.runtime.models.factory import build, source_digest
from titrant.runtime.models.seeding import seeded
from titrant.runtime.models.weights import load_weights
from titrant.runtime.values import TorchModel

if TYPE_CHECKING:
    from titrant.runtime.operators.model_load import ModelLoadParams


def load_torch(params: "ModelLoadParams", *, seed: int) -> tuple[TorchModel, tuple[str, ...]]:
    """Return the model on the CPU in eval mode, and notes on what was adjusted.

    Initial values are drawn from `seed`; the global generators are left as they were.
    """
    with seeded(seed):
        module = build(params.factory, params.args)
    notes = () if params.weights in (None, "included") else load_weights(module, params.weights.path)  # type: ignore[union-attr]
    model = TorchModel(
        module=module.cpu().eval(),
        factory=params.factory,
        args=dict(params.args),
        source_digest=source_digest(params.factory),
        inputs=tuple((spec.name, spec.shape, spec.dtype) for spec in params.inputs),
        outputs=tuple(spec.name for spec in params.outputs),
    )
    return model, notes
