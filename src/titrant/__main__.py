"""Run the command line as `python -m titrant`."""

import sys

from titrant.cli import main

sys.exit(main())
