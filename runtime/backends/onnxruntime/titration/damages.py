"""Measure by the engine itself what each region does to the answers when it alone is in int8."""

from collections.abc import Iterator, Sequence
from dataclasses import field

import numpy as np

from titrant.runtime.backends.onnxruntime.left_float import left_nodes
from titrant.runtime.backends.onnxruntime.titration.mixture import Mixtures
from titrant.runtime.backends.onnxruntime.titration.regions import Region
from titrant.runtime.backends.session import answer_rows, check_rows, open_session, taken
from titrant.runtime.catalog import Context
from titrant.runtime.contract.reading import Reading
from titrant.runtime.mixture.damage import damage, silenced
from titrant.runtime.values import OnnxModel, Outputs, Rows
from titrant.schema.diagnostics.diagnostics import StepError
from titrant.schema.values.frozen import dataclass

# Rows answered at once.
BATCH = 64
_ENGINE = "onnxruntime"


@dataclass(frozen=True)
class Damages:
    """What each region does to the answers in int8 alone, and all of them together; by sample of rows, in their order.

    `refused` are the regions that the engine does not compute in int8; their damage is that of no answer at all.
    """

    regions: tuple[tuple[float, ...], ...]
    whole: tuple[float, ...]
    refused: dict[str, str] = field(default_factory=dict)  # region → code of what the engine said


class Judge:
    """Answers rows by files of one model, and says how far their answers are from the float model's, by sample."""

    def __init__(
        self, model: OnnxModel, rows: Rows, samples: Sequence[np.ndarray], reading: Reading, threads: int
    ) -> None:
        """`samples` are places of rows; those that are in none are not answered."""
        check_rows(rows)
        self._reading, self._threads = reading, threads
        places = np.unique(np.concatenate(samples))
        self._rows = rows.some(places)
        self._samples = [np.searchsorted(places, sample) for sample in samples]
        self._original = self._answers(model)

    def damages(self, model: OnnxModel) -> tuple[float, ...]:
        """Return how far a file's answers moved; StepError where it cannot be loaded or answers NaN."""
        return tuple(self._compared(self._answers(model)))

    def of_no_answer(self) -> tuple[float, ...]:
        """Return how far the mean answer is from each."""
        return tuple(self._compared(silenced(self._original)))

    def _answers(self, model: OnnxModel) -> Outputs:
        with open_session(_ENGINE, model, threads=self._threads) as session:
            inputs = {name: taken(self._rows, name) for name in session.input_names}
            return Outputs(self._rows.role, answer_rows(session, inputs, len(self._rows), BATCH))

    def _compared(self, answers: Outputs) -> Iterator[float]:
        for sample in self._samples:
            before, after = (
                Outputs(outputs.role, {name: array[sample] for name, array in outputs.arrays.items()})
                for outputs in (self._original, answers)
            )
            yield damage(self._reading, self._rows.some(sample), before, after)


def measured(
    mixtures: Mixtures, parts: Sequence[Region], judge: Judge, leave: Sequence[str], context: Context
) -> Damages:
    """Quantize each region alone, then all of them but the layers of `leave`, and answer the judge's rows by each."""
    left = left_nodes(mixtures.graph, leave)
    regions, refused = [], dict[str, str]()
    for place, region in enumerate(parts):
        context.progress(place, len(parts) + 1, region.name)
        nodes = [node for node in region.nodes if node not in left]
        try:
            regions.append(judge.damages(mixtures.built(nodes, "region.onnx")))
        except StepError as error:
            refused[region.name] = error.diagnostics[0].code
            regions.append(judge.of_no_answer())
    whole = judge.damages(mixtures.file(leave, "whole.onnx")[0])
    return Damages(tuple(regions), whole, refused)
