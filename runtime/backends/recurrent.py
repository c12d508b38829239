"""Run a model with recurrent state over the steps of its cases: zero at the start, then what the step before gave."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from titrant.runtime.values import Recurrence
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.recurrent import Steps, common_count, steps_of

# An input: name, shape with text where a size is free, dtype; a tensor of each name.
_Spec = tuple[str, tuple[int | str, ...], str]
_Arrays = Mapping[str, np.ndarray]
# Under which an ONNX file, or the description of another, says what its state is.
KEY = "titrant.state"


class StatefulSession:
    """Answers cases of several steps with a session that answers one; no state passes from case to case.

    What is given is name → (batch, steps, …), or (batch, steps × length, …), or one value for all steps. What comes is
    (batch, …) of the last step, or (batch, steps, …) of all: `Recurrence.answer` says which.
    """

    def __init__(self, session: Any, recurrence: Recurrence) -> None:
        self.recurrence = recurrence
        self._session = session
        self.specs: tuple[_Spec, ...] = stateless(session.specs, recurrence)
        self._all_specs: tuple[_Spec, ...] = tuple(session.specs)
        self.input_names: tuple[str, ...] = tuple(name for name, _, _ in self.specs)
        self.output_names: tuple[str, ...] = tuple(
            name for name in session.output_names if name not in recurrence.feeds
        )
        # A state of which no size is free is that of one batch size, and nothing says of which but a batch of one.
        states = [shape for name, shape, _ in session.specs if name in recurrence.feeds.values()]
        alone = not any(isinstance(size, str) for shape in states for size in shape)
        self.fixed_batch: int | None = session.fixed_batch or (1 if alone else None)

    def run(self, inputs: _Arrays) -> dict[str, np.ndarray]:
        """Answer one batch of cases. Raises StepError X201 where an input is not made of steps, and as the session."""
        answers: list[_Arrays] = [answer for _, answer in self.steps(inputs)]
        if self.recurrence.answer == "last":
            return {name: answers[-1][name] for name in self.output_names}
        return {name: np.stack([answer[name] for answer in answers], axis=1) for name in self.output_names}

    def count(self, inputs: _Arrays) -> int:
        """Return how many steps a case holds."""
        return sum(1 for _ in one_by_one(self.recurrence, inputs, self.input_names))

    def steps(self, inputs: _Arrays) -> Iterator[tuple[dict[str, np.ndarray], _Arrays]]:
        """Yield what each step is given, state included, and what it answers, state included."""
        batch = len(next(iter(inputs.values())))
        state = zeros(self.recurrence, self._all_specs, batch)
        for given in one_by_one(self.recurrence, inputs, self.input_names):
            fed = {**given, **state}
            answer = self._session.run(fed)
            state = {target: _fed(answer[output], state[target]) for output, target in self.recurrence.feeds.items()}
            yield fed, answer

    def close(self) -> None:
        """Free the model."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sizes(shape: tuple[int | str, ...], batch: int) -> list[int]:
    return [size if isinstance(size, int) else batch for size in shape]


def _fed(answer: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return a state for the next step; an engine may answer a 16-bit state in fp32."""
    if answer.shape != state.shape:
        message = f"a step answers with a state of {answer.shape}, and takes one of {state.shape}"
        raise StepError(Diagnostic("X166", message, help="check `model.state`: output → input"))
    return answer.astype(state.dtype, copy=False)


def one_by_one(recurrence: Recurrence, inputs: _Arrays, names: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of each step. Raises StepError X201 where an input is not made of whole steps."""
    shapes = {name: shape for name, shape, _ in recurrence.inputs}
    parts = {name: _parts(name, shapes[name], inputs[name]) for name in names}
    count = common_count(parts.values())
    if count is None:
        written = ", ".join(f"{name} {part.count}" for name, part in parts.items() if part.count)
        raise StepError(Diagnostic("X201", f"inputs differ in their steps: {written}", help="give all equally many"))
    for place in range(count):
        yield {name: _step(inputs[name], part, place) for name, part in parts.items()}


def _parts(name: str, shape: tuple[int | str, ...], array: np.ndarray) -> Steps:
    if not shape:
        return Steps(0, ())
    steps = steps_of(shape, array.shape)
    if steps is None:
        step = ", ".join(map(str, shape))
        message = f"input {name}: a step is ({step}), and the rows have {array.shape}"
        raise StepError(Diagnostic("X201", message, help="give whole steps: an axis of steps, or a multiple of a step"))
    return steps


def _step(array: np.ndarray, part: Steps, place: int) -> np.ndarray:
    if not part.count:
        return array
    if part.axis:
        return np.ascontiguousarray(array[:, place])
    length = int(part.shape[1])
    return np.ascontiguousarray(array[:, place * length : (place + 1) * length])


def zeros(recurrence: Recurrence, specs: Sequence[_Spec], batch: int) -> dict[str, np.ndarray]:
    """Return the state at the start of a batch of cases; `specs` are all inputs of the model."""
    state = [spec for spec in specs if spec[0] in recurrence.feeds.values()]
    return {name: np.zeros(_sizes(shape, batch), dtype) for name, shape, dtype in state}


def stateless(specs: Sequence[_Spec], recurrence: Recurrence | None) -> tuple[_Spec, ...]:
    """Return the inputs that are no state: of these the first dimension is the batch."""
    state = () if recurrence is None else recurrence.feeds.values()
    return tuple(spec for spec in specs if spec[0] not in state)


def stateful(session: Any) -> StatefulSession | None:
    """Return the session with recurrent state that others wrap; None where there is none."""
    while session is not None and not isinstance(session, StatefulSession):
        session = getattr(session, "_session", None) if hasattr(session, "fixed_batch") else None
    return session


def first_step(session: Any, arrays: _Arrays) -> dict[str, np.ndarray]:
    """Return what a timing is of, in C order: the arrays, cut to the first step where a session has recurrent state."""
    inner = stateful(session)
    cut = arrays if inner is None else next(one_by_one(inner.recurrence, arrays, inner.input_names))
    return {name: np.ascontiguousarray(array) for name, array in cut.items()}


def written(recurrence: Recurrence) -> dict[str, Any]:
    """Write it as JSON holds it, in an order of its own."""
    return {
        "answer": recurrence.answer,
        "feeds": dict(sorted(recurrence.feeds.items())),
        "inputs": [[name, list(shape), dtype] for name, shape, dtype in recurrence.inputs],
    }


def read(value: Mapping[str, Any] | None) -> Recurrence | None:
    """Read it back; None where there is none."""
    if value is None:
        return None
    inputs = tuple((name, tuple(shape), dtype) for name, shape, dtype in value["inputs"])
    return Recurrence(dict(value["feeds"]), value["answer"], inputs)
