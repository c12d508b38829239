"""Change a module's structure in a way that can be replayed when the artifact is loaded."""

import copy
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime import catalog
from titrant.runtime.values import Rewrite, TorchModel
from titrant.schema.diagnostics import Diagnostic, StepError


def rewritten(model: TorchModel, operator: str, record: Mapping[str, Any]) -> TorchModel:
    """Apply an operator's `rewrite` to a copy of the module and remember it."""
    step = Rewrite(operator, catalog.get(operator).version, record)
    module = replay(copy.deepcopy(model.module), (step,))
    return replace(model, module=module.eval(), rewrites=(*model.rewrites, step))


def replay(module: torch.nn.Module, rewrites: tuple[Rewrite, ...]) -> torch.nn.Module:
    """Apply recorded rewrites in order, in place.

    Raises StepError X214 when an operator is gone or has another version than the one that recorded.
    """
    for step in rewrites:
        try:
            declaration = catalog.get(step.operator)
        except KeyError:
            raise _unknown(step, "is not in this version") from None
        if declaration.version != step.version:
            raise _unknown(step, f"has version {declaration.version} here")
        module = sys.modules[declaration.run.__module__].rewrite(module, step.record)
    return module


def _unknown(step: Rewrite, state: str) -> StepError:
    return StepError(
        Diagnostic(
            "X214",
            f"the model was rewritten by {step.operator} version {step.version}, which {state}",
            help="make the model again from its recipe",
        )
    )
