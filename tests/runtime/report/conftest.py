"""Hand-made run records; the modules that build them lie beside this file and are no package."""

import importlib.util
import sys
from pathlib import Path

import pytest

for name in ("report_plans", "report_values", "report_records"):
    specification = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)

ENDINGS = ("released", "not_proven", "failed", "inconclusive", "unlabeled", "nothing_made")


@pytest.fixture
def records():
    """The module with one function a way that a run can end."""
    return sys.modules["report_records"]


@pytest.fixture(params=ENDINGS)
def any_record(request):
    """Each record in turn."""
    return getattr(sys.modules["report_records"], request.param)()
