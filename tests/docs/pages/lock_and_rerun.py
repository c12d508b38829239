"""What the Python of the page on locks takes for granted: a run that is the latest, and soon repeated."""

import subprocess
import sys

command = ("run", "-q", "recipes/breast_cancer.yaml", "--set", "quantization.method=none")
subprocess.run([sys.executable, "-m", "titrant", *command], check=True)
