"""Export a module to a TorchScript file and compare the two."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from titrant.runtime.catalog import Context
from titrant.runtime.engines.torch_engine import open_session
from titrant.runtime.torch.examples import example_arrays
from titrant.runtime.torch.parity import check, compare
from titrant.runtime.torch.script_file import save_script
from titrant.runtime.torch.settled import settled
from titrant.runtime.torch.tracing import traced
from titrant.runtime.values import Rows, TorchModel, TorchScriptModel

# Rows of the example that is traced: not one, which would hide what depends on the batch size.
TRACED_ROWS = 2


def export(
    model: TorchModel, example: Rows, tolerance: float, rows: int, context: Context
) -> tuple[TorchScriptModel, dict[str, Any]]:
    """Return the written file and its parity over `rows` example rows."""
    with settled(context.threads, context.seed):
        script = traced(model.module, model.outputs, example_arrays(model, example, TRACED_ROWS))
    exported = save_script(script, model, context.scratch)
    arrays = example_arrays(model, example, min(rows, len(example)))
    parity = compare(answers(model, arrays, context.threads), answers(exported, arrays, context.threads))
    return exported, check(parity, tolerance, "TorchScript")


def answers(
    model: TorchModel | TorchScriptModel, arrays: Mapping[str, np.ndarray], threads: int
) -> dict[str, np.ndarray]:
    """Answer one batch in torch."""
    with open_session(model, threads=threads) as session:
        return session.run(arrays)
