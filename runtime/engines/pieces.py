"""Answer batches of any size with a file that insists on one."""

from collections.abc import Mapping

import numpy as np

from titrant.runtime.engines import Session


class PiecewiseSession:
    """Runs a session of a fixed batch size piece by piece; the last piece is filled up with its own last row.

    What it is asked for is then what it costs: a batch of 8 with a file made for 1 is eight calls.
    """

    fixed_batch: int | None = None

    def __init__(self, session: Session, size: int) -> None:
        self.input_names: tuple[str, ...] = session.input_names
        self.output_names: tuple[str, ...] = session.output_names
        self._session = session
        self._size = size

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, name → (batch, …) out."""
        rows = len(next(iter(inputs.values())))
        pieces: dict[str, list[np.ndarray]] = {name: [] for name in self.output_names}
        for start in range(0, rows, self._size):
            chosen = np.minimum(np.arange(start, start + self._size), rows - 1)
            answers = self._session.run({name: values[chosen] for name, values in inputs.items()})
            for name, values in answers.items():
                pieces[name].append(values[: rows - start])
        return {name: np.concatenate(parts) for name, parts in pieces.items()}

    def close(self) -> None:
        """Free the model."""
        self._session.close()
