"""Runs of the toy plan, whose workers are forked: what is tested is what they are asked, and how they end."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _warm_workers(warm_workers):
    """Let every worker start as soon as it is asked for; a driven run, of `drive.py`, starts its own."""
