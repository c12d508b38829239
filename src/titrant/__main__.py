"""Run the command line as `python -m titrant`."""

from titrant.cli import entry

entry()
