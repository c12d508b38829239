"""Keep n of every m weights that follow each other along a layer's inputs, and set the others to zero."""

from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.method import Method
from titrant.runtime.operators.prune.magnitude import BY_NAME, predict, requires
from titrant.schema.cost import Arithmetic


class NMParams(Params):
    """How many of how many weights stay."""

    n: int = Field(2, ge=1, description="weights of each group that stay")
    m: int = Field(4, ge=2, validate_default=True, description="weights of a group, along the inputs")
    skip: tuple[str, ...] = Field((), description="module name patterns left dense")

    @field_validator("m")
    @classmethod
    def _more_than_stay(cls, m: int, others: ValidationInfo) -> int:
        if m <= others.data.get("n", 0):
            raise ValueError(f"of {m} weights fewer than {m} can stay, and n is {others.data['n']}")
        return m


@operator(
    "prune.n_m",
    version=2,
    family="prune",
    params=NMParams,
    inputs={"model": "torch"},
    outputs={"model": "torch", "masked": "value"},
    requires=requires,
    predict=predict,
    loads=("torch", "titrant.runtime.backends.torch.reduced.masks"),
    libraries=("torch",),
    user_code=True,
    method=Method("prune.n_m", takes="torch", rank=8, arithmetic=Arithmetic(), by_name=BY_NAME),
)
def prune_n_m(params: NMParams, context: Context, *, model: Any) -> dict[str, Any]:
    """Keep the n largest of every m weights along a layer's inputs, 2 of 4 by default.

    Helps when: the target has kernels for this pattern, as NVIDIA GPUs since compute capability 8.0 have for 2:4; the
                engines here compute the zeros like other numbers, and the report says what that gained.
    Inputs:     model - any module; matrices (out, in) are grouped along in, kernels (out, in, …) along in at each place
                (Mishra et al. 2021)
    Outputs:    model - same shapes; masked - {"layers": [{"name", "zeros", "total"}], "left": [{"name", "because"}]}:
                left are layers whose inputs are no multiple of m. The measurement weights_masked is the share of all
                parameters
    Fails:      PreconditionError X551 where there is nothing to mask
    Cost:       one sort of the weights; memory of a copy and their scores
    """
    from titrant.runtime.backends.torch.reduced import masks
    from titrant.runtime.operators.model.fold import with_plain_weights

    made, masking = masks.masked(with_plain_weights(model)), masks.Masking()
    marked = {}
    weights = masks.weights_of(made.module, params.skip)
    for name, weight in weights.items():
        mask = masks.n_m_mask(weight, params.n, params.m)
        if mask is None:
            masking.left[name] = f"its {weight.shape[1]} inputs are no multiple of {params.m}"
        else:
            marked[name] = mask
    masks.check_any(marked, params.skip)
    masks.mask({name: weights[name] for name in marked}, marked.values(), masking)
    return masks.measured(made, masking, context)
