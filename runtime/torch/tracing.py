"""Trace a module into frozen TorchScript."""

import warnings
from collections.abc import Mapping

import numpy as np
import torch  # noqa: TID253 - its very subject
from torch.jit._trace import TracingCheckError  # noqa: TID253 - its very subject

from titrant.runtime.torch.decisions import refuse_decisions
from titrant.runtime.torch.flat import flat
from titrant.runtime.torch.layout import tensor_of
from titrant.runtime.torch.plain_attention import plain_attention
from titrant.schema.diagnostics import Diagnostic, StepError


def traced(
    module: torch.nn.Module, outputs: tuple[str, ...], arrays: Mapping[str, np.ndarray]
) -> torch.jit.ScriptModule:
    """Trace on example inputs, check the trace against the module, and freeze: weights become constants.

    Raises PreconditionError X206 when the forward takes decisions on tensor values and StepError X207 when it cannot be
    traced or the trace answers otherwise. Branches on shapes are taken as the example has them.
    """
    inputs = tuple(tensor_of(array) for array in arrays.values())
    try:
        with plain_attention(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            answer = refuse_decisions(module.eval(), arrays.values())
            script = torch.jit.trace(flat(module, outputs, answer), inputs, check_trace=True)  # type: ignore[no-untyped-call]
            frozen: torch.jit.ScriptModule = torch.jit.freeze(script)
            return frozen
    except (RuntimeError, TracingCheckError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise StepError(
            Diagnostic(
                "X207",
                f"the model cannot be traced: {lines[0].strip()}",
                help="return tensors or tuples of tensors, and use no random numbers in eval mode",
            )
        ) from None
