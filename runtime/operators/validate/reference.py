"""See whether the original's answers on tuning rows make it fit to be compared with, before candidates are made."""

from typing import TYPE_CHECKING, Any

from titrant.runtime.catalog import Context, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.contract.output_kinds import KindMismatch
    from titrant.runtime.values import Outputs

_READ_BYTES_PER_SECOND = 100e6


class ReferenceParams(Reading):
    """How the outputs are read."""


def predict(
    params: ReferenceParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Pass over the outputs a few times."""
    size = work.bytes.get("outputs", 0)
    seconds = BASE_SECONDS + size / _READ_BYTES_PER_SECOND
    return Prediction(seconds=seconds, peak_bytes=2 * size + (1 << 18), output_bytes=120, basis=basis_of(hardware))


@operator(
    "validate.reference",
    version=1,
    family="validate",
    params=ReferenceParams,
    inputs={"outputs": "outputs"},
    outputs={"reference": "value"},
    determinism="exact",
    predict=predict,
    loads=("titrant.runtime.contract.output_kinds",),
    libraries=("numpy",),
)
def validate_reference(params: ReferenceParams, context: Context, *, outputs: Any) -> dict[str, Any]:
    """Refuse an original whose outputs are not what the recipe says.

    Helps when: always; probabilities that are read as logits are all above one half, so that every gate on decisions
                holds whatever is done to the model.
    Inputs:     outputs - what the original answered for tuning rows
    Outputs:    reference - {"rows", "kinds": {output: what its answers were taken for}}
    Fails:      RecipeError X423 when an output's answers contradict its kind
    Cost:       a few passes over the outputs
    """
    from titrant.runtime.contract.output_kinds import mismatches

    judged = params.output or next(iter(outputs.arrays), "")
    for mismatch in mismatches(params, judged, outputs):
        raise _not_of_kind(params, mismatch)
    return {"reference": {"rows": _rows(outputs), "kinds": {name: params.kind(name) for name in outputs.arrays}}}


def _rows(outputs: "Outputs") -> int:
    return min((len(values) for values in outputs.arrays.values()), default=0)


def _not_of_kind(params: ReferenceParams, mismatch: "KindMismatch") -> RecipeError:
    name = f"name: {mismatch.output}, " if params.output or params.kinds else ""
    advice = f"model: {{output: {{{name}kind: {mismatch.looks}}}}}"
    if mismatch.looks is None:
        advice = "normalize them in the model's forward, or let it give logits"
    message = f"the output '{mismatch.output}' is read as {mismatch.said}, which its answers are not: {mismatch.seen}"
    return RecipeError(Diagnostic("X423", message, help=advice, key="model.output"))
