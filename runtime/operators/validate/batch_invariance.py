"""Ask whether a case's answer depends on who shares its batch: alone, in other company, and beside an outlier."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import SCALES
from titrant.runtime.catalog import ANY_MODEL, Context, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import ASSUMED_ROWS
from titrant.runtime.operators.validate.predict import (
    PredictParams,
    judged_session,
    loads,
    moving,
    predict_asked,
    requires,
)
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.recipe.model import BOXES
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.values import Outputs, Rows

InputArrays = Mapping[str, "np.ndarray"]

# An outlier is the largest row times this: it stretches a scale that is found from the batch.
OUTLIER = 20.0
# Fresh orders of the rows, each of which gives every row other company.
_ORDERS = 2
_CASE_BYTES, _FIXED_BYTES = 7, 320


class BatchInvarianceParams(Reading, PredictParams):
    """How outputs are read, where the model runs, and how many rows are tried."""

    rows: int = Field(256, ge=1, description="rows that are tried")
    decode: str | None = Field(
        None, exclude_if=lambda value: value is None, description="`module:Name` that makes boxes of raw outputs"
    )


@dataclass(frozen=True)
class Tried:
    """One session and the rows that are asked again; `judged` are the answers that they had in the judged batches."""

    session: Any
    inputs: InputArrays
    judged: InputArrays
    params: BatchInvarianceParams
    rows: "Rows"
    point: Mapping[str, Any]
    boxes: "Outputs | None" = None  # of the judged answers, where they are decoded

    def __len__(self) -> int:
        return len(next(iter(self.judged.values())))


@dataclass(frozen=True)
class Company:
    """What other company did: (rows,) bool of the answers that are other ones, and by how much any output moved."""

    differs: "np.ndarray"
    apart: float | None  # None where an answer is not finite
    identical: bool

    def plain(self) -> dict[str, Any]:
        """Return it as JSON: {"differ": rows, "apart": share of the output's largest answer}."""
        return {"differ": int(self.differs.sum()), "apart": self.apart}


def predict(
    params: BatchInvarianceParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the rows that are asked one by one, and those that are asked in other company."""
    tried = min(params.rows, work.rows.get("rows", ASSUMED_ROWS))
    # Each order in the judged batch size, once more beside an outlier, and every row alone.
    asked = [(params.batch, tried * (_ORDERS + 1)), (1, tried)]
    predictions = [predict_asked(params, hardware, model, work, each) for each in asked]
    seconds = [made.seconds for made in predictions if made.seconds is not None]
    peaks = [made.peak_bytes for made in predictions if made.peak_bytes is not None]
    return Prediction(
        seconds=sum(seconds) if seconds else None,
        peak_bytes=max(peaks) if peaks else None,
        output_bytes=_FIXED_BYTES + _CASE_BYTES * tried,
        basis=predictions[0].basis,
    )


@operator(
    "validate.batch_invariance",
    version=3,
    family="validate",
    params=BatchInvarianceParams,
    inputs={"model": ANY_MODEL, "rows": "rows", "outputs": "outputs", "point": "value"},
    outputs={"invariance": "value"},
    determinism="exact",
    requires=requires,
    predict=predict,
    loads=loads,
    libraries=("torch", "onnxruntime", "numpy"),
    engines=("engine",),
    user_code=True,
)
def validate_batch_invariance(
    params: BatchInvarianceParams, context: Context, *, model: Any, rows: Any, outputs: Any, point: Mapping[str, Any]
) -> dict[str, Any]:
    """Ask for rows again, alone, in other company and beside an outlier, and count the answers that are other ones.

    Helps when: always; activation scales that are found from the batch mix its cases, so that a file may decide a case
                otherwise where it is served than where it was judged.
    Inputs:     model - a file or live module that the engine loads; rows - one role; outputs - the answers that these
                rows had in batches of `batch`, which are judged; point - the operating point
    Outputs:    invariance - {"rows": tried, "batch": the judged batch size, "scales": whether a layer finds its scale
                from the batch, "identical": whether every output is bit by bit the same alone and in other company,
                "alone", "company", "outlier": {"differ": rows that are answered otherwise than in the judged batch,
                "apart": the largest difference as a share of an output's largest answer, null where an answer is not
                finite}, "tried", "dependent": places of the rows that were tried, and of those that differ alone or in
                company}. "alone" is null where the model answers no single row, "outlier" where it takes no floats
    Fails:      all that validate.predict raises
    Cost:       `rows` rows one by one, and three times in batches
    """
    import numpy as np

    from titrant.runtime.backends.session import check_rows, open_session, taken

    check_rows(rows)
    session = open_session(params.engine, model, threads=params.threads, device=params.device)
    session, rows = judged_session(session, params, rows)
    try:
        arrays = {name: taken(rows, name) for name in session.input_names}
        scales = _finds_scales(params, model, session, arrays)
        places = np.sort(context.generator.permutation(len(rows))[: params.rows])
        tried = Tried(
            session,
            {name: values[places] for name, values in arrays.items()},
            {name: values[places] for name, values in outputs.arrays.items()},
            params,
            _cases(rows, places),
            point,
        )
        if params.decode is not None:
            tried = replace(tried, boxes=_boxes(params.decode, tried.inputs, tried.judged))
        alone = _alone(tried)
        company = _in_company(tried, context.generator)
        outlier = _beside_outlier(tried)
    finally:
        session.close()
    dependent = company.differs | alone.differs if alone is not None else company.differs
    context.measure("dependent", int(dependent.sum()), "rows")
    return {
        "invariance": {
            "rows": len(places),
            "batch": params.batch,
            "scales": scales,
            "identical": company.identical and (alone is None or alone.identical),
            "alone": None if alone is None else alone.plain(),
            "company": company.plain(),
            "outlier": None if outlier is None else outlier.plain(),
            "tried": places.tolist(),
            "dependent": places[dependent].tolist(),
        }
    }


def _finds_scales(params: BatchInvarianceParams, model: Any, session: Any, arrays: InputArrays) -> bool:
    """Whether a layer finds its scale from the batch, as the engine itself tells of the first one."""
    inputs = {name: values[: params.batch] for name, values in arrays.items()}
    return SCALES in backend.get(params.engine).unsteady(model, lambda: session.run(inputs)).values()


def _cases(rows: "Rows", places: "np.ndarray") -> "Rows":
    """Return what reading answers needs of some rows: how many there are, and the classes."""
    from titrant.runtime.values import Rows

    given = rows.units[places], rows.ids[places], rows.classes, rows.positive
    return Rows(rows.role, {}, None, *given, ordered=rows.ordered)


def _replaced(answers: InputArrays, judged: InputArrays, finite: "np.ndarray") -> InputArrays:
    """Put the judged answers in the place of those that are no numbers, which differ anyhow."""
    kept = {name: values.copy() for name, values in answers.items()}
    for name, values in kept.items():
        values[~finite] = judged[name][~finite]
    return kept


def _boxes(decode: str, inputs: InputArrays, answers: InputArrays) -> "Outputs":
    from titrant.runtime.contract.tasks.decoding import decode_rows
    from titrant.runtime.data.images.objects import image_size
    from titrant.runtime.values import Outputs

    return Outputs("", {BOXES: decode_rows(decode, answers, image_size(inputs), twice=0)[0]})


def _alone(tried: Tried) -> Company | None:
    from titrant.runtime.backends.session import answer_rows

    try:
        return _compared(tried, answer_rows(tried.session, tried.inputs, len(tried), 1))
    except StepError:
        return None  # such as a forward that needs two rows


def _in_company(tried: Tried, generator: "np.random.Generator") -> Company:
    """Answer the rows in fresh orders; what one of them changes counts.

    Where all would be one batch they are answered in two: in another order alone they have the same company.
    """
    from titrant.runtime.backends.session import answer_rows

    size = min(tried.params.batch, max(len(tried) // 2, 1))
    seen = []
    for _ in range(_ORDERS):
        order = generator.permutation(len(tried))
        shuffled = {name: values[order] for name, values in tried.inputs.items()}
        answers = answer_rows(tried.session, shuffled, len(tried), size)
        seen.append(_compared(tried, {name: values[order.argsort()] for name, values in answers.items()}))
    differs = seen[0].differs
    for company in seen[1:]:
        differs = differs | company.differs
    return Company(differs, max(company.apart or 0.0 for company in seen), all(company.identical for company in seen))


def _beside_outlier(tried: Tried) -> Company | None:
    """Answer the rows in batches that each hold a row beside them that is many times as large; None without floats."""
    import numpy as np

    if not any(np.issubdtype(values.dtype, np.floating) for values in tried.inputs.values()):
        return None
    size, largest = max(tried.params.batch - 1, 1), _largest(tried.inputs)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in tried.judged}
    with np.errstate(all="ignore"):
        for start in range(0, len(tried), size):
            chosen = [*range(start, min(start + size, len(tried))), largest]
            piece = {name: _last_stretched(values[chosen]) for name, values in tried.inputs.items()}
            count = min(size, len(tried) - start)
            for name, values in tried.session.run(piece).items():
                parts[name].append(values[:count].astype(np.float32, copy=False))
        return _compared(tried, {name: np.concatenate(pieces) for name, pieces in parts.items()})


def _largest(inputs: InputArrays) -> int:
    """Return the place of the row that holds the largest number of any floating-point input."""
    import numpy as np

    sizes = [
        np.abs(values).reshape(len(values), -1).max(axis=1, initial=0)
        for values in inputs.values()
        if np.issubdtype(values.dtype, np.floating)
    ]
    return int(np.max(sizes, axis=0).argmax())


def _last_stretched(values: "np.ndarray") -> "np.ndarray":
    """Multiply the last row, where it holds floating-point numbers."""
    import numpy as np

    if np.issubdtype(values.dtype, np.floating):
        values[-1] *= OUTLIER
    return values


def _compared(tried: Tried, answers: InputArrays) -> Company:
    """Compare answers with those of the judged batches, as the contract reads them."""
    import numpy as np

    from titrant.runtime.backends.session import measure_parity
    from titrant.runtime.contract.answers import read_answers
    from titrant.runtime.contract.case_answers import answered_alike
    from titrant.runtime.values import Outputs

    params, rows = tried.params, tried.rows
    finite = np.ones(len(tried), bool)
    for values in answers.values():
        finite &= np.isfinite(values).reshape(len(values), -1).all(axis=1)
    before, after = Outputs(rows.role, tried.judged), Outputs(rows.role, answers)
    if params.decode is not None:
        before = tried.boxes or _boxes(params.decode, tried.inputs, tried.judged)
        after = _boxes(params.decode, tried.inputs, _replaced(answers, tried.judged, finite))
    if TASKS[params.task].label != "class" or not rows.classes:
        alike = answered_alike(params, rows, before, after)
    else:
        old, new = (read_answers(params, rows, outputs, tried.point).decisions for outputs in (before, after))
        alike = old == new
    identical = all(np.array_equal(values, answers[name]) for name, values in tried.judged.items())
    judged, given = moving(tried.judged, params.tokens), moving(answers, params.tokens)
    apart = measure_parity(judged, given)["relative"] if finite.all() else None
    return Company(~(alike & finite), apart, identical)
