"""See whether the original's answers on tuning rows make it fit to be compared with, before candidates are made."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.runtime.operators.validate.contract import OwnMetricParams, gather
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.canonical import plain

if TYPE_CHECKING:
    from titrant.runtime.contract.metrics import ConstantComparison
    from titrant.runtime.contract.output_kinds import ClassOrders, KindMismatch
    from titrant.runtime.values import Outputs, Rows

_READ_BYTES_PER_SECOND = 100e6


class ReferenceParams(Reading):
    """How the outputs are read, and whether their order is assumed."""

    assumed_order: bool = Field(
        False, description="nobody says which output is which class, and the model was trained elsewhere"
    )
    own: Mapping[str, OwnMetricParams] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="metrics of the user's own that the search is after, and what each declares",
    )


def predict(
    params: ReferenceParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Pass over the outputs a few times."""
    size = work.bytes.get("outputs", 0)
    seconds = BASE_SECONDS + size / _READ_BYTES_PER_SECOND
    return Prediction(seconds=seconds, peak_bytes=2 * size + (1 << 18), output_bytes=120, basis=basis_of(hardware))


def loads(params: ReferenceParams) -> tuple[str, ...]:
    """Load what finds the order that fits best where nobody states one."""
    order = ("titrant.runtime.contract.output_kinds", "scipy.optimize") if params.assumed_order else ()
    return ("titrant.runtime.contract.output_kinds", *order)


@operator(
    "validate.reference",
    version=3,
    family="validate",
    params=ReferenceParams,
    inputs={"rows": "rows", "outputs": "outputs", "point": "value"},
    outputs={"reference": "value"},
    determinism="exact",
    predict=predict,
    loads=loads,
    libraries=("numpy", "scipy"),
)
def validate_reference(
    params: ReferenceParams, context: Context, *, rows: Any, outputs: Any, point: Mapping[str, Any]
) -> dict[str, Any]:
    """Refuse an original whose outputs are not what the recipe says, or that is no better than a constant answer.

    Helps when: always; probabilities that are read as logits are all above one half, so that every gate on decisions
                holds whatever is done to the model. What is no better than always giving one answer proves as little.
    Inputs:     rows - tuning rows; outputs - what the original answered for them; point - the operating point
    Outputs:    reference - {"rows", "kinds": {output: what its answers were taken for}, "constant": {"metric",
                "original", "constant"}, or null without labels or where these rows cannot tell}
    Fails:      RecipeError X423 when an output's answers contradict its kind, X425 when nobody says which output is
                which class, with the order that fits best; StepError X424 when the best constant
                answer does as well, by the task's main metric, or with a positive class by balanced accuracy, of which
                every constant answer has one half; X420 when the outputs do not fit the rows or the classes; X605 when
                a metric of the user's own that the search is after has no number on these rows
    Cost:       a few passes over the outputs
    """
    from titrant.runtime.contract.answers import read_answers
    from titrant.runtime.contract.case_answers import case_answers, compare_cases_with_constant
    from titrant.runtime.contract.measures.objective import own_objective
    from titrant.runtime.contract.metrics import compare_with_constant
    from titrant.runtime.contract.output_kinds import mismatches

    judged = params.output or next(iter(outputs.arrays), "")
    kept = TASKS[params.task].label == "tokens"  # what is kept of such answers was read as the recipe says
    for mismatch in () if kept else mismatches(params, judged, outputs):
        raise _not_of_kind(params, mismatch, several=len(outputs.arrays) > 1)
    if params.assumed_order and (orders := _orders(params, rows, outputs)) is not None:
        raise _order_not_stated(orders)
    compared = None
    if rows.labels is not None:
        compared = compare_with_constant(read_answers(params, rows, outputs, point), rows)
    elif (cases := case_answers(params, rows, outputs, outputs)) is not None:
        compared = compare_cases_with_constant(cases)
    if compared is not None and compared.is_no_better:
        raise _no_better(compared, point, _orders(params, rows, outputs, every=True))
    if params.own:
        evidence = gather(params, rows, outputs, outputs, point)
        for name, own in params.own.items():
            own_objective(name, own.declared(), evidence)
    kinds = {name: params.kind(name) for name in outputs.arrays}
    return {"reference": {"rows": len(rows), "kinds": kinds, "constant": None if compared is None else plain(compared)}}


def _not_of_kind(params: ReferenceParams, mismatch: "KindMismatch", *, several: bool) -> RecipeError:
    name = f"name: {mismatch.output}, " if several or params.output or params.kinds else ""
    advice = f"model: {{output: {{{name}kind: {mismatch.looks}}}}}"
    if mismatch.looks is None:
        advice = "let the model's forward give logits, or probabilities that sum to 1 over the classes"
    message = f"the output '{mismatch.output}' is read as {mismatch.said}, which its answers are not: {mismatch.seen}"
    return RecipeError(Diagnostic("X423", message, help=advice, key="model.output"))


def _orders(params: ReferenceParams, rows: "Rows", outputs: "Outputs", *, every: bool = False) -> "ClassOrders | None":
    """Compare the orders of the classes; None without classes.

    Unless `every` order is asked for, None also where one number is about the positive class, and there is no order.
    """
    from titrant.runtime.contract.answers import class_probabilities, judged_output
    from titrant.runtime.contract.output_kinds import compare_orders

    if rows.labels is None:
        return None
    several = outputs.arrays[judged_output(params, outputs)].size > len(rows)
    if not (every or several or rows.positive is None):
        return None
    orders = compare_orders(class_probabilities(params, rows, outputs), rows)
    # A number that was read as about the first class would be stated as about the second.
    return orders if several or rows.scored else replace(orders, given=orders.given[::-1], best=orders.best[::-1])


def _order_not_stated(orders: "ClassOrders") -> RecipeError:
    from titrant.runtime.contract.output_kinds import order_line, order_words

    other = f"in the order {order_words(orders.best)} {orders.best_accuracy:.4f}"
    message = (
        f"nobody says which output of the model is which class: sorted by name, {order_words(orders.given)}, its "
        f"accuracy on {orders.rows} tuning rows is {orders.given_accuracy:.4f}, "
        f"{'and no order fits better' if orders.best == orders.given else other}"
    )
    return RecipeError(Diagnostic("X425", message, help=order_line(orders.best), key="data.label"))


def _no_better(compared: "ConstantComparison", point: Mapping[str, Any], orders: "ClassOrders | None") -> StepError:
    from titrant.runtime.contract.output_kinds import order_line, order_words

    metric = compared.metric.replace("_", " ")
    message = (
        f"the original is no better than a constant answer: its {metric} on {compared.rows} tuning rows is "
        f"{compared.original:.4f}, and always answering `{compared.answer}` gives {compared.constant:.4f}"
    )
    advice = (
        "check data.label, the order of the classes, and that the inputs are prepared as in training; "
        "what the recipe trains may need more train.epochs"
    )
    if orders is not None and orders.best_accuracy > max(orders.given_accuracy, orders.largest):
        advice = (
            f"with the classes in the order {order_words(orders.best)} its accuracy on these rows is "
            f"{orders.best_accuracy:.4f}: if that is the order of its outputs, state it, {order_line(orders.best)}"
        )
    elif compared.decides_one and point["kind"] == "threshold":
        advice = (
            f"at the operating point {point['threshold']:g} it answers all rows alike: set another in "
            "validation.operating_point, such as {sensitivity: 0.95}"
        )
    return StepError(Diagnostic("X424", message, help=advice))
