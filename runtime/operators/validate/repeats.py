"""Ask a model twice, under other seeds and row by row, and refuse one that does not answer the same."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends import backend
from titrant.runtime.backends.backend import DRAWS, SCALES, TRAINS
from titrant.runtime.catalog import ANY_MODEL, Context, operator
from titrant.runtime.operators.validate.predict import (
    PredictParams,
    judged_session,
    loads,
    moving,
    predict_asked,
    requires,
)
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import numpy as np

    from titrant.runtime.values import Rows

Arrays = Mapping[str, "np.ndarray"]

# What rounding may make of one answer, as a share of the output's largest: a float32 sum of n terms is off by about
# √n units of 2⁻²³, and errors of L layers add as a random walk; n = 10⁴ and L = 64 give 2⁻²³ · 100 · 8 ≈ 1e-4.
TOLERANCE = 1e-4
# What the step's own seed is replaced by: any two others serve.
_SEEDS = (1, 2**31 - 1)
# Batch passes and passes row by row, of the two sessions together.
_BATCH_PASSES, _ALONE_PASSES = 3, 2
_NAMED = 3  # layers that a message names


class RepeatsParams(PredictParams):
    """Where the model runs, how many rows are asked in one batch, and how many of them one by one."""

    alone: int = Field(16, ge=1, description="rows, of those of the batch, that are also asked alone")


@dataclass(frozen=True)
class Asked:
    """What one session answered: the same rows in a batch, under each of some seeds, and the first of them alone."""

    batches: tuple[Arrays, ...]
    alone: Arrays | None  # None: the model answers no single row


def predict(
    params: RepeatsParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the batches and the single rows that are answered."""
    rows = min(params.batch, work.rows.get("rows", params.batch))
    alone = min(params.alone, rows)
    parts = ((rows, rows, _BATCH_PASSES), (alone, 1, _ALONE_PASSES))
    asked = [(predict_asked(params, hardware, model, work, (batch, count)), times) for count, batch, times in parts]
    seconds = [made.seconds * times for made, times in asked if made.seconds is not None]
    peaks = [made.peak_bytes for made, _ in asked if made.peak_bytes is not None]
    weights = 0 if model is None else model.weight_bytes - model.apart_bytes
    return Prediction(
        seconds=sum(seconds) if seconds else None,
        peak_bytes=max(peaks) + weights if peaks else None,
        output_bytes=160,
        basis=asked[0][0].basis,
    )


@operator(
    "validate.repeats",
    version=1,
    family="validate",
    params=RepeatsParams,
    inputs={"model": ANY_MODEL, "rows": "rows"},
    outputs={"repeats": "value"},
    determinism="exact",
    requires=requires,
    predict=predict,
    loads=loads,
    libraries=("torch", "onnxruntime", "numpy"),
    engines=("engine",),
    user_code=True,
)
def validate_repeats(params: RepeatsParams, context: Context, *, model: Any, rows: Any) -> dict[str, Any]:
    """Ask for the same rows twice, under different seeds, in a batch and alone, and refuse what answers otherwise.

    Helps when: always; two models that draw the same noise, since both start from one seed, agree and prove nothing.
    Inputs:     model - a file or live module that the engine loads, which is copied where it can be; rows - one role,
                of which the first are asked
    Outputs:    repeats - {"rows", "difference": the largest between two passes, "alone": between a row in a batch and
                alone, or null where the model answers no single row}, both as shares of an output's largest answer
    Fails:      StepError X421 when two passes differ by more than rounding; X422 when a row in a batch is answered
                otherwise than alone and a layer normalizes by the batch as in training, or draws numbers; and all that
                validate.predict raises. Scales that a quantized layer finds from its batch are no such layer
    Cost:       three passes over a batch of rows, and two over some rows one by one
    """
    first, second = (_ask(params, model, rows, seeds) for seeds in (_SEEDS, _SEEDS[1:]))
    in_turn = _apart(first.batches[0], first.batches[1])
    anew = _apart(first.batches[0], second.batches[0])
    single = 0.0 if first.alone is None or second.alone is None else _apart(first.alone, second.alone)
    count = min(params.batch, len(rows))
    difference = max(in_turn, anew, single)
    if difference > TOLERANCE:
        raise _random(difference, count, _seen(params, model, rows))
    alone = None if first.alone is None else _apart(_first(first.batches[0], first.alone), first.alone)
    if (alone is None or alone > TOLERANCE) and (seen := _seen(params, model, rows)):
        raise _unsteady(alone, seen)
    context.measure("difference", difference)
    return {"repeats": {"rows": count, "difference": difference, "alone": alone}}


def _ask(params: RepeatsParams, model: Any, rows: "Rows", seeds: tuple[int, ...]) -> Asked:
    """Open a copy of the model and ask it; a session of its own finds what is drawn once, when a model is opened."""
    from titrant.runtime.backends.session import answer_rows, check_rows, open_session, taken

    check_rows(rows)
    own = _copied(model)
    session = open_session(params.engine, own, threads=params.threads, device=params.device)
    session, rows = judged_session(session, params, rows)
    try:
        count = min(params.batch, len(rows))
        inputs = {name: taken(rows, name)[:count] for name in session.input_names}
        batches = []
        for seed in seeds:
            with _seeded(seed):
                batches.append(answer_rows(session, inputs, count, count))
        with _seeded(seeds[0]):
            alone = _alone(session, inputs, min(params.alone, count))
    finally:
        session.close()
    moved = tuple(moving(answers, params.tokens) for answers in batches)
    return Asked(moved, None if alone is None else moving(alone, params.tokens))


def _seen(params: RepeatsParams, model: Any, rows: "Rows") -> Mapping[str, str]:
    """Return {layer: DRAWS or TRAINS} as the engine itself tells, which answers one more batch for it.

    Scales that are found from the batch are asked about elsewhere (validate.batch_invariance).
    """
    from titrant.runtime.backends.session import answer_rows, open_session, taken

    own = _copied(model)
    session = open_session(params.engine, own, threads=params.threads, device=params.device)
    session, rows = judged_session(session, params, rows)
    try:
        count = min(params.batch, len(rows))
        inputs = {name: taken(rows, name)[:count] for name in session.input_names}
        seen = backend.get(params.engine).unsteady(own, lambda: answer_rows(session, inputs, count, count))
        return {layer: why for layer, why in seen.items() if why != SCALES}
    finally:
        session.close()


def _alone(session: Any, inputs: Arrays, count: int) -> Arrays | None:
    from titrant.runtime.backends.session import answer_rows

    try:
        return answer_rows(session, inputs, count, 1)
    except StepError:
        return None  # such as a forward that needs two rows; timing says so where one row is to be served


def _copied(model: Any) -> Any:
    """Copy a live model, so that asking leaves no trace in it; one that holds what cannot be copied is asked itself."""
    try:
        return copy.deepcopy(model)
    except (TypeError, RuntimeError, NotImplementedError):
        return model


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    from titrant.runtime.seed import another_seed

    with another_seed(seed):
        yield


def _first(arrays: Arrays, like: Arrays) -> Arrays:
    return {name: values[: len(like[name])] for name, values in arrays.items()}


def _apart(first: Arrays, second: Arrays) -> float:
    """Return the largest difference of any answer, as a share of the largest answer of its output."""
    from titrant.runtime.backends.session import measure_parity

    apart: float = measure_parity(first, second)["relative"]
    return apart


def _random(difference: float, rows: int, seen: Mapping[str, str]) -> StepError:
    apart = (
        f"asked again for the same {rows} rows, its answers differ by {difference:.2g} of the largest, "
        f"and rounding explains {TOLERANCE:g}"
    )
    training, drawing = _layers(seen, TRAINS), _layers(seen, DRAWS)
    if training and not drawing:
        return _trains(training, apart)
    return StepError(
        Diagnostic(
            "X421",
            f"the model does not answer the same twice{_by('drawn by', drawing)}: {apart}",
            help="leave dropout and sampling out of what is served, as in F.dropout(x, p, training=self.training), "
            "or give the model a fixed state of its own",
        )
    )


def _unsteady(alone: float | None, seen: Mapping[str, str]) -> StepError:
    apart = "it answers no single row" if alone is None else f"a row alone differs by {alone:.2g} of the largest answer"
    apart += f", and rounding explains {TOLERANCE:g}" if alone is not None else ""
    if training := _layers(seen, TRAINS):
        return _trains(training, apart)
    message = f"the model draws numbers that depend on the batch{_by('drawn by', _layers(seen, DRAWS))}: {apart}"
    return StepError(Diagnostic("X422", message, help="leave sampling out of what is served"))


def _trains(layers: list[str], apart: str) -> StepError:
    advice = "call model.eval() before the file is exported, and nothing in `forward` that switches training on"
    message = f"the model is in training mode{_by('normalizing by the batch:', layers)}: {apart}"
    return StepError(Diagnostic("X422", message, help=advice))


def _layers(seen: Mapping[str, str], why: str) -> list[str]:
    return [layer for layer, reason in seen.items() if reason == why]


def _by(what: str, layers: list[str]) -> str:
    if not layers:
        return ""
    more = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
    return f" ({what} {', '.join(layers[:_NAMED])}{more})"
