"""titrant compiles a YAML recipe into a plan, runs it, and releases a model only if it keeps its contract.

The verbs of the command line are functions here, under the same names::

    recipe = titrant.read("recipes/breast_cancer.yaml")
    planned = titrant.plan(recipe, hardware=titrant.detect())
    record = titrant.run(planned)
    model = titrant.load(".titrant/runs/…")
"""

# Type checkers take this name for true. Loading `typing` for it would take a third of the time until a command runs.
TYPE_CHECKING = False

__version__ = "0.1.0"

if TYPE_CHECKING:
    from typing import Any

    from titrant.compiler.hardware import detect
    from titrant.devices import device_status, get_device, get_device_info, move_to_device, synchronize
    from titrant.log import get_logger, setup_logging
    from titrant.planned import Planned
    from titrant.runtime.apply import apply
    from titrant.runtime.catalog import Context, Method, Params, Port, operator
    from titrant.runtime.instruments.counts import Counts, count_parameters
    from titrant.runtime.instruments.summary import summary
    from titrant.runtime.set_seed import set_seed
    from titrant.schema.config.directories import ensure_directories
    from titrant.schema.config.files import load_config, save_config
    from titrant.schema.diagnostics import TitrantError
    from titrant.schema.plan import Prediction
    from titrant.schema.source import read
    from titrant.verbs.check import check
    from titrant.verbs.check_model import check_model
    from titrant.verbs.diff import diff
    from titrant.verbs.doctor import doctor
    from titrant.verbs.explain import explain
    from titrant.verbs.init import init
    from titrant.verbs.inspect import inspect
    from titrant.verbs.load import load
    from titrant.verbs.lock import lock
    from titrant.verbs.migrate import migrate
    from titrant.verbs.plan import plan
    from titrant.verbs.report import report
    from titrant.verbs.rerun import rerun
    from titrant.verbs.run import run
    from titrant.verbs.search_runs import search_runs
    from titrant.verbs.status import status
    from titrant.verbs.store import clean_store, verify_store

# name → where it lives; imported on first use, so that `import titrant` costs nothing.
_PUBLIC = {
    "Context": "titrant.runtime.catalog",
    "Counts": "titrant.runtime.instruments.counts",
    "Method": "titrant.runtime.catalog",
    "Params": "titrant.runtime.catalog",
    "Planned": "titrant.planned",
    "Port": "titrant.runtime.catalog",
    "Prediction": "titrant.schema.plan",
    "TitrantError": "titrant.schema.diagnostics",
    "apply": "titrant.runtime.apply",
    "check": "titrant.verbs.check",
    "check_model": "titrant.verbs.check_model",
    "clean_store": "titrant.verbs.store",
    "count_parameters": "titrant.runtime.instruments.counts",
    "detect": "titrant.compiler.hardware",
    "device_status": "titrant.devices",
    "diff": "titrant.verbs.diff",
    "doctor": "titrant.verbs.doctor",
    "ensure_directories": "titrant.schema.config.directories",
    "explain": "titrant.verbs.explain",
    "get_device": "titrant.devices",
    "get_device_info": "titrant.devices",
    "get_logger": "titrant.log",
    "init": "titrant.verbs.init",
    "inspect": "titrant.verbs.inspect",
    "load": "titrant.verbs.load",
    "load_config": "titrant.schema.config.files",
    "lock": "titrant.verbs.lock",
    "migrate": "titrant.verbs.migrate",
    "move_to_device": "titrant.devices",
    "operator": "titrant.runtime.catalog",
    "plan": "titrant.verbs.plan",
    "read": "titrant.schema.source",
    "report": "titrant.verbs.report",
    "rerun": "titrant.verbs.rerun",
    "run": "titrant.verbs.run",
    "save_config": "titrant.schema.config.files",
    "search_runs": "titrant.verbs.search_runs",
    "set_seed": "titrant.runtime.set_seed",
    "setup_logging": "titrant.log",
    "status": "titrant.verbs.status",
    "summary": "titrant.runtime.instruments.summary",
    "synchronize": "titrant.devices",
    "verify_store": "titrant.verbs.store",
}

__all__ = [
    "Context",
    "Counts",
    "Method",
    "Params",
    "Planned",
    "Port",
    "Prediction",
    "TitrantError",
    "apply",
    "check",
    "check_model",
    "clean_store",
    "count_parameters",
    "detect",
    "device_status",
    "diff",
    "doctor",
    "ensure_directories",
    "explain",
    "get_device",
    "get_device_info",
    "get_logger",
    "init",
    "inspect",
    "load",
    "load_config",
    "lock",
    "migrate",
    "move_to_device",
    "operator",
    "plan",
    "read",
    "report",
    "rerun",
    "run",
    "save_config",
    "search_runs",
    "set_seed",
    "setup_logging",
    "status",
    "summary",
    "synchronize",
    "verify_store",
]


def __getattr__(name: str) -> "Any":
    if name not in _PUBLIC:
        raise AttributeError(f"module 'titrant' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
