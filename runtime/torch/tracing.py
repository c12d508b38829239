"""Trace a module into frozen TorchScript."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.runtime.torch.decisions import refuse_decisions
from titrant.schema.diagnostics import Diagnostic, StepError


def traced(module: torch.nn.Module, arrays: Sequence[np.ndarray]) -> torch.jit.ScriptModule:
    """Trace on example inputs, check the trace against the module, and freeze: weights become constants.

    Raises PreconditionError X206 when the forward takes decisions on tensor values and StepError X207 when it cannot be
    traced or the trace answers otherwise. Branches on shapes are taken as the example has them.
    """
    refuse_decisions(module, arrays)
    inputs = tuple(torch.from_numpy(array) for array in arrays)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            script = torch.jit.trace(module, inputs, check_trace=True)
            return torch.jit.freeze(script)
    except (RuntimeError, torch.jit.TracingCheckError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise StepError(
            Diagnostic(
                "X207",
                f"the model cannot be traced: {lines[0].strip()}",
                help="return tensors or tuples of tensors, and use no random numbers in eval mode",
            )
        ) from None
