"""Hold a compiled package's answers against those of the program that it was compiled from."""

import functools
from collections.abc import Mapping

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.session import check_parity, measure_parity, worse
from titrant.runtime.backends.torch.call import example_arrays
from titrant.runtime.backends.torch.session import Border, TorchSession
from titrant.runtime.values import Rows
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.frozen import dataclass

Arrays = Mapping[str, np.ndarray]
_SINGLE = 1


@dataclass(frozen=True)
class Expected:
    """The batches that a package is tried on, what it has to answer, and how far off, relative to the largest answer.

    `because` says where the limit comes from, `help` what would release the model all the same.
    """

    batches: tuple[Arrays, ...]
    answers: tuple[Arrays, ...]
    tolerance: float
    because: str
    help: str


def tried_batches(border: Border, rows: Rows, count: int) -> tuple[Arrays, ...]:
    """Take the first rows at once, and the first alone where any batch goes: one row may take another kernel."""
    together = example_arrays(border, rows, count)
    if not all(isinstance(shape[0], str) for _, shape, _ in border.inputs if shape):
        return (together,)
    return together, {name: array[:_SINGLE] if array.ndim else array for name, array in together.items()}


def program_answers(
    program: torch.export.ExportedProgram, border: Border, batches: tuple[Arrays, ...], threads: int
) -> tuple[Arrays, ...]:
    """Answer batches by a program as it stands, operation by operation."""
    with TorchSession(functools.partial(program.module()), border, threads, "cpu") as session:
        return tuple(session.run(arrays) for arrays in batches)


def apart(first: tuple[Arrays, ...], second: tuple[Arrays, ...]) -> float:
    """Return the largest difference of two answers to the same batches, relative to the largest of the first.

    Whole numbers, such as the place of the largest answer, are no measure of how far two models lie apart: left out.
    """
    pairs = zip(first, second, strict=True)
    return functools.reduce(worse, (_parity(*pair)["relative"] for pair in pairs))


def hold(package: TorchSession, expected: Expected) -> float:
    """Return how far a package's answers lie from what was expected, relative to the largest; closes the package.

    Raises StepError X627 where it is farther than the limit, X208 where an answer is NaN or infinite.
    """
    with package as session:
        given = tuple(session.run(arrays) for arrays in expected.batches)
    for pair in zip(expected.answers, given, strict=True):
        parity = _parity(*pair)
        if "not_finite" in parity:
            check_parity(parity, expected.tolerance, "compiled")
    difference = apart(expected.answers, given)
    if not difference <= expected.tolerance:
        message = (
            f"the compiled package does not answer as the program that it was compiled from does: relative difference "
            f"{difference:.3g}, and {expected.tolerance:.3g} {expected.because}"
        )
        raise StepError(Diagnostic("X627", message, help=expected.help))
    return difference


def _parity(own: Arrays, other: Arrays) -> Mapping[str, float]:
    kept = [name for name, array in own.items() if np.issubdtype(array.dtype, np.floating)]
    return measure_parity({name: own[name] for name in kept}, {name: other[name] for name in kept})
