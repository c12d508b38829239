"""What the Python of the page on locks takes for granted: a run that is the latest, and soon repeated."""

import subprocess
import sys

short = ("quantization.method=none", "train.epochs=5", "profile.batches=[1]", "profile.iterations=20")
command = ("run", "-q", "recipes/breast_cancer.yaml", *(part for change in short for part in ("--set", change)))
subprocess.run([sys.executable, "-m", "titrant", *command], check=True)
