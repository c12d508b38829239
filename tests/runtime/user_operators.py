"""An operator in a user's own module: nothing of titrant knows of it."""

from pydantic import Field

from titrant.runtime.catalog import Params, operator
from titrant.schema.plan import Prediction


class FloorParams(Params):
    """Which weights become zero."""

    below: float = Field(0.1, gt=0, description="weights nearer to zero than this become zero")


def predict(params, hardware, model):
    """Zeros take as much room as other numbers."""
    return Prediction(output_bytes=model.weight_bytes if model else None, basis="counted")


@operator(
    "mine.floor",
    version=3,
    family="prune",
    params=FloorParams,
    inputs={"model": "torch"},
    outputs={"model": "torch", "zeros": "value"},
    predict=predict,
    user_code=True,
)
def floor(params, context, *, model):
    """Zero small weights.

    Helps when: small weights are noise.
    Inputs:     model - any module
    Outputs:    model - same shapes; zeros - share of zeros, 0..1
    Fails:      never
    Cost:       one pass over the weights
    """
    import copy
    import dataclasses

    module = copy.deepcopy(model.module)
    zeros = total = 0
    for weight in module.parameters():
        small = weight.data.abs() < params.below
        weight.data[small] = 0
        zeros, total = zeros + int(small.sum()), total + weight.numel()
    context.measure("zeros", zeros / total)
    return {"model": dataclasses.replace(model, module=module), "zeros": zeros / total}


def undeclared(params, context):
    """A plain function."""
