"""Execute the toy plan in a process of its own: drive.py RECIPE_FOLDER HOME."""

import importlib.util
import json
import sys
from pathlib import Path

from titrant.runtime.run.execute import execute
from titrant.runtime.store.home import open_home

spec = importlib.util.spec_from_file_location("toy_plans", Path(__file__).with_name("toy_plans.py"))
toy_plans = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy_plans)

options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
make = {int(level): params for level, params in options.pop("make", {}).items()}
plan = toy_plans.toy_plan(tuple(options.pop("levels", (1, 2))), make=make, **options)
record = execute(
    toy_plans.planned(plan, Path(sys.argv[1]).absolute()),
    open_home(Path(sys.argv[2])),
    listen=lambda event: print(json.dumps(event), flush=True),
)
print(json.dumps({"event": "record", "executed": record.executed, "released": record.released, "run": record.run}))
