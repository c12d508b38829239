"""Runs of the toy plan, whose workers are forked: what is tested is what they are asked, and how they end."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("in_process_here", Path(__file__).parents[1] / "in_process.py")
in_process = importlib.util.module_from_spec(spec)
spec.loader.exec_module(in_process)


@pytest.fixture(scope="module", autouse=True)
def _warm_workers(warm_workers):
    """Let every worker start as soon as it is asked for; a driven run, of `drive.py`, starts its own."""


@pytest.fixture
def here(toy):
    """Let runs do their steps in this process, where no worker is the subject: it takes half the time."""
    toy.worker = in_process.InProcessWorker
