"""titrant compiles a YAML recipe into a plan, runs it, and releases a model only if it keeps its contract.

The verbs of the command line are functions here, under the same names::

    recipe = titrant.read("recipes/breast_cancer.yaml")
    planned = titrant.plan(recipe, hardware=titrant.detect())
    record = titrant.run(planned)
    model = titrant.load(".titrant/runs/…")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from titrant.compiler.hardware import detect
    from titrant.log import get_logger, setup_logging
    from titrant.planned import Planned
    from titrant.runtime.apply import apply
    from titrant.runtime.catalog import Context, Method, Params, Port, operator
    from titrant.schema.diagnostics import TitrantError
    from titrant.schema.source import read
    from titrant.verbs.check import check
    from titrant.verbs.explain import explain
    from titrant.verbs.load import load
    from titrant.verbs.plan import plan
    from titrant.verbs.report import report
    from titrant.verbs.run import run
    from titrant.verbs.status import status

# name → where it lives; imported on first use, so that `import titrant` costs nothing.
_PUBLIC = {
    "Context": "titrant.runtime.catalog",
    "Method": "titrant.runtime.catalog",
    "Params": "titrant.runtime.catalog",
    "Planned": "titrant.planned",
    "Port": "titrant.runtime.catalog",
    "TitrantError": "titrant.schema.diagnostics",
    "apply": "titrant.runtime.apply",
    "check": "titrant.verbs.check",
    "detect": "titrant.compiler.hardware",
    "explain": "titrant.verbs.explain",
    "get_logger": "titrant.log",
    "load": "titrant.verbs.load",
    "operator": "titrant.runtime.catalog",
    "plan": "titrant.verbs.plan",
    "read": "titrant.schema.source",
    "report": "titrant.verbs.report",
    "run": "titrant.verbs.run",
    "setup_logging": "titrant.log",
    "status": "titrant.verbs.status",
}

__all__ = [
    "Context",
    "Method",
    "Params",
    "Planned",
    "Port",
    "TitrantError",
    "apply",
    "check",
    "detect",
    "explain",
    "get_logger",
    "load",
    "operator",
    "plan",
    "read",
    "report",
    "run",
    "setup_logging",
    "status",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'titrant' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
