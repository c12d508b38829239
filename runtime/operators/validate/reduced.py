"""Ask the user's own function whether a reduced model is good enough to go on with."""

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, modelled
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import Rows, TorchModel

_KEY = "reduction.pruning.validate"


class ReducedParams(Params):
    """Which function is asked."""

    check: str = Field(description="`module:Name` of f(module, rows) → True, False, a number, or a reason to refuse")


def requires(params: ReducedParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch."""
    return missing(hardware, "torch")


def predict(
    params: ReducedParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the model, which goes on as it is; what the function takes nobody knows."""
    if model is None:
        return Prediction()
    return modelled(hardware, BASE_SECONDS, 2 * model.weight_bytes, torch_bytes(model))


@operator(
    "validate.reduced",
    version=1,
    family="validate",
    params=ReducedParams,
    inputs={"model": "torch", "tuning": "rows"},
    outputs={"model": "torch"},
    requires=requires,
    predict=predict,
    loads=("torch",),
    libraries=("torch",),
    user_code=True,
)
def validate_reduced(params: ReducedParams, context: Context, *, model: Any, tuning: Any) -> dict[str, Any]:
    """Call the user's function with a copy of the reduced module and the tuning rows, and go on where it agrees.

    Helps when: there is a check that no metric of the contract makes, such as lesions that may not be lost.
    Inputs:     model - the reduced model, after its training where there is one; tuning - the rows, whose `inputs`
                (name → array), `labels` and `classes` the function reads
    Outputs:    model - as it was. The measurement `check` is the number that the function answers, 1 for True
    Fails:      StepError X553 where it answers False, a text, which is its reason, or a number that is not finite; X554
                where it answers anything else, X108 where it raises, X150 where it is not there
    Cost:       that of the function, and a copy of the model
    """
    context.measure("check", _answer(params.check, model, tuning))
    return {"model": model}


def _answer(check: str, model: "TorchModel", tuning: "Rows") -> float:
    import copy

    from titrant.runtime.user_code import call, resolve

    answer = call(f"{_KEY}: {check}", resolve(check), copy.deepcopy(model.module).eval(), tuning)
    if getattr(answer, "shape", None) == ():  # an array or tensor of one number
        answer = answer.item()
    if isinstance(answer, str):
        raise _refused(f"{check} refuses the reduced model: {answer}")
    if not isinstance(answer, Real):
        message = f"{check} answers with a {type(answer).__name__}"
        raise StepError(Diagnostic("X554", message, help="let it return True, False, a number, or a reason to refuse"))
    number = float(answer)
    if answer is False or not math.isfinite(number):
        raise _refused(f"{check} refuses the reduced model: it answers {answer}")
    return number


def _refused(message: str) -> StepError:
    return StepError(Diagnostic("X553", message, help="remove less, train it longer, or mend the check"))
