"""Run the command line as `python -m titrant`."""

from titrant.cli.main import entry

entry()
