"""titrant compiles a YAML recipe into a plan, runs it, and releases a model only if it keeps its contract.

The verbs of the command line are functions here, under the same names::

    recipe = titrant.read("recipes/breast_cancer.yaml")
    planned = titrant.plan(recipe, hardware=titrant.detect())
    record = titrant.run(planned)
    model = titrant.load(".titrant/runs/…")
"""

from titrant.schema import __version__ as __version__

# Type checkers take this name for true. Loading `typing` for it would take a third of the time until a command runs.
TYPE_CHECKING = False


if TYPE_CHECKING:
    from typing import Any

    from titrant.api import checkpoints, debug, evidence, plots, train
    from titrant.api.advise import Advised, advise
    from titrant.api.apply import apply
    from titrant.api.architecture import architecture
    from titrant.api.bench import bench
    from titrant.api.check import check, write
    from titrant.api.check_model import check_model
    from titrant.api.devices import device_status, get_device_info, memory_usage, move_to_device
    from titrant.api.diff import diff
    from titrant.api.distill import TeacherTerms, distill
    from titrant.api.doctor import doctor
    from titrant.api.explain import explain
    from titrant.api.export import export
    from titrant.api.init import init
    from titrant.api.inspect import inspect
    from titrant.api.label import label
    from titrant.api.layers import layers
    from titrant.api.live.rows_to_judge import RowsToJudge
    from titrant.api.load import load
    from titrant.api.lock import lock
    from titrant.api.look_inside import capture_attention, check_health, compare_models
    from titrant.api.migrate import migrate
    from titrant.api.optimize import optimize
    from titrant.api.plan import plan
    from titrant.api.prune import prune
    from titrant.api.report import report
    from titrant.api.rerun import rerun
    from titrant.api.run import run
    from titrant.api.runs import search_runs
    from titrant.api.sections import sections
    from titrant.api.sections.recipe import recipe
    from titrant.api.status import status
    from titrant.api.store import clean_store, verify_store
    from titrant.api.validate import validate
    from titrant.compiler.machine.detect import detect
    from titrant.runtime.catalog import Context, Params, Port, operator
    from titrant.runtime.contract.measures.own_metric import MetricCases, metric
    from titrant.runtime.instruments import tree
    from titrant.runtime.instruments.advice import MeasuredAdvice
    from titrant.runtime.instruments.clock.calls import CallTimes, call_times, profile
    from titrant.runtime.instruments.clock.timer import Timer
    from titrant.runtime.instruments.hardware.utilization import Utilization
    from titrant.runtime.instruments.hardware.watch import watch
    from titrant.runtime.instruments.measure.live import Benchmark, Profiler, measure
    from titrant.runtime.instruments.memory.leak import LeakCheck, find_leak
    from titrant.runtime.instruments.memory.log import MemoryLog
    from titrant.runtime.instruments.memory.usage import MemoryUsage
    from titrant.runtime.instruments.plots.own_plot import PlotCases
    from titrant.runtime.instruments.summary import Counts, count_parameters, summary
    from titrant.runtime.machine.devices import get_device, synchronize
    from titrant.runtime.method import Method
    from titrant.runtime.run.run_log import get_logger, setup_logging
    from titrant.runtime.seed import set_seed
    from titrant.runtime.trackers.wandb import initialize_wandb
    from titrant.runtime.training.memory.activation_memory import estimate_memory_savings, measure_activation_memory
    from titrant.runtime.training.memory.recompute import apply_gradient_checkpointing
    from titrant.runtime.training.precision import autocast, create_scaler
    from titrant.runtime.training.processes.ranks import distributed
    from titrant.schema.config.config import ensure_directories, load_config, save_config
    from titrant.schema.cost import Arithmetic, Unmet
    from titrant.schema.diagnostics.diagnostics import TitrantError
    from titrant.schema.language.parse import read
    from titrant.schema.plan import Prediction
    from titrant.schema.planned import Planned

# name → where it lives; imported on first use, so that `import titrant` costs nothing.
_PUBLIC = {
    "Advised": "titrant.api.advise",
    "Arithmetic": "titrant.schema.cost",
    "Benchmark": "titrant.runtime.instruments.measure.live",
    "CallTimes": "titrant.runtime.instruments.clock.calls",
    "Context": "titrant.runtime.catalog",
    "Counts": "titrant.runtime.instruments.summary",
    "LeakCheck": "titrant.runtime.instruments.memory.leak",
    "MeasuredAdvice": "titrant.runtime.instruments.advice",
    "MemoryLog": "titrant.runtime.instruments.memory.log",
    "MemoryUsage": "titrant.runtime.instruments.memory.usage",
    "Method": "titrant.runtime.method",
    "MetricCases": "titrant.runtime.contract.measures.own_metric",
    "Params": "titrant.runtime.catalog",
    "Planned": "titrant.schema.planned",
    "PlotCases": "titrant.runtime.instruments.plots.own_plot",
    "Port": "titrant.runtime.catalog",
    "Prediction": "titrant.schema.plan",
    "Profiler": "titrant.runtime.instruments.measure.live",
    "RowsToJudge": "titrant.api.live.rows_to_judge",
    "TeacherTerms": "titrant.api.distill",
    "Timer": "titrant.runtime.instruments.clock.timer",
    "TitrantError": "titrant.schema.diagnostics.diagnostics",
    "Unmet": "titrant.schema.cost",
    "Utilization": "titrant.runtime.instruments.hardware.utilization",
    "advise": "titrant.api.advise",
    "apply": "titrant.api.apply",
    "apply_gradient_checkpointing": "titrant.runtime.training.memory.recompute",
    "architecture": "titrant.api.architecture",
    "autocast": "titrant.runtime.training.precision",
    "bench": "titrant.api.bench",
    "call_times": "titrant.runtime.instruments.clock.calls",
    "capture_attention": "titrant.api.look_inside",
    "check": "titrant.api.check",
    "check_health": "titrant.api.look_inside",
    "check_model": "titrant.api.check_model",
    "clean_store": "titrant.api.store",
    "compare_models": "titrant.api.look_inside",
    "count_parameters": "titrant.runtime.instruments.summary",
    "create_scaler": "titrant.runtime.training.precision",
    "detect": "titrant.compiler.machine.detect",
    "device_status": "titrant.api.devices",
    "diff": "titrant.api.diff",
    "distill": "titrant.api.distill",
    "distributed": "titrant.runtime.training.processes.ranks",
    "doctor": "titrant.api.doctor",
    "ensure_directories": "titrant.schema.config.config",
    "estimate_memory_savings": "titrant.runtime.training.memory.activation_memory",
    "explain": "titrant.api.explain",
    "export": "titrant.api.export",
    "find_leak": "titrant.runtime.instruments.memory.leak",
    "get_device": "titrant.runtime.machine.devices",
    "get_device_info": "titrant.api.devices",
    "get_logger": "titrant.runtime.run.run_log",
    "init": "titrant.api.init",
    "initialize_wandb": "titrant.runtime.trackers.wandb",
    "inspect": "titrant.api.inspect",
    "label": "titrant.api.label",
    "layers": "titrant.api.layers",
    "load": "titrant.api.load",
    "load_config": "titrant.schema.config.config",
    "lock": "titrant.api.lock",
    "measure": "titrant.runtime.instruments.measure.live",
    "measure_activation_memory": "titrant.runtime.training.memory.activation_memory",
    "memory_usage": "titrant.api.devices",
    "metric": "titrant.runtime.contract.measures.own_metric",
    "migrate": "titrant.api.migrate",
    "move_to_device": "titrant.api.devices",
    "operator": "titrant.runtime.catalog",
    "optimize": "titrant.api.optimize",
    "plan": "titrant.api.plan",
    "profile": "titrant.runtime.instruments.clock.calls",
    "prune": "titrant.api.prune",
    "read": "titrant.schema.language.parse",
    "recipe": "titrant.api.sections.recipe",
    "report": "titrant.api.report",
    "rerun": "titrant.api.rerun",
    "run": "titrant.api.run",
    "save_config": "titrant.schema.config.config",
    "search_runs": "titrant.api.runs",
    "set_seed": "titrant.runtime.seed",
    "setup_logging": "titrant.runtime.run.run_log",
    "status": "titrant.api.status",
    "summary": "titrant.runtime.instruments.summary",
    "synchronize": "titrant.runtime.machine.devices",
    "validate": "titrant.api.validate",
    "verify_store": "titrant.api.store",
    "watch": "titrant.runtime.instruments.hardware.watch",
    "write": "titrant.api.check",
}

# What is reached by two names, as `titrant.checkpoints.save`.
_MODULES = {
    "checkpoints": "titrant.api.checkpoints",
    "debug": "titrant.api.debug",
    "evidence": "titrant.api.evidence",
    "plots": "titrant.api.plots",
    "sections": "titrant.api.sections.sections",
    "train": "titrant.api.train",
    "tree": "titrant.runtime.instruments.tree",
}

__all__ = [
    "Advised",
    "Arithmetic",
    "Benchmark",
    "CallTimes",
    "Context",
    "Counts",
    "LeakCheck",
    "MeasuredAdvice",
    "MemoryLog",
    "MemoryUsage",
    "Method",
    "MetricCases",
    "Params",
    "Planned",
    "PlotCases",
    "Port",
    "Prediction",
    "Profiler",
    "RowsToJudge",
    "TeacherTerms",
    "Timer",
    "TitrantError",
    "Unmet",
    "Utilization",
    "advise",
    "apply",
    "apply_gradient_checkpointing",
    "architecture",
    "autocast",
    "bench",
    "call_times",
    "capture_attention",
    "check",
    "check_health",
    "check_model",
    "checkpoints",
    "clean_store",
    "compare_models",
    "count_parameters",
    "create_scaler",
    "debug",
    "detect",
    "device_status",
    "diff",
    "distill",
    "distributed",
    "doctor",
    "ensure_directories",
    "estimate_memory_savings",
    "evidence",
    "explain",
    "export",
    "find_leak",
    "get_device",
    "get_device_info",
    "get_logger",
    "init",
    "initialize_wandb",
    "inspect",
    "label",
    "layers",
    "load",
    "load_config",
    "lock",
    "measure",
    "measure_activation_memory",
    "memory_usage",
    "metric",
    "migrate",
    "move_to_device",
    "operator",
    "optimize",
    "plan",
    "plots",
    "profile",
    "prune",
    "read",
    "recipe",
    "report",
    "rerun",
    "run",
    "save_config",
    "search_runs",
    "sections",
    "set_seed",
    "setup_logging",
    "status",
    "summary",
    "synchronize",
    "train",
    "tree",
    "validate",
    "verify_store",
    "watch",
    "write",
]


def __getattr__(name: str) -> "Any":
    if name not in _PUBLIC and name not in _MODULES:
        raise AttributeError(f"module 'titrant' has no attribute {name!r}")
    from importlib import import_module

    value = import_module(_MODULES[name]) if name in _MODULES else getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
